"""What is drawn of lines or filled: geometric shapes, written letters and digits, solid shapes of one area."""

import math
from dataclasses import dataclass

import numpy as np

from synthetic_datasets.drawing.strokes import Drawing, Points, arc, drawing, straight, turned


def _polygon(*corners: tuple[float, float]) -> Drawing:
    return Drawing(straight(*corners, corners[0]))


def _on_circle(count: int, *radii: float) -> list[tuple[float, float]]:
    angles = [2 * math.pi * number / count - math.pi / 2 for number in range(count)]
    return [(r * math.cos(a), r * math.sin(a)) for a, r in zip(angles, radii * (count // len(radii)), strict=True)]


def _cross(half: float) -> Drawing:
    tip = math.sqrt(1 - half**2)
    quarter = [(half, -half), (half, -tip), (-half, -tip)]
    corners: list[tuple[float, float]] = []
    for _ in range(4):
        corners += quarter
        quarter = [(y, -x) for x, y in quarter]
    return _polygon(*corners)


def _crescent(opening: float, middle: float) -> Drawing:
    tip = np.array((math.cos(math.radians(opening)), math.sin(math.radians(opening))))
    inner = float(np.hypot(tip[0] - middle, tip[1]))
    turn = math.degrees(math.atan2(tip[1], tip[0] - middle))
    return Drawing((*arc((0, 0), (1, 1), opening, 360 - opening), *arc((middle, 0), (inner, inner), 360 - turn, turn)))


SHAPES: dict[str, Drawing] = {
    "circle": Drawing(arc((0, 0), (1, 1), 0, 360)), "ellipse": Drawing(arc((0, 0), (1, 0.5), 0, 360)),
    "semicircle": Drawing((*arc((0, 0), (1, 1), 180, 360), *straight((1, 0), (-1, 0)))),
    "triangle": _polygon(*_on_circle(3, 1)),
    "square": _polygon(*((x, y) for x, y in np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)]) / math.sqrt(2))),
    "star": _polygon(*_on_circle(10, 1, 0.42)), "cross": _cross(0.3),
}  # fmt: skip
"""Each inside the unit circle, upright; the semicircle's circle is the unit circle, its middle the origin. Shape draws them."""

FURTHER_SHAPES: dict[str, Drawing] = {
    "pentagon": _polygon(*_on_circle(5, 1)), "crescent": _crescent(50, 0.55),
    "arrow": drawing(
        *straight((0, -1), (0.75, -0.1), (0.3, -0.1), (0.3, 1), (-0.3, 1), (-0.3, -0.1), (-0.75, -0.1), (0, -1))
    ),
}  # fmt: skip
"""Shapes that are not Shape's; each inside the unit circle."""


