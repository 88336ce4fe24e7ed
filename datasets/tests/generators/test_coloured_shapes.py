"""ColouredShapes: balance, pixels that are what the factors say, and nothing but the outline that tells the class."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from synthetic_datasets import ColouredShapesConfig
from synthetic_datasets.drawing.outlines import Pose
from synthetic_datasets.drawing.surfaces import STRONGEST, cover
from synthetic_datasets.generators import coloured_shapes
from synthetic_datasets.generators.generator import Source, check_sample
from synthetic_datasets.generators.shortcuts import nearest_centroid_accuracy

CONFIG = ColouredShapesConfig(train=1000, test=60)
Arrays = dict[str, NDArray[Any]]
BARE: dict[str, Any] = {"train": 40, "test": 1, "texture": 0.0, "clutter": 0, "occluders": 0, "noise": 0.0}
"""Shapes on grounds of one colour."""


def covered(arrays: Arrays, index: int, size: int) -> NDArray[np.float32]:
    """Part of every pixel that a shape covers, from what the file stores."""
    pose = Pose(*(arrays[name][index].astype(float) for name in ("centre", "side", "angle", "stretch")))
    return cover(pose.laid(int(arrays["label"][index])), size)


@pytest.fixture(scope="module")
def train(arrays_of: Callable[..., Arrays]) -> Arrays:
    return arrays_of(CONFIG)


def test_defaults_and_notes() -> None:
    config = ColouredShapesConfig()
    assert (config.train, config.test, config.size, len(coloured_shapes.CLASS_NAMES)) == (50_000, 10_000, 32, 10)
    text = "\n".join(coloured_shapes.notes(ColouredShapesConfig(rotation=10)))
    assert "no figure for CIFAR-10" in text and "turned by up to 10 degrees" in text


def test_images_differ_and_classes_are_balanced(train: Arrays, arrays_of: Callable[..., Arrays]) -> None:
    assert train["label"].tolist() == [index % 10 for index in range(1000)]
    assert not train["domain"].any() and not train["outlier"].any()
    every = np.concatenate([train["image"], arrays_of(CONFIG, "test")["image"]])
    assert len({image.tobytes() for image in every}) == len(every) == 1060
    assert np.array_equal(arrays_of(ColouredShapesConfig(train=20))["image"], train["image"][:20])


def test_pixels_are_what_the_factors_say(arrays_of: Callable[..., Arrays]) -> None:
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


def test_both_colours_of_a_ground_are_in_the_picture(arrays_of: Callable[..., Arrays]) -> None:
    arrays = arrays_of(ColouredShapesConfig(**(BARE | {"texture": 1.0})))
    for index in range(40):
        outside = arrays["image"][index][covered(arrays, index, 32) == 0] / 255
        ends = arrays["ground"][index]
        way = ends[1] - ends[0]
        place = (outside - ends[0]) @ way / (way @ way)
        assert place.min() > -0.02 and place.max() < 1.02 and np.ptp(place) > 0.4
        assert np.abs(outside - ends[0] - place[:, None] * way).max() < 0.01


def test_visible_is_what_strokes_leave(arrays_of: Callable[..., Arrays]) -> None:
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


def test_nothing_but_the_outline_tells_the_class(train: Arrays) -> None:
    """A nearest-centroid rule on 1,000 images; chance is 0.1 with a deviation of about 0.01."""
    made, untelling = coloured_shapes.figures(train), coloured_shapes.UNTELLING
    assert {name for name in made if name.startswith("told_by_")} == {f"told_by_{name}" for name in untelling}
    assert all(made[f"told_by_{name}"] < 0.14 for name in untelling)
    bins = (train["image"] // 64).astype(np.int64) @ (16, 4, 1)
    histograms = np.stack([np.bincount(each.ravel(), minlength=64) for each in bins])
    assert nearest_centroid_accuracy(histograms, train["label"]) < 0.15
    assert nearest_centroid_accuracy(train["image"].reshape(1000, -1), train["label"]) < 0.2


def test_shapes_tell_the_class(arrays_of: Callable[..., Arrays]) -> None:
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


def test_factors_vary_and_are_in_their_ranges(train: Arrays) -> None:
    side, off = 32 * np.array(coloured_shapes.SIDE), 32 * coloured_shapes.OFF
    for name, low, high in (
        ("side", *side), ("centre", 16 - off, 16 + off), ("angle", -np.radians(30), np.radians(30)), ("noise", 0, 16),
        ("clutter", 0, 2), ("occluders", 0, 1),
    ):  # fmt: skip
        values = train[name]
        assert low - 1e-5 <= values.min() <= low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) <= values.max() <= high + 1e-5
    way = train["ground"][:, 1] - train["ground"][:, 0]
    for part in np.linspace(0, 1, 11):
        away = train["colour"] - train["ground"][:, 0] - part * way
        assert np.sqrt((away**2).sum(axis=1)).min() > 0.4 - 1e-5
    assert train["mean_colour"] == pytest.approx(train["image"].mean(axis=(1, 2)), abs=1e-3)


def test_larger_pictures_show_the_same_thing(train: Arrays) -> None:
    """Place, area, turn and colours are drawn before anything that depends on the number of pixels."""
    large = ColouredShapesConfig(train=1000, test=60, size=128)
    for index in (0, 7, 130):
        sample = coloured_shapes.generate(large, "train", index, Source()).arrays
        assert sample["centre"] == pytest.approx(4 * train["centre"][index], rel=1e-5)
        for name in ("angle", "stretch", "colour", "ground", "clutter", "occluders", "noise"):
            assert np.array_equal(sample[name], train[name][index])
        assert sample["covered"] == pytest.approx(train["covered"][index], abs=2e-3)


@pytest.mark.parametrize("size", [16, 33, 224])
def test_other_sizes(size: int) -> None:
    config = ColouredShapesConfig(train=10, test=1, size=size, clutter=10, occluders=4, rotation=180, stretch=1.4)
    for index in range(10):
        sample = coloured_shapes.generate(config, "train", index, Source())
        check_sample(sample, coloured_shapes.layout(config))
        assert 0.06 < sample.arrays["covered"] < 0.21
