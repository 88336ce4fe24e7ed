"""Shape: counts, classes, pixels that are what the factors say, and outliers that style does not give away."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from synthetic_datasets import ShapeConfig
from synthetic_datasets.drawing.outlines import GLYPHS, SHAPES
from synthetic_datasets.drawing.strokes import solid_spacing, spots, turned
from synthetic_datasets.generators import shape
from synthetic_datasets.generators.generator import Source, check_sample

Arrays = dict[str, NDArray[Any]]
CONFIG = ShapeConfig(train=600, test=90)


@pytest.fixture(scope="module")
def train(arrays_of: Callable[..., Arrays]) -> Arrays:
    return arrays_of(CONFIG)


def test_defaults_notes_and_figures_without_target(arrays_of: Callable[..., Arrays]) -> None:
    config = ShapeConfig()
    counts = np.array([config.domain_counts(split) for split in ("train", "test")])
    assert counts.sum(axis=0).tolist() == [60_000, 30_000]
    outliers = [round(config.outlier_share * target) for target in counts[:, 1].tolist()]
    assert sum(outliers) == 2_800 and len(shape.CLASS_NAMES) == 28 == len(set(shape.COMBINATIONS))
    text = "\n".join(shape.notes(ShapeConfig(rotation=10)))
    assert "names neither the shapes" in text and "at most 10 degrees" in text
    config = ShapeConfig(train=30, test=1, target_share=0.3, size=32)
    assert shape.figures(arrays_of(config, "test")) == {"source_images": 1, "target_images": 0, "outliers": 0}


def test_counts_and_classes_are_exact(train: Arrays) -> None:
    domain, outlier, label = train["domain"], train["outlier"], train["label"]
    assert domain.tolist() == [0] * 400 + [1] * 200
    assert outlier.sum() == 19 and not outlier[:400].any()  # 200 * 2800 / 30000 is 18.7
    assert (label[outlier] == -1).all() and (train["shapes"][outlier] == -1).all()
    assert (train["glyph"][outlier] >= 0).all() and (train["glyph"][~outlier] == -1).all()
    for part in (domain == 0, (domain == 1) & ~outlier):
        counts = np.bincount(label[part], minlength=28)
        assert counts.max() - counts.min() <= 1
    for label_of, shapes in zip(label[~outlier], train["shapes"][~outlier], strict=True):
        assert shape.COMBINATIONS[label_of] == tuple(sorted(shapes.tolist()))
        names = [shape.SHAPE_NAMES[number] for number in sorted(shapes.tolist())]
        assert shape.CLASS_NAMES[label_of] == " and ".join(names)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.4, 1.0])
def test_any_outlier_share(share: float, arrays_of: Callable[..., Arrays]) -> None:
    config = ShapeConfig(train=99, test=1, target_share=1.0, outlier_share=share)
    outlier = arrays_of(config)["outlier"]
    assert outlier.sum() == round(share * 99)
    if 0 < share < 1:
        assert not outlier[-outlier.sum() :].all()


def test_pixels_are_what_the_factors_say(train: Arrays) -> None:
    """Drawn again from what the file stores, an image is the same but for the float32 of its factors."""
    for index in (0, 27, 399, 400, 471, *np.flatnonzero(train["outlier"])[:3].tolist()):
        sample = {name: values[index] for name, values in train.items()}
        if sample["outlier"]:
            drawn = [GLYPHS[shape.GLYPH_NAMES[sample["glyph"]]]]
        else:
            drawn = [SHAPES[shape.SHAPE_NAMES[number]] for number in sample["shapes"]]
        spacing = float(sample["spacing"]) or solid_spacing(float(sample["line_width"]) / 2)
        places = zip(drawn, sample["radius"].tolist(), sample["angle"].tolist(), sample["centre"], strict=False)
        points = [turned(what.points(spacing / r), angle) * r + centre for what, r, angle, centre in places]
        cover = spots(np.concatenate(points), float(sample["line_width"]) / 2, 64)
        again = 255 - cover[:, :, None] * (255 - sample["colour"].astype(float))
        assert np.abs(again - sample["image"]).max() <= 1.5
        assert cover.mean() == pytest.approx(sample["ink"], rel=1e-3)


def test_source_is_solid_and_black_target_dotted_and_coloured(train: Arrays) -> None:
    source = train["domain"] == 0
    assert (train["colour"][source] == 0).all() and (train["spacing"][source] == 0).all()
    assert (train["image"][source] == train["image"][source][..., :1]).all()  # grey
    target = train["colour"][~source].astype(float)
    assert (np.ptp(target, axis=1) > 40).all() and len(np.unique(target, axis=0)) > 190
    assert (target @ (0.299, 0.587, 0.114) < 255 * shape.BRIGHTEST + 1).all()
    assert (train["spacing"][~source] > 1.39 * train["line_width"][~source]).all()


@pytest.mark.parametrize("name", ["triangle", "square", "star", "cross"])
def test_every_edge_has_a_dot_between_its_corners(name: str) -> None:
    widest = shape.SPACING[1] * shape.DOT[1] / shape.RADIUS[0]
    assert len(SHAPES[name].points(widest)) >= 3 * len(SHAPES[name].pieces)


def test_everything_is_inside_on_white_and_nothing_hides(train: Arrays) -> None:
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
    assert (apart >= shape.NEAREST * train["radius"][two].sum(axis=1) - 1e-3).all()


def test_factors_vary_and_inliers_pose_as_the_source_does(train: Arrays) -> None:
    two = ~train["outlier"]
    for name in ("radius", "angle", "centre"):
        source, target = train[name][two & (train["domain"] == 0)], train[name][two & (train["domain"] == 1)]
        assert source.std() > 0 and np.quantile(source, [0.2, 0.5, 0.8]) == pytest.approx(
            np.quantile(target, [0.2, 0.5, 0.8]), abs=0.12 * float(np.ptp(source))
        )
    assert np.abs(train["angle"]).max() <= np.radians(30) + 1e-6


def test_style_does_not_tell_outliers_apart(arrays_of: Callable[..., Arrays]) -> None:
    config = ShapeConfig(train=1200, test=1, target_share=1.0, outlier_share=0.5)
    made = shape.figures(arrays_of(config))
    assert made["outliers"] == 600 and made["target_images"] == 1200
    assert 0.45 < made["outliers_told_by_line_width"] < 0.55
    assert made["outliers_told_by_ink"] < 0.85  # one letter has less ink than two shapes, mostly


def test_other_sizes() -> None:
    for size in (32, 224):
        config = ShapeConfig(train=40, test=1, size=size, rotation=180, target_share=0.5, outlier_share=0.5)
        for index in range(40):
            sample = shape.generate(config, "train", index, Source())
            check_sample(sample, shape.layout(config))
            assert 0.005 < sample.arrays["ink"] < 0.2
