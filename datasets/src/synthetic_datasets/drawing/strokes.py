"""Lines as rows of points, and points as round spots of ink: solid and dotted drawings by one rule."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""(n, 2) x y; y points down."""

_SCALLOP = 0.02
"""A solid line's edge may be this many pixels less straight than a ruler's."""


@dataclass(frozen=True)
class Drawing:
    """A line drawing inside the unit circle, the farthest point on it."""

    pieces: tuple[Points, ...]
    """Lines between corners; a curved one is a polyline of many short steps."""

    @cached_property
    def _lengths(self) -> list[NDArray[np.float64]]:
        return [np.concatenate(([0.0], np.cumsum(np.hypot(*np.diff(piece, axis=0).T)))) for piece in self.pieces]

    def points(self, spacing: float) -> Points:
        """(n, 2) points along every piece, evenly, its two ends among them, so that no corner is lost. They are as
        close to ``spacing`` apart as whole steps allow, measured along the line."""
        rows = []
        for piece, way in zip(self.pieces, self._lengths, strict=True):
            steps = max(1, math.floor(way[-1] / spacing + 0.5))
            along = way[-1] / steps * np.arange(steps + 1)
            rows.append(np.stack((np.interp(along, way, piece[:, 0]), np.interp(along, way, piece[:, 1])), axis=1))
        return np.concatenate(rows)


def drawing(*pieces: Points) -> Drawing:
    """Pieces of any size and place, moved and scaled about the middle of their box to fit the unit circle."""
    every = np.concatenate(pieces)
    middle = (every.min(axis=0) + every.max(axis=0)) / 2
    radius = np.hypot(*(every - middle).T).max()
    return Drawing(tuple((piece - middle) / radius for piece in pieces))


def straight(*corners: tuple[float, float]) -> tuple[Points, ...]:
    """Straight pieces from each corner to the next."""
    ends = np.array(corners, float)
    return tuple(ends[place : place + 2] for place in range(len(ends) - 1))


def arc(centre: tuple[float, float], radii: tuple[float, float], first: float, last: float) -> tuple[Points, ...]:
    """A piece of an ellipse from one angle to another, in degrees from the x axis towards the y axis (down)."""
    angles = np.radians(np.linspace(first, last, max(8, math.ceil(abs(last - first) / 6)) + 1))
    return (np.stack((np.cos(angles), np.sin(angles)), axis=1) * radii + centre,)


def turned(points: Points, angle: float) -> Points:
    """Rotated about the origin by ``angle`` radians, from x towards y: clockwise on the screen."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return points @ np.array([[cosine, sine], [-sine, cosine]])


def solid_spacing(radius: float) -> float:
    """How far apart spots of this radius (pixels) may be to look like a solid line."""
    return math.sqrt(8 * radius * _SCALLOP)


def spots(points: Points, radius: float, size: int) -> NDArray[np.float32]:
    """(size, size) how much of every pixel is ink, 0..1, for round spots of ``radius`` px about ``points`` (x y in px).
    Pixel (0, 0) covers 0..1 in both directions. The edge of a spot is a ramp one pixel wide about its radius, and where
    spots overlap the stronger counts. Raises ValueError if a point lies outside the picture."""
    if points.min() < 0 or points.max() >= size:
        raise ValueError(f"points from {points.min():g} to {points.max():g} px, but the picture is {size} px wide")
    reach = math.ceil(radius + 0.5)
    side = size + 2 * reach
    corner = np.floor(points).astype(np.int64)
    steps = np.arange(2 * reach + 1)
    away = ((corner + 0.5 - reach - points)[:, :, None] + steps).astype(np.float32) ** 2
    cover = np.float32(radius + 0.5) - np.sqrt(away[:, 1, :, None] + away[:, 0, None, :])
    where = (corner[:, 1] * side + corner[:, 0])[:, None, None] + (steps[:, None] * side + steps)
    inked = cover > 0  # corners of the square around a spot have none
    picture = np.zeros(side * side, np.float32)
    np.maximum.at(picture, where[inked], cover[inked])
    return np.minimum(picture.reshape(side, side)[reach:-reach, reach:-reach], 1)