def _glyphs() -> dict[str, Drawing]:
    bowl = (*straight((0, 1.4), (0, 0), (0.55, 0)), *arc((0.55, 0.38), (0.45, 0.38), -90, 90))
    bowl += straight((0.55, 0.76), (0, 0.76))
    six = (*arc((0.5, 0.98), (0.45, 0.42), 180, 540), *arc((0.95, 0.98), (0.9, 0.98), 180, 250))
    written: dict[str, tuple[Points, ...]] = {
        "A": (*straight((0, 1.4), (0.5, 0), (1, 1.4)), *straight((0.18, 0.9), (0.82, 0.9))),
        "B": (
            *straight((0.5, 0), (0, 0), (0, 1.4), (0.55, 1.4)), *straight((0, 0.7), (0.5, 0.7)),
            *arc((0.5, 0.35), (0.4, 0.35), -90, 90), *arc((0.55, 1.05), (0.45, 0.35), -90, 90),
        ),
        "C": arc((0.5, 0.7), (0.5, 0.7), 45, 315),
        "D": (*straight((0.4, 0), (0, 0), (0, 1.4), (0.4, 1.4)), *arc((0.4, 0.7), (0.6, 0.7), -90, 90)),
        "E": (*straight((0.9, 0), (0, 0), (0, 1.4), (0.9, 1.4)), *straight((0, 0.7), (0.75, 0.7))),
        "F": (*straight((0.9, 0), (0, 0), (0, 1.4)), *straight((0, 0.7), (0.75, 0.7))),
        "G": (*arc((0.5, 0.7), (0.5, 0.7), 0, 315), *straight((0.55, 0.7), (1, 0.7))),
        "H": (*straight((0, 0), (0, 1.4)), *straight((1, 0), (1, 1.4)), *straight((0, 0.7), (1, 0.7))),
        "I": (*straight((0.5, 0), (0.5, 1.4)), *straight((0.2, 0), (0.8, 0)), *straight((0.2, 1.4), (0.8, 1.4))),
        "J": (*straight((0.8, 0), (0.8, 1)), *arc((0.4, 1), (0.4, 0.4), 0, 160)),
        "K": (*straight((0, 0), (0, 1.4)), *straight((0.95, 0), (0, 0.8)), *straight((0.3, 0.55), (1, 1.4))),
        "L": straight((0, 0), (0, 1.4), (0.9, 1.4)),
        "M": straight((0, 1.4), (0, 0), (0.5, 0.8), (1, 0), (1, 1.4)),
        "N": straight((0, 1.4), (0, 0), (1, 1.4), (1, 0)),
        "O": arc((0.5, 0.7), (0.55, 0.7), 0, 360),
        "P": bowl,
        "Q": (*arc((0.5, 0.7), (0.55, 0.7), 0, 360), *straight((0.6, 1), (1, 1.4))),
        "R": (*bowl, *straight((0.45, 0.76), (1, 1.4))),
        "S": (*arc((0.5, 0.36), (0.45, 0.36), -30, -270), *arc((0.5, 1.06), (0.5, 0.34), -90, 150)),
        "T": (*straight((0, 0), (1, 0)), *straight((0.5, 0), (0.5, 1.4))),
        "U": (*straight((0, 0), (0, 0.9)), *arc((0.5, 0.9), (0.5, 0.5), 180, 0), *straight((1, 0.9), (1, 0))),
        "V": straight((0, 0), (0.5, 1.4), (1, 0)),
        "W": straight((0, 0), (0.25, 1.4), (0.5, 0.5), (0.75, 1.4), (1, 0)),
        "X": (*straight((0, 0), (1, 1.4)), *straight((1, 0), (0, 1.4))),
        "Y": (*straight((0, 0), (0.5, 0.7), (1, 0)), *straight((0.5, 0.7), (0.5, 1.4))),
        "Z": straight((0, 0), (1, 0), (0, 1.4), (1, 1.4)),
        "0": (*arc((0.5, 0.7), (0.42, 0.7), 0, 360), *straight((0.28, 1.05), (0.72, 0.35))),
        "1": straight((0.2, 0.3), (0.55, 0), (0.55, 1.4)),
        "2": (*arc((0.5, 0.4), (0.45, 0.4), -170, 30), *straight((0.89, 0.6), (0, 1.4), (1, 1.4))),
        "3": (*arc((0.45, 0.36), (0.43, 0.36), -150, 90), *arc((0.45, 1.06), (0.5, 0.34), -90, 150)),
        "4": straight((0.75, 1.4), (0.75, 0), (0, 0.95), (1, 0.95)),
        "5": (*straight((0.9, 0), (0.15, 0), (0.1, 0.63)), *arc((0.45, 0.95), (0.5, 0.45), -135, 140)),
        "6": six,
        "7": straight((0, 0), (1, 0), (0.35, 1.4)),
        "8": (*arc((0.5, 0.35), (0.38, 0.35), 0, 360), *arc((0.5, 1.05), (0.48, 0.35), 0, 360)),
        "9": tuple(-piece for piece in six),
    }  # fmt: skip
    return {name: drawing(*pieces) for name, pieces in written.items()}


GLYPHS: dict[str, Drawing] = _glyphs()
"""Capital letters and digits inside the unit circle, upright."""


def _solid(outline: Drawing) -> Points:
    corners = np.concatenate([piece[:-1] for piece in outline.pieces])
    middle, area = centre_and_area(corners)
    return (corners - middle) / math.sqrt(area)


def centre_and_area(polygon: Points) -> tuple[Points, float]:
    """(2,) centre of a polygon's area, and that area; by the shoelace formula."""
    after = np.roll(polygon, -1, axis=0)
    doubles = polygon[:, 0] * after[:, 1] - after[:, 0] * polygon[:, 1]
    return (polygon + after).T @ doubles / (3 * doubles.sum()), abs(float(doubles.sum())) / 2


SOLIDS: dict[str, Points] = {name: _solid(outline) for name, outline in (SHAPES | FURTHER_SHAPES).items()}
"""Name -> (n, 2) corners. Area and centre are the same for all: neither tells which shape it is."""
SOLID_NAMES = tuple(SOLIDS)


@dataclass(frozen=True)
class Pose:
    """Where and how one shape lies."""

    centre: Points
    """(2,) x y of the centre of its area, pixels."""
    side: float
    """Square root of its area, pixels."""
    angle: float
    """Radians by which it is turned from upright, clockwise."""
    stretch: Points
    """(2,) how many times as long as wide it was made, its area kept, and along which direction (radians, of the picture)."""

    def laid(self, kind: int) -> Points:
        """(n, 2) corners in pixels of shape ``kind`` of ``SOLID_NAMES``."""
        longer, along = math.sqrt(self.stretch[0]), self.stretch[1]
        drawn = turned(SOLIDS[SOLID_NAMES[kind]], self.angle - along) * (longer, 1 / longer)
        return turned(drawn, along) * self.side + self.centre


def new_pose(
    size: int, side: tuple[float, float], off: float, rotation: float, stretch: float, rng: np.random.Generator
) -> Pose:
    """Draw where and how a shape lies in a picture of ``size`` px, whichever it is; everything is uniform. ``side``:
    least and largest root of the area, and ``off``: most that the centre is off the middle along x and y, both in
    widths of the picture; ``rotation``: most degrees by which it is turned, either way; ``stretch``: most times as long
    as wide, 1 or more."""
    return Pose(
        centre=size * (0.5 + off * (2 * rng.random(2) - 1)), side=size * (side[0] + (side[1] - side[0]) * rng.random()),
        angle=math.radians(rotation) * (2 * rng.random() - 1),
        stretch=np.array((1 + (stretch - 1) * rng.random(), math.pi * rng.random())),
    )  # fmt: skip
