"""What varies between two things of one class: colours, proportions, the parts they have."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from synthetic_datasets.drawing.pen import Colour

T = TypeVar("T")

BODIES: tuple[Colour, ...] = (
    (38, 38, 42), (70, 74, 82), (120, 124, 130), (176, 180, 184), (226, 226, 222), (196, 40, 44), (224, 120, 36), (228, 184, 60),
    (70, 140, 70), (40, 110, 110), (44, 92, 170), (36, 50, 100), (112, 64, 140), (206, 110, 150), (124, 84, 52), (190, 156, 112),
)  # fmt: skip
"""Things of every class come in all of these, so colour tells no class."""

BLACK, DARK, GREY, METAL, WHITE = (24, 24, 26), (58, 60, 64), (128, 130, 134), (188, 192, 198), (244, 244, 240)
SCREENS: tuple[Colour, ...] = ((30, 34, 44), (70, 110, 170), (120, 160, 200), (60, 90, 80), (200, 210, 220))


@dataclass(frozen=True)
class Look:
    """One thing's colours, and its dice."""

    rng: np.random.Generator
    body: Colour
    accent: Colour

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self.rng.random()

    def whole(self, low: int, high: int) -> int:
        return low + int((high - low + 1) * self.rng.random())

    def maybe(self, part: float = 0.5) -> bool:
        return self.rng.random() < part

    def one_of(self, choices: Sequence[T]) -> T:
        return choices[int(len(choices) * self.rng.random())]


def new_look(rng: np.random.Generator) -> Look:
    body = int(len(BODIES) * rng.random())
    accent = (body + 1 + int((len(BODIES) - 1) * rng.random())) % len(BODIES)
    return Look(rng, BODIES[body], BODIES[accent])
