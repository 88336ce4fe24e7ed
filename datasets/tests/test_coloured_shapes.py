"""ColouredShapes: balance, pixels that are what the factors say, and nothing but the outline that tells the class."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from synthetic_datasets import ColouredShapesConfig, ImageSetFile, InputError
from synthetic_datasets.cli import main
from synthetic_datasets.coloured_shapes import (
    CLASS_NAMES,
    GENERATOR,
    OFF,
    SIDE,
    UNTELLING,
    figures,
    generate,
    layout,
    load_source,
    notes,
)
from synthetic_datasets.fill import cover
from synthetic_datasets.generator import check_sample
from synthetic_datasets.shortcuts import nearest_centroid_accuracy
from synthetic_datasets.solids import Pose
from synthetic_datasets.surfaces import STRONGEST
from synthetic_datasets.workers import make

CONFIG = ColouredShapesConfig(train=1000, test=60)
BARE: dict[str, Any] = {"train": 40, "test": 1, "texture": 0.0, "clutter": 0, "occluders": 0, "noise": 0.0}
"""Shapes on grounds of one colour."""


def arrays_of(config: ColouredShapesConfig, split: str = "train") -> dict[str, NDArray[Any]]:
    source = load_source(None, config)
    made = [generate(config, split, index, source).arrays for index in range(getattr(config, split))]
    return {name: np.stack([arrays[name] for arrays in made]) for name in made[0]}


def covered(arrays: dict[str, NDArray[Any]], index: int, size: int) -> NDArray[np.float32]:
    """Part of every pixel that a shape covers, from what the file stores."""
    pose = Pose(*(arrays[name][index].astype(float) for name in ("centre", "side", "angle", "stretch")))
    return cover(pose.laid(int(arrays["label"][index])), size)


@pytest.fixture(scope="module")
def train() -> dict[str, NDArray[Any]]:
    return arrays_of(CONFIG)


def test_the_defaults_are_cifar_10_s() -> None:
    config = ColouredShapesConfig()
    assert (config.train, config.test, config.size, len(CLASS_NAMES)) == (50_000, 10_000, 32, 10)


def test_classes_are_balanced_in_any_first_images(train: dict[str, NDArray[Any]]) -> None:
    assert train["label"].tolist() == [index % 10 for index in range(1000)]
    assert not train["domain"].any() and not train["outlier"].any()


def test_pixels_are_what_the_factors_say() -> None:
    """The ground outside, the shape's colour by its texture inside, a mixture on edges."""
    arrays = arrays_of(ColouredShapesConfig(**BARE))
    for index in range(40):
        part, image = covered(arrays, index, 32), arrays["image"][index].astype(float)
        colour, ground = 255 * arrays["colour"][index], 255 * arrays["ground"][index]
        assert np.abs(image[part == 0] - ground[0]).max() <= 0.51
        inside = image[part > 0.999]
        inside = inside[(inside < 255).all(axis=1)]
        lightness = inside[:, colour.argmax()] / colour.max()
        assert np.abs(lightness - 1).max() < STRONGEST / 2 + 0.6 / colour.max()
        assert np.abs(inside - lightness[:, None] * colour).max() < 1.1  # one hue, lighter or darker
        edge = (part > 0) & (part < 1)
        low, high = np.minimum(0.74 * colour, ground[0]), np.maximum(1.26 * colour, ground[0])
        assert ((image[edge] >= low - 1) & (image[edge] <= high + 1)).all()
        assert arrays["covered"][index] == pytest.approx(part.mean(), abs=1e-4)
        assert arrays["visible"][index] == pytest.approx(min(1, part.sum() / arrays["side"][index] ** 2), abs=1e-4)


def test_both_colours_of_a_ground_are_in_the_picture() -> None:
    arrays = arrays_of(ColouredShapesConfig(**(BARE | {"texture": 1.0})))
    for index in range(40):
        outside = arrays["image"][index][covered(arrays, index, 32) == 0] / 255
        ends = arrays["ground"][index]
        way = ends[1] - ends[0]
        place = (outside - ends[0]) @ way / (way @ way)
        assert place.min() > -0.02 and place.max() < 1.02 and np.ptp(place) > 0.4
        assert np.abs(outside - ends[0] - place[:, None] * way).max() < 0.01


