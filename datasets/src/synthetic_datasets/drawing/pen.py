"""Draws things made of coloured parts, through any projective view, large enough to be averaged to smooth edges."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Corners = Sequence[tuple[float, float]]

_EDGE = 0.018
"""Width of the darker line around a part, in units of the thing."""


def shade(colour: Colour, factor: float) -> Colour:
    """Darker for a factor below 1; above 1 the way to white, of which 2 is the end."""
    if factor <= 1:
        red, green, blue = (round(value * factor) for value in colour)
    else:
        red, green, blue = (round(value + (255 - value) * (factor - 1)) for value in colour)
    return red, green, blue


class Pen:
    """Draws parts, the later over the earlier. A thing is drawn in a square from -1 to 1; x points right, y down."""

    def __init__(self, side: int, view: NDArray[np.float64]) -> None:
        """``view``: (3, 3) homography from the thing's coordinates to pixels of a square picture of ``side``."""
        self._image = Image.new("RGBA", (side, side))
        self._draw = ImageDraw.Draw(self._image)
        self._view = view
        self._scale = math.sqrt(abs(float(np.linalg.det(view[:2, :2]))))

    def area(self, corners: Corners, colour: Colour, edge: bool = True) -> None:
        pixels = self._pixels(corners)
        self._draw.polygon(pixels, colour)
        if edge:
            self._draw.line([*pixels, pixels[0]], shade(colour, 0.55), self._width(_EDGE))

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour, round_by: float = 0) -> None:
        """An upright rectangle, its corners rounded by a radius."""
        if round_by <= 0:
            self.area([(left, top), (right, top), (right, bottom), (left, bottom)], colour)
            return
        r = min(round_by, abs(right - left) / 2, abs(bottom - top) / 2)
        middles = ((right - r, top + r), (right - r, bottom - r), (left + r, bottom - r), (left + r, top + r))
        turns = zip(middles, (-90, 0, 90, 180), strict=True)
        self.area([at for (x, y), start in turns for at in bend(x, y, r, r, start, start + 90, 5)], colour)

    def oval(self, x: float, y: float, across: float, down: float, colour: Colour) -> None:
        self.area(bend(x, y, across, down, 0, 360, 28)[:-1], colour)

    def ring(self, x: float, y: float, across: float, down: float, width: float, colour: Colour) -> None:
        self.line(bend(x, y, across, down, 0, 360, 36), width, colour)

    def line(self, points: Corners, width: float, colour: Colour) -> None:
        """A line through points, round at its corners and ends."""
        pixels, thick = self._pixels(points), self._width(width)
        self._draw.line(pixels, colour, thick, joint="curve")
        if thick > 2:
            for x, y in (pixels[0], pixels[-1]):
                r = (thick - 1) / 2
                self._draw.ellipse((x - r, y - r, x + r, y + r), colour)

    def finished(self, factor: int) -> NDArray[np.float32]:
        """(side / factor, side / factor, 4) means of ``factor`` x ``factor`` pixels: colour times cover, and cover, 0..1."""
        large = np.asarray(self._image, np.float32)
        side = large.shape[0] // factor
        return large.reshape(side, factor, side, factor, 4).mean((1, 3)) / 255

    def _pixels(self, points: Corners) -> list[tuple[float, float]]:
        flat = np.column_stack((np.array(points, float), np.ones(len(points)))) @ self._view.T
        return [(x, y) for x, y in (flat[:, :2] / flat[:, 2:]).tolist()]

    def _width(self, width: float) -> int:
        return max(1, round(width * self._scale))


def bend(
    x: float, y: float, across: float, down: float, first: float, last: float, steps: int = 14
) -> list[tuple[float, float]]:
    """Points along a piece of an ellipse, between two angles in degrees from x towards y (down)."""
    angles = [math.radians(first + (last - first) * step / steps) for step in range(steps + 1)]
    return [(x + across * math.cos(angle), y + down * math.sin(angle)) for angle in angles]
