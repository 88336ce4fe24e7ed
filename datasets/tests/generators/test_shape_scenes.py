"""ShapeScenes: masks that agree with pixels and factors, shapes that hide each other, nothing but outlines to tell them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from synthetic_datasets import ShapeScenesConfig
from synthetic_datasets.drawing.outlines import Pose
from synthetic_datasets.drawing.strokes import Points
from synthetic_datasets.drawing.surfaces import STRONGEST
from synthetic_datasets.generators import shape_scenes
from synthetic_datasets.generators.generator import Source, check_sample
from synthetic_datasets.storage.image_set import EDGE

Arrays = dict[str, NDArray[Any]]
CONFIG = ShapeScenesConfig(train=500, test=30)
BARE = ShapeScenesConfig(train=30, test=1, texture=0.0, clutter=0, noise=0.0)
"""Shapes on a ground of one colour."""


@pytest.fixture(scope="module")
def train(arrays_of: Callable[..., Arrays]) -> Arrays:
    return arrays_of(CONFIG)


def inside(polygon: Points, size: int) -> NDArray[np.bool_]:
    """(size, size) whether the middle of a pixel is in a polygon: a ray to its right crosses an odd number of edges."""
    x, y = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
    odd = np.zeros((size, size), bool)
    for (x1, y1), (x2, y2) in zip(polygon.tolist(), np.roll(polygon, -1, axis=0).tolist(), strict=True):
        if y1 != y2:
            odd ^= ((y1 <= y) != (y2 <= y)) & (x < x1 + (y - y1) * (x2 - x1) / (y2 - y1))
    return odd


def nearest(arrays: Arrays, index: int, size: int = 64) -> NDArray[np.int64]:
    """(size, size) number of the nearest shape at the middle of every pixel, from stored factors alone; -1 for none."""
    made = np.full((size, size), -1)
    for number, label in enumerate(arrays["labels"][index].tolist()):
        if label >= 0:
            parts = (arrays[name][index, number].astype(float) for name in ("centre", "side", "angle", "stretch"))
            made[inside(Pose(*parts).laid(label - 1), size)] = number
    return made


def differs_nearby(numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether one of the eight neighbours of a pixel has another number."""
    rows, columns = numbers.shape
    around = np.pad(numbers, 1, mode="edge")
    windows = [around[i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
    return np.any([window != numbers for window in windows], axis=0)


def test_defaults_and_notes() -> None:
    config = ShapeScenesConfig()
    assert (config.train, config.test, config.size, config.shapes) == (10_582, 1_449, 64, (3, 6))
    assert shape_scenes.CLASS_NAMES[0] == "background" and len(shape_scenes.CLASS_NAMES) == 11
    text = "\n".join(shape_scenes.notes(ShapeScenesConfig(rotation=10)))
    assert "no figure for PASCAL VOC" in text and "turned by up to 10 degrees" in text and "the mask is 255" in text


def test_masks_are_what_the_factors_say(train: Arrays) -> None:
    """Where a pixel has a class, it is that of the nearest shape at its middle; where it has none, an edge is near."""
    for index in range(0, 500, 10):
        numbers, mask = nearest(train, index), train["mask"][index]
        classes = np.where(numbers >= 0, np.append(train["labels"][index], 0)[numbers], 0)
        known = mask != EDGE
        assert (mask[known] == classes[known]).all()
        assert differs_nearby(numbers)[~known].mean() > 0.97  # tips that lie between the middles of pixels are the rest
        assert not (differs_nearby(numbers) & known)[1:-1, 1:-1].all()
        across = numbers[:, 1:] != numbers[:, :-1]
        assert (~known[:, 1:] | ~known[:, :-1])[across].mean() > 0.97  # an edge runs between any two shapes


def test_masks_agree_with_pixels(arrays_of: Callable[..., Arrays]) -> None:
    """On bare ground: the ground's colour where the mask says background, that of the nearest shape of the class elsewhere."""
    arrays = arrays_of(BARE)
    for index in range(30):
        numbers, mask, image = nearest(arrays, index), arrays["mask"][index], arrays["image"][index].astype(float)
        ground = 255 * arrays["ground"][index, 0]
        assert np.abs(image[mask == 0] - ground).max() < 0.02 * 255 + 1  # of a pixel of background 0.02 may be a shape
        for number, label in enumerate(arrays["labels"][index].tolist()):
            where = (numbers == number) & (mask == label)
            if label < 0 or not where.any():
                continue
            colour, pixels = 255 * arrays["colour"][index, number], image[where]
            pixels = pixels[(pixels < 255).all(axis=1)]
            lightness = pixels[:, colour.argmax()] / colour.max()
            assert np.abs(lightness - 1).max(initial=0) < STRONGEST / 2 + 6 / colour.max()
            assert np.abs(pixels - lightness[:, None] * colour).max(initial=0) < 7
        between = image[mask == EDGE]
        assert np.abs(between - ground).max() > 30


def test_masks_do_not_depend_on_what_is_behind(arrays_of: Callable[..., Arrays]) -> None:
    """Nor on noise: strokes on the ground are background."""
    plain = arrays_of(BARE)
    busy = arrays_of(ShapeScenesConfig(train=30, test=1, texture=1.0, clutter=0, noise=64.0))
    assert np.array_equal(plain["mask"], busy["mask"]) and not np.array_equal(plain["image"], busy["image"])
    struck = arrays_of(ShapeScenesConfig(train=30, test=1, texture=0.0, clutter=4, noise=0.0))
    assert np.array_equal(plain["mask"], struck["mask"])
    changed = [(a != b).any() for a, b in zip(plain["image"], struck["image"], strict=True)]
    assert (np.array(changed) == (struck["clutter"] > 0)).all() and 15 < sum(changed) < 30


def test_classes_of_the_shapes(train: Arrays) -> None:
    labels = train["labels"]
    count = (labels >= 0).sum(axis=1)
    assert sorted(set(count.tolist())) == [3, 4, 5, 6] and np.bincount(count)[3:].min() > 90
    assert all(1 + index % 10 in row for index, row in enumerate(labels))
    counts = np.bincount(labels[labels >= 0], minlength=11)
    assert counts[0] == 0 and counts[1:].min() > 0.85 * counts[1:].mean()
    first = labels[:, 0] == 1 + np.arange(500) % 10
    assert 0.2 < first.mean() < 0.5  # its own class may lie at any depth
    absent = train["labels"] < 0
    assert (train["labels"][absent] == -1).all() and absent.any() and not absent[:, :3].any()
    for name in ("centre", "side", "angle", "stretch", "colour", "visible"):
        assert not train[name][absent].any()
        assert train[name][~absent].any()


def test_parts_and_visible_are_those_of_the_mask(train: Arrays) -> None:
    assert train["background"] == pytest.approx((train["mask"] == 0).mean(axis=(1, 2)))
    assert train["edge"] == pytest.approx((train["mask"] == EDGE).mean(axis=(1, 2)))
    assert 0.03 < train["edge"].mean() < 0.12 and 0.5 < train["background"].mean() < 0.8
    assert set(np.unique(train["mask"]).tolist()) == {*range(11), EDGE}
    errors = []
    for index in range(100):
        numbers = nearest(train, index)
        for number in np.flatnonzero(train["labels"][index] >= 0).tolist():
            shown = (numbers == number).sum() / train["side"][index, number] ** 2
            errors.append(shown - float(train["visible"][index, number]))
    assert np.abs(errors).max() < 0.12 and abs(np.mean(errors)) < 0.01
    visible = train["visible"][train["labels"] >= 0]
    assert 0.1 < (visible < 0.8).mean() < 0.5 and (visible < 0.25).mean() < 0.02


def test_nothing_but_the_outline_tells_a_shape(train: Arrays) -> None:
    made = shape_scenes.figures(train)
    assert made["shapes"] == (train["labels"] >= 0).sum()
    assert all(made[f"told_by_{name}"] < 0.14 for name in ("colour", "side", "centre"))  # chance is 0.1
    assert made["told_by_visible"] < 0.16
    known = train["mask"][train["mask"] != EDGE]
    assert made["miou_of_background_alone"] == pytest.approx((known == 0).mean() / 11, rel=1e-4)


@pytest.mark.parametrize(("size", "shapes"), [(32, (1, 1)), (65, (2, 16)), (224, (4, 4))])
def test_other_sizes_and_numbers(size: int, shapes: tuple[int, int]) -> None:
    config = ShapeScenesConfig(train=8, test=1, size=size, shapes=shapes, rotation=180, stretch=1.4, clutter=10)
    for index in range(8):
        sample = shape_scenes.generate(config, "train", index, Source())
        check_sample(sample, shape_scenes.layout(config))
        assert shapes[0] <= (sample.arrays["labels"] >= 0).sum() <= shapes[1]


def test_larger_pictures_show_the_same_scene(train: Arrays) -> None:
    large = ShapeScenesConfig(train=500, test=30, size=128)
    for index in (0, 7, 130):
        sample = shape_scenes.generate(large, "train", index, Source()).arrays
        assert sample["centre"] == pytest.approx(2 * train["centre"][index], rel=1e-5)
        assert np.array_equal(sample["labels"], train["labels"][index])
        small, both = train["mask"][index], sample["mask"][::2, ::2]
        known = (small != EDGE) & (both != EDGE)
        assert known.mean() > 0.8 and (small[known] == both[known]).all()