def test_visible_is_what_strokes_leave() -> None:
    """With and without a stroke over the shape, all before it is the same."""
    without, with_ = (arrays_of(ColouredShapesConfig(**(BARE | {"occluders": count}))) for count in (0, 1))
    struck = np.flatnonzero(with_["occluders"])
    assert 10 < len(struck) < 30
    for index in range(40):
        part = covered(without, index, 32)
        same = (without["image"][index] == with_["image"][index]).all(axis=2)
        changed = float((part * ~same).sum() / part.sum())
        loss = float(without["visible"][index] - with_["visible"][index])
        if index in struck:
            assert loss <= changed + 1e-3 and loss >= changed - 0.3  # pixels of its edge are changed, but partly seen
        else:
            assert same.all() and loss == 0
    assert (without["visible"] - with_["visible"])[struck].max() > 0.15
    assert with_["visible"].min() > 0.4


def test_nothing_but_the_outline_tells_the_class(train: dict[str, NDArray[Any]]) -> None:
    """A nearest-centroid rule on 1,000 images; chance is 0.1 with a deviation of about 0.01."""
    made = figures(train)
    assert {name for name in made if name.startswith("told_by_")} == {f"told_by_{name}" for name in UNTELLING}
    assert all(made[f"told_by_{name}"] < 0.14 for name in UNTELLING)
    bins = (train["image"] // 64).astype(np.int64) @ (16, 4, 1)
    histograms = np.stack([np.bincount(each.ravel(), minlength=64) for each in bins])
    assert nearest_centroid_accuracy(histograms, train["label"]) < 0.15
    assert nearest_centroid_accuracy(train["image"].reshape(1000, -1), train["label"]) < 0.2


def test_shapes_tell_the_class() -> None:
    """The same rule is right on bare shapes that are not turned, where it is given what each pixel shows of the shape."""
    arrays = arrays_of(ColouredShapesConfig(**(BARE | {"train": 300, "rotation": 0.0, "stretch": 1.0})))
    scaled = []
    for index in range(300):
        away = np.abs(arrays["image"][index].astype(float) - 255 * arrays["ground"][index, 0]).sum(axis=2) > 20
        rows, columns = np.nonzero(away)
        x, y = arrays["centre"][index]
        grid = np.zeros((9, 9))
        places = (np.stack((rows + 0.5 - y, columns + 0.5 - x)) / arrays["side"][index] * 4 + 4.5).astype(int)
        np.add.at(grid, tuple(np.clip(places, 0, 8)), 1)
        scaled.append(grid.ravel() / arrays["side"][index] ** 2)
    assert nearest_centroid_accuracy(scaled, arrays["label"]) > 0.9


def test_factors_vary_and_are_in_their_ranges(train: dict[str, NDArray[Any]]) -> None:
    for name, low, high in (
        ("side", 32 * SIDE[0], 32 * SIDE[1]),
        ("centre", 32 * (0.5 - OFF), 32 * (0.5 + OFF)),
        ("angle", -np.radians(30), np.radians(30)),
        ("noise", 0, 16),
        ("clutter", 0, 2),
        ("occluders", 0, 1),
    ):
        values = train[name]
        assert low - 1e-5 <= values.min() <= low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) <= values.max() <= high + 1e-5
    way = train["ground"][:, 1] - train["ground"][:, 0]
    for part in np.linspace(0, 1, 11):
        away = train["colour"] - train["ground"][:, 0] - part * way
        assert np.sqrt((away**2).sum(axis=1)).min() > 0.4 - 1e-5
    assert train["mean_colour"] == pytest.approx(train["image"].mean(axis=(1, 2)), abs=1e-3)


def test_no_two_images_are_the_same(train: dict[str, NDArray[Any]]) -> None:
    every = np.concatenate([train["image"], arrays_of(CONFIG, "test")["image"]])
    assert len({image.tobytes() for image in every}) == len(every) == 1060


def test_any_subset_by_any_workers_has_the_same_bytes(train: dict[str, NDArray[Any]]) -> None:
    source = load_source(None, CONFIG)
    for workers in (1, 2):
        for index, sample in enumerate(make(GENERATOR, CONFIG, "train", source, 395, 409, workers), start=395):
            check_sample(sample, layout(CONFIG))
            assert all(np.array_equal(sample.arrays[name], train[name][index]) for name in train)
    fewer = generate(ColouredShapesConfig(train=401), "train", 400, source).arrays
    assert np.array_equal(fewer["image"], train["image"][400])
    other = generate(ColouredShapesConfig(train=1000, test=60, seed=1), "train", 0, source).arrays
    assert not np.array_equal(other["image"], train["image"][0])


