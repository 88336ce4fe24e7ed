"""Colours, textures, strokes and noise of flat pictures."""

import math

import numpy as np
import pytest

from synthetic_datasets.drawing import surfaces
from synthetic_datasets.drawing.surfaces import STRONGEST, colour, photographed


@pytest.mark.parametrize("contrast", [0.0, 0.3, 0.5])
def test_colours_are_apart_from_all_between_two_others(contrast: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        ends = np.stack((colour(rng), colour(rng)))
        drawn = surfaces.colour_apart(ends, contrast, rng)
        between = [ends[0] + part * (ends[1] - ends[0]) for part in np.linspace(0, 1, 101)]
        assert min(math.dist(drawn, other) for other in between) >= contrast - 1e-6
        assert drawn.dtype == np.float32 and drawn.min() >= 0 and drawn.max() <= 1
    same = np.full((2, 3), 0.4, np.float32)
    assert math.dist(surfaces.colour_apart(same, contrast, rng), same[0]) >= contrast - 1e-6


def test_textures_grounds_and_coats() -> None:
    rng = np.random.default_rng(0)
    made = [surfaces.texture(32, rng) for _ in range(60)]
    assert all(each.shape == (32, 32) and each.dtype == np.float32 for each in made)
    assert min(each.min() for each in made) == 0 and max(each.max() for each in made) == 1
    striped = [((each == 0) | (each == 1)).mean() > 0.4 for each in made]
    assert 15 < sum(striped) < 45
    assert np.mean([each.mean() for each in made]) == pytest.approx(0.5, abs=0.05)
    rng = np.random.default_rng(0)
    colours = np.array([(0.2, 0.9, 0.5), (0.6, 0.1, 0.5)], np.float32)
    made = surfaces.ground(colours, 32, rng)
    part = (made - colours[0])[:, :, :2] / (colours[1] - colours[0])[:2]
    assert part.min() >= -1e-6 and part.max() <= 1 + 1e-6
    assert np.allclose(part[:, :, 0], part[:, :, 1], atol=1e-5) and np.allclose(made[:, :, 2], 0.5)
    for _ in range(20):
        relative = surfaces.coat(colours[0], 32, rng) / colours[0]
        assert np.allclose(relative, relative[:, :, :1], atol=1e-5)
        assert relative.min() >= 1 - STRONGEST / 2 and relative.max() <= 1 + STRONGEST / 2


def test_over() -> None:
    below, paint = np.full((2, 2, 3), 0.2, np.float32), np.array((1.0, 0.6, 0.2), np.float32)
    covered = np.array([(0, 1), (0.5, 0.25)], np.float32)
    made = surfaces.over(below, covered, paint)
    for row in range(2):
        for column in range(2):
            part = float(covered[row, column])
            assert made[row, column] == pytest.approx((1 - part) * below[row, column] + part * paint)


def test_strokes_run_through_their_point_and_have_their_area() -> None:
    rng = np.random.default_rng(0)
    areas = []
    for _ in range(80):
        made = surfaces.stroke(100, np.array((50.0, 50.0)), rng)
        assert made[49:51, 49:51].max() > 0.9
        areas.append(float(made.sum()))
    assert min(areas) > 100 * 100 * 0.03 * 0.3 * 0.4  # of which what leaves the picture is cut off
    assert max(areas) < 100 * 100 * 0.09 * 1.0 * 1.02
    assert np.mean(areas) == pytest.approx(100 * 100 * 0.06 * 0.65, rel=0.25)


def test_noise_has_its_deviation() -> None:
    rng = np.random.default_rng(0)
    grey = np.full((64, 64, 3), 0.5, np.float32)
    assert (photographed(grey, 0, rng) == 128).all()
    noisy = photographed(grey, 9, rng).astype(float)
    assert noisy.std() == pytest.approx(9, rel=0.05) and noisy.mean() == pytest.approx(127.5, abs=0.5)
    assert photographed(np.array([[(-1.0, 0.5, 2.0)]], np.float32), 0, rng).tolist() == [[[0, 128, 255]]]
