"""Lines and spots of ink: geometry against formulas, pixels against a plain loop."""

import math

import numpy as np
import pytest

from synthetic_datasets.drawing.outlines import FURTHER_SHAPES, GLYPHS, SHAPES
from synthetic_datasets.drawing.strokes import arc, drawing, solid_spacing, spots, straight, turned

LENGTHS = {
    "circle": 2 * math.pi,
    "ellipse": 4.844224,  # 4 a E(1 - b^2 / a^2) for a = 1, b = 1/2
    "semicircle": math.pi + 2,
    "triangle": 3 * math.sqrt(3),
    "square": 4 * math.sqrt(2),
    "star": 10 * math.sqrt(1 + 0.42**2 - 2 * 0.42 * math.cos(math.pi / 5)),
    "cross": 4 * 2 * 0.3 + 8 * (math.sqrt(1 - 0.09) - 0.3),
}


@pytest.mark.parametrize("name", LENGTHS)
def test_lengths_of_the_shapes(name: str) -> None:
    length = sum(np.hypot(*np.diff(piece, axis=0).T).sum() for piece in SHAPES[name].pieces)
    assert length == pytest.approx(LENGTHS[name], rel=2e-3)


def test_shapes_and_glyphs() -> None:
    assert list(SHAPES) == list(LENGTHS)
    assert "".join(GLYPHS) == "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    for six, nine in zip(GLYPHS["6"].pieces, GLYPHS["9"].pieces, strict=True):
        assert np.allclose(nine, turned(six, math.pi))


@pytest.mark.parametrize("name", [*SHAPES, *FURTHER_SHAPES, *GLYPHS])
def test_everything_just_fits_the_unit_circle(name: str) -> None:
    every = np.concatenate((SHAPES | FURTHER_SHAPES | GLYPHS)[name].pieces)
    assert np.hypot(*every.T).max() == pytest.approx(1)


@pytest.mark.parametrize("name", ["triangle", "square", "star", "cross", *FURTHER_SHAPES])
def test_polygons_are_closed(name: str) -> None:
    pieces = (SHAPES | FURTHER_SHAPES)[name].pieces
    for piece, after in zip(pieces, pieces[1:] + pieces[:1], strict=True):
        assert np.allclose(piece[-1], after[0])


def test_points_along_lines() -> None:
    line = drawing(*straight((0, 0), (10, 0)))  # from (-1, 0) to (1, 0)
    assert line.points(0.5)[:, 0].tolist() == pytest.approx([-1, -0.5, 0, 0.5, 1])
    assert line.points(0.45)[:, 0].tolist() == pytest.approx([-1, -0.5, 0, 0.5, 1])  # 4.4 steps are 4
    assert line.points(99).tolist() == [[-1, 0], [1, 0]]
    square = SHAPES["square"]
    points = square.points(0.3)
    side = math.sqrt(2)
    steps = math.floor(side / 0.3 + 0.5)
    assert len(points) == 4 * (steps + 1)
    for piece in square.pieces:
        assert any(np.allclose(piece[0], point) for point in points)
    within = np.hypot(*np.diff(points.reshape(4, steps + 1, 2), axis=1).reshape(-1, 2).T)
    assert np.allclose(within, side / steps)


def test_angles_are_clockwise_on_the_screen() -> None:
    (quarter,) = arc((2, 3), (1, 0.5), 0, 90)
    assert np.allclose(quarter[[0, -1]], [(3, 3), (2, 3.5)])
    assert np.allclose(turned(np.array([[1.0, 0.0]]), math.pi / 2), [[0, 1]])


def test_spots() -> None:
    rng = np.random.default_rng(0)
    points, radius, size = 20 * rng.random((9, 2)), 1.7, 20
    expected = np.zeros((size, size))
    for row in range(size):
        for column in range(size):
            for x, y in points:
                away = math.hypot(column + 0.5 - x, row + 0.5 - y)
                expected[row, column] = max(expected[row, column], min(1, max(0, radius + 0.5 - away)))
    assert np.allclose(spots(points, radius, size), expected, atol=1e-6)
    radius = 6.0
    ink = spots(np.array([[16.0, 16.0]]), radius, 32).sum()
    assert ink == pytest.approx(math.pi * radius**2, rel=0.01)
    radius = 1.5
    row = np.arange(5, 27, solid_spacing(radius))
    cover = spots(np.stack((row, np.full(len(row), 16.0)), axis=1), radius, 32)
    assert np.allclose(cover.sum(axis=0)[8:24], 2 * radius, atol=0.06)
    with pytest.raises(ValueError, match="the picture is 20 px wide"):
        spots(np.array([[3.0, 20.5]]), 1, 20)
