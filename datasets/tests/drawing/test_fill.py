"""Filled polygons: how much of a pixel they cover, against rectangles, areas and a plain loop."""

import math

import numpy as np
import pytest

from synthetic_datasets.drawing.strokes import Points
from synthetic_datasets.drawing.surfaces import ROWS, cover


def inside(polygon: Points, x: float, y: float) -> bool:
    """Whether a ray to the right from a point meets an odd number of edges."""
    odd = False
    for (x1, y1), (x2, y2) in zip(polygon.tolist(), np.roll(polygon, -1, axis=0).tolist(), strict=True):
        if (y1 <= y) != (y2 <= y) and x < x1 + (y - y1) * (x2 - x1) / (y2 - y1):
            odd = not odd
    return odd


def star(middle: float, radius: float, turn: float) -> Points:
    angles = turn + 2 * math.pi * np.arange(10) / 10
    radii = radius * np.where(np.arange(10) % 2, 0.4, 1)
    return middle + np.stack((radii * np.cos(angles), radii * np.sin(angles)), 1)


@pytest.mark.parametrize("turn", [0.0, 0.3, 1.1])
def test_cover_against_a_plain_loop(turn: float) -> None:
    polygon, fine = star(3.6, 3.1, turn), 24
    expected = np.zeros((7, 7))
    for row in range(7 * fine):
        for column in range(7 * fine):
            expected[row // fine, column // fine] += inside(polygon, (column + 0.5) / fine, (row + 0.5) / fine)
    assert np.abs(cover(polygon, 7) - expected / fine**2).max() < 0.04  # both sample along y


def test_cover_is_the_area() -> None:
    made = cover(np.array([(1.3, 0.5), (3.6, 0.5), (3.6, 2.25), (1.3, 2.25)]), 5)
    across, down = np.array([0, 0.7, 1, 0.6, 0]), np.array([0.5, 1, 0.25, 0, 0])
    assert made.dtype == np.float32 and np.allclose(made, down[:, None] * across, atol=1e-6)
    polygon = star(8, 6.5, 0.2)
    assert np.allclose(cover(polygon, 16), cover(polygon[::-1], 16), atol=1e-6)
    polygon = star(20, 17, 0.4)
    x, y = polygon.T
    area = abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
    made = cover(polygon, 40)
    assert made.sum() == pytest.approx(area, rel=1 / (ROWS * 40))
    assert made.min() == 0 and made.max() == 1


def test_what_is_outside_is_cut_off() -> None:
    everything = np.array([(-3.0, -3.0), (9.0, -3.0), (9.0, 9.0), (-3.0, 9.0)])
    assert (cover(everything, 6) == 1).all()
    whole = cover(star(6, 5, 0.1) + 4, 20)
    for offset in ((4, 4), (10, 0), (0, 9)):
        part = cover(star(6, 5, 0.1) + 4 - offset, 12)
        expected = np.pad(whole, 20)[20 + offset[1] :, 20 + offset[0] :][:12, :12]
        assert np.allclose(part, expected, atol=1e-5)
    for far in ((-30, 0), (30, 0), (0, -30), (0, 30)):
        assert not cover(star(6, 5, 0.1) + far, 12).any()
