"""Ten solid shapes of one area, and how one lies in a picture."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .outlines import FURTHER_SHAPES, SHAPES
from .strokes import Drawing, Points, turned


def _solid(outline: Drawing) -> Points:
    """Corners of a closed line, moved and scaled to area 1 and the centre of that area at the origin."""
    corners = np.concatenate([piece[:-1] for piece in outline.pieces])
    middle, area = centre_and_area(corners)
    made: Points = (corners - middle) / math.sqrt(area)
    return made


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
        made: Points = turned(drawn, along) * self.side + self.centre
        return made

    def factors(self) -> dict[str, Any]:
        """What the file's arrays of these names hold."""
        return {"centre": self.centre, "side": self.side, "angle": self.angle, "stretch": self.stretch}


def new_pose(
    size: int, side: tuple[float, float], off: float, rotation: float, stretch: float, rng: np.random.Generator
) -> Pose:
    """Draw where and how a shape lies, whichever it is; everything is uniform.

    Args:
        size: height and width of the picture, pixels.
        side: least and largest root of the area, in widths of the picture.
        off: most that the centre is off the middle, right or left and up or down, in widths of the picture.
        rotation: most degrees by which it is turned, either way.
        stretch: most times as long as wide that it is made, 1 or more.
    """
    return Pose(
        centre=size * (0.5 + off * (2 * rng.random(2) - 1)),
        side=size * (side[0] + (side[1] - side[0]) * rng.random()),
        angle=math.radians(rotation) * (2 * rng.random() - 1),
        stretch=np.array((1 + (stretch - 1) * rng.random(), math.pi * rng.random())),
    )
