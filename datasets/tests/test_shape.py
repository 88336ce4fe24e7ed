"""Shape: counts, classes, pixels that are what the factors say, and outliers that style does not give away."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from synthetic_datasets import ImageSetFile, InputError, ShapeConfig
from synthetic_datasets.cli import main
from synthetic_datasets.generator import check_sample
from synthetic_datasets.outlines import GLYPHS, SHAPES
from synthetic_datasets.shape import (
    BRIGHTEST,
    CLASS_NAMES,
    COMBINATIONS,
    DOT,
    GLYPH_NAMES,
    NEAREST,
    RADIUS,
    SHAPE_NAMES,
    SPACING,
    figures,
    generate,
    layout,
    load_source,
    notes,
)
from synthetic_datasets.strokes import solid_spacing, spots, turned
from synthetic_datasets.workers import make

CONFIG = ShapeConfig(train=600, test=90)
SOURCE = load_source(None, CONFIG)


def arrays_of(config: ShapeConfig, split: str) -> dict[str, NDArray[Any]]:
    made = [generate(config, split, index, SOURCE).arrays for index in range(getattr(config, split))]
    return {name: np.stack([arrays[name] for arrays in made]) for name in made[0]}


@pytest.fixture(scope="module")
def train() -> dict[str, NDArray[Any]]:
    return arrays_of(CONFIG, "train")


def test_the_defaults_are_the_thesis_s_numbers() -> None:
    config = ShapeConfig()
    counts = np.array([config.domain_counts(split) for split in ("train", "test")])
    assert counts.sum(axis=0).tolist() == [60_000, 30_000]
    outliers = [round(config.outlier_share * target) for target in counts[:, 1].tolist()]
    assert sum(outliers) == 2_800 and len(CLASS_NAMES) == 28 == len(set(COMBINATIONS))


def test_counts_and_classes_are_exact(train: dict[str, NDArray[Any]]) -> None:
    domain, outlier, label = train["domain"], train["outlier"], train["label"]
    assert domain.tolist() == [0] * 400 + [1] * 200
    assert outlier.sum() == 19 and not outlier[:400].any()  # 200 * 2800 / 30000 is 18.7
    assert (label[outlier] == -1).all() and (train["shapes"][outlier] == -1).all()
    assert (train["glyph"][outlier] >= 0).all() and (train["glyph"][~outlier] == -1).all()
    for part in (domain == 0, (domain == 1) & ~outlier):
        counts = np.bincount(label[part], minlength=28)
        assert counts.max() - counts.min() <= 1
    for label_of, shapes in zip(label[~outlier], train["shapes"][~outlier], strict=True):
        assert COMBINATIONS[label_of] == tuple(sorted(shapes.tolist()))
        assert CLASS_NAMES[label_of] == " and ".join(SHAPE_NAMES[shape] for shape in sorted(shapes.tolist()))


@pytest.mark.parametrize("share", [0.0, 0.05, 0.4, 1.0])
def test_any_outlier_share(share: float) -> None:
    config = ShapeConfig(train=99, test=1, target_share=1.0, outlier_share=share)
    outlier = [bool(generate(config, "train", index, SOURCE).arrays["outlier"]) for index in range(99)]
    assert sum(outlier) == round(share * 99)
    if 0 < share < 1:
        assert not all(outlier[-sum(outlier) :])


def test_pixels_are_what_the_factors_say(train: dict[str, NDArray[Any]]) -> None:
    """Drawn again from what the file stores, an image is the same but for the float32 of its factors."""
    for index in (0, 27, 399, 400, 471, *np.flatnonzero(train["outlier"])[:3].tolist()):
        sample = {name: values[index] for name, values in train.items()}
        if sample["outlier"]:
            drawn = [GLYPHS[GLYPH_NAMES[sample["glyph"]]]]
        else:
            drawn = [SHAPES[SHAPE_NAMES[shape]] for shape in sample["shapes"]]
        spacing = float(sample["spacing"]) or solid_spacing(float(sample["line_width"]) / 2)
        places = zip(drawn, sample["radius"].tolist(), sample["angle"].tolist(), sample["centre"], strict=False)
        points = [turned(what.points(spacing / r), angle) * r + centre for what, r, angle, centre in places]
        cover = spots(np.concatenate(points), float(sample["line_width"]) / 2, 64)
        again = 255 - cover[:, :, None] * (255 - sample["colour"].astype(float))
        assert np.abs(again - sample["image"]).max() <= 1.5
        assert cover.mean() == pytest.approx(sample["ink"], rel=1e-3)


def test_source_is_solid_and_black_target_dotted_and_coloured(train: dict[str, NDArray[Any]]) -> None:
    source = train["domain"] == 0
    assert (train["colour"][source] == 0).all() and (train["spacing"][source] == 0).all()
    assert (train["image"][source] == train["image"][source][..., :1]).all()  # grey
    target = train["colour"][~source].astype(float)
    assert (np.ptp(target, axis=1) > 40).all() and len(np.unique(target, axis=0)) > 190
    assert (target @ (0.299, 0.587, 0.114) < 255 * BRIGHTEST + 1).all()
    assert (train["spacing"][~source] > 1.39 * train["line_width"][~source]).all()


@pytest.mark.parametrize("name", ["triangle", "square", "star", "cross"])
def test_every_edge_has_a_dot_between_its_corners(name: str) -> None:
    shape, widest = SHAPES[name], SPACING[1] * DOT[1] / RADIUS[0]
    assert len(shape.points(widest)) >= 3 * len(shape.pieces)


def test_everything_is_inside_on_white_and_nothing_hides(train: dict[str, NDArray[Any]]) -> None:
    images, size = train["image"], 64
    frame = np.ones((size, size), bool)
    frame[1:-1, 1:-1] = False
    assert (images[:, frame] == 255).all()
    assert (images.reshape(len(images), -1).min(axis=1) < 200).all()
    reach = train["radius"] + train["line_width"][:, None] / 2
    low = train["centre"] - reach[:, :, None]
    assert low[train["outlier"]][:, 0].min() > 0 and low[~train["outlier"]].min() > 0
    two = ~train["outlier"]
    apart = np.hypot(*(train["centre"][two, 0] - train["centre"][two, 1]).T)
    assert (apart >= NEAREST * train["radius"][two].sum(axis=1) - 1e-3).all()


def test_factors_vary_and_inliers_pose_as_the_source_does(train: dict[str, NDArray[Any]]) -> None:
    two = ~train["outlier"]
    for name in ("radius", "angle", "centre"):
        source, target = train[name][two & (train["domain"] == 0)], train[name][two & (train["domain"] == 1)]
        assert source.std() > 0 and np.quantile(source, [0.2, 0.5, 0.8]) == pytest.approx(
            np.quantile(target, [0.2, 0.5, 0.8]), abs=0.12 * float(np.ptp(source))
        )
    assert np.abs(train["angle"]).max() <= np.radians(30) + 1e-6


def test_style_does_not_tell_outliers_apart() -> None:
    config = ShapeConfig(train=1200, test=1, target_share=1.0, outlier_share=0.5)
    made = figures(arrays_of(config, "train"))
    assert made["outliers"] == 600 and made["target_images"] == 1200
    assert 0.45 < made["outliers_told_by_line_width"] < 0.55
    assert made["outliers_told_by_ink"] < 0.85  # one letter has less ink than two shapes, mostly


def test_no_two_images_are_the_same(train: dict[str, NDArray[Any]]) -> None:
    every = np.concatenate([train["image"], arrays_of(CONFIG, "test")["image"]])
    assert len({image.tobytes() for image in every}) == len(every) == 690


def test_any_subset_by_any_workers_has_the_same_bytes(train: dict[str, NDArray[Any]]) -> None:
    from synthetic_datasets.shape import GENERATOR

    for workers in (1, 2):
        for index, sample in enumerate(make(GENERATOR, CONFIG, "train", SOURCE, 395, 409, workers), start=395):
            check_sample(sample, layout(CONFIG))
            assert all(np.array_equal(sample.arrays[name], train[name][index]) for name in train)
    other = generate(ShapeConfig(train=600, test=90, seed=1), "train", 0, SOURCE).arrays
    assert not np.array_equal(other["image"], train["image"][0])


def test_other_sizes() -> None:
    for size in (32, 224):
        config = ShapeConfig(train=40, test=1, size=size, rotation=180, target_share=0.5, outlier_share=0.5)
        for index in range(40):
            sample = generate(config, "train", index, SOURCE)
            check_sample(sample, layout(config))
            assert 0.005 < sample.arrays["ink"] < 0.2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": 0}, "train: expected at least 1, got 0"),
        ({"seed": -1}, "seed: expected 0 or more, got -1"),
        ({"size": 31}, "size: expected at least 32 px"),
        ({"outlier_share": 1.1}, "outlier_share: expected 0 to 1, got 1.1"),
        ({"target_share": float("nan")}, "target_share: expected 0 to 1, got nan"),
        ({"rotation": 181}, "rotation: expected 0 to 180 degrees"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ShapeConfig(**options)


def test_no_such_sample() -> None:
    with pytest.raises(IndexError, match="sample 600, but the train split has 600"):
        generate(CONFIG, "train", 600, SOURCE)
    with pytest.raises(KeyError):
        generate(CONFIG, "validation", 0, SOURCE)


def test_build_card_and_preview(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", "shape", "--out", str(tmp_path / "shape"), "--train", "120", "--test", "60"]) == 0
    assert "Shape 1.0.0 from drawn, seed 0" in capsys.readouterr().out
    made = json.loads((tmp_path / "shape" / "card.json").read_text())
    train = made["facts"]["splits"]["train"]
    assert train["figures"]["source_images"] == 80 and train["figures"]["outliers"] == 4
    assert sum(train["objects_per_class"].values()) == 116
    assert made["facts"]["parts"]["glyph"] == list(GLYPH_NAMES) and made["license"].startswith("https://")
    assert set(made["facts"]["factors"]) == set(layout(CONFIG))
    assert main(["card", str(tmp_path / "shape" / "test.h5"), "--verify"]) == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 60
    out = tmp_path / "sheet.png"
    assert main(["preview", str(tmp_path / "shape" / "train.h5"), "--out", str(out)]) == 0
    assert out.read_bytes() == (tmp_path / "shape" / "preview.png").read_bytes()
    with ImageSetFile(tmp_path / "shape" / "train.h5") as file:
        assert file.facts["class_names"] == list(CLASS_NAMES) and file[0]["image"].shape == (64, 64, 3)


def test_a_split_without_target_has_a_card_too(tmp_path: Path) -> None:
    words = ["--train", "30", "--test", "1", "--target-share", "0.3", "--size", "32"]
    assert main(["build", "shape", "--out", str(tmp_path), *words]) == 0
    made = json.loads((tmp_path / "card.json").read_text())["facts"]["splits"]["test"]["figures"]
    assert made == {"source_images": 1, "target_images": 0, "outliers": 0}


def test_the_notes_say_what_the_thesis_does_not() -> None:
    text = "\n".join(notes(ShapeConfig(rotation=10)))
    assert "names neither the shapes" in text and "at most 10 degrees" in text