def test_larger_pictures_show_the_same_thing(train: dict[str, NDArray[Any]]) -> None:
    """Place, area, turn and colours are drawn before anything that depends on the number of pixels."""
    large = ColouredShapesConfig(train=1000, test=60, size=128)
    for index in (0, 7, 130):
        sample = generate(large, "train", index, load_source(None, large)).arrays
        assert sample["centre"] == pytest.approx(4 * train["centre"][index], rel=1e-5)
        for name in ("angle", "stretch", "colour", "ground", "clutter", "occluders", "noise"):
            assert np.array_equal(sample[name], train[name][index])
        assert sample["covered"] == pytest.approx(train["covered"][index], abs=2e-3)


@pytest.mark.parametrize("size", [16, 33, 224])
def test_other_sizes(size: int) -> None:
    config = ColouredShapesConfig(train=10, test=1, size=size, clutter=10, occluders=4, rotation=180, stretch=1.4)
    for index in range(10):
        sample = generate(config, "train", index, load_source(None, config))
        check_sample(sample, layout(config))
        assert 0.06 < sample.arrays["covered"] < 0.21


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": 0}, "train: expected at least 1, got 0"),
        ({"seed": -1}, "seed: expected at least 0, got -1"),
        ({"size": 15}, "size: expected at least 16, got 15"),
        ({"rotation": 181}, "rotation: expected 0 to 180, got 181"),
        ({"stretch": 0.9}, "stretch: expected 1 to 1.4, got 0.9"),
        ({"texture": float("nan")}, "texture: expected 0 to 1, got nan"),
        ({"clutter": -1}, "clutter: expected 0 to 10, got -1"),
        ({"occluders": 5}, "occluders: expected 0 to 4, got 5"),
        ({"contrast": 0.6}, "contrast: expected 0 to 0.5, got 0.6"),
        ({"noise": 65}, "noise: expected 0 to 64, got 65"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ColouredShapesConfig(**options)


def test_no_such_sample() -> None:
    source = load_source(None, CONFIG)
    with pytest.raises(IndexError, match="sample 1000, but the train split has 1000"):
        generate(CONFIG, "train", 1000, source)
    with pytest.raises(KeyError):
        generate(CONFIG, "validation", 0, source)


def test_build_card_and_preview(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["build", "coloured-shapes", "--train", "120", "--test", "13"]
    assert main([*words, "--out", str(tmp_path / "one")]) == 0
    assert "ColouredShapes 1.0.0 from drawn, seed 0" in capsys.readouterr().out
    made = json.loads((tmp_path / "one" / "card.json").read_text())
    train, test = (made["facts"]["splits"][split] for split in ("train", "test"))
    assert train["objects_per_class"] == dict.fromkeys(CLASS_NAMES, 12)
    assert 0 <= train["figures"]["told_by_mean_colour"] < 0.3 and "told_by_mean_colour" not in test["figures"]
    assert set(made["facts"]["factors"]) == set(layout(CONFIG)) and made["license"].startswith("https://")
    assert main(["card", str(tmp_path / "one" / "test.h5"), "--verify"]) == 0
    assert json.loads(capsys.readouterr().out)["domain_names"] == ["drawn"]
    out = tmp_path / "sheet.png"
    assert main(["preview", str(tmp_path / "one" / "train.h5"), "--out", str(out)]) == 0
    assert out.read_bytes() == (tmp_path / "one" / "preview.png").read_bytes()
    with ImageSetFile(tmp_path / "one" / "train.h5") as file:
        assert file.facts["class_names"] == list(CLASS_NAMES) and file[0]["image"].shape == (32, 32, 3)
        assert file.arrays["image"].chunks == (1, 32, 32, 3)
    assert main([*words, "--out", str(tmp_path / "two"), "--workers", "2"]) == 0
    for name in ("train.h5", "test.h5", "card.json", "preview.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_refused_option_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", "coloured-shapes", "--out", str(tmp_path / "x"), "--contrast", "0.9"]) == 2
    assert capsys.readouterr().err == "synthdata: error: contrast: expected 0 to 0.5, got 0.9\n"
    assert not (tmp_path / "x").exists()


def test_the_notes_say_what_it_is() -> None:
    text = "\n".join(notes(ColouredShapesConfig(rotation=10)))
    assert "no figure for CIFAR-10" in text and "turned by up to 10 degrees" in text
