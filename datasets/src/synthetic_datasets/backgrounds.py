"""Grey backgrounds that stand still during a video, generated from the sample's own randomness."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .errors import InputError

Background = Literal["black", "noise", "gradient", "texture"]
BACKGROUNDS: tuple[str, ...] = get_args(Background)

BRIGHTEST = 110
"""Brightest background value, so that ink (up to 255), pasted by maximum, always stands out."""

FINEST_PX = 4
"""Smallest structure of ``texture``."""


def background(kind: str, size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    """(height, width) picture with values 0..``BRIGHTEST``.

    - ``black``: zero everywhere; draws nothing from ``rng``.
    - ``noise``: every pixel uniform and independent.
    - ``gradient``: a linear ramp between two uniform values in a uniform direction.
    - ``texture``: value noise, random grids of 32, 16, 8 and 4 px enlarged bicubically and added with the
      weight of their spacing: smooth clouds.

    Raises:
        InputError: ``kind`` is none of these.
    """
    if kind == "black":
        return np.zeros(size, np.uint8)
    if kind == "noise":
        return _to_grey(rng.random(size))
    if kind == "gradient":
        return _to_grey(_gradient(size, rng))
    if kind == "texture":
        return _to_grey(_texture(size, rng))
    raise InputError(f"background: {kind!r} is unknown; one of {', '.join(BACKGROUNDS)}")


def _to_grey(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.rint(BRIGHTEST * np.clip(values, 0, 1)).astype(np.uint8)


def _gradient(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    angle, first, last = 2 * np.pi * rng.random(), rng.random(), rng.random()
    y, x = np.mgrid[: size[0], : size[1]]
    along = np.cos(angle) * x + np.sin(angle) * y
    spread = max(float(np.ptp(along)), 1.0)
    ramp: NDArray[np.float64] = first + (last - first) * (along - along.min()) / spread
    return ramp


def _texture(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    height, width = size
    total, weights = np.zeros(size), 0
    spacing = 8 * FINEST_PX
    while spacing >= FINEST_PX:
        grid = rng.random((height // spacing + 2, width // spacing + 2)).astype(np.float32)
        large = Image.fromarray(grid).resize(
            (grid.shape[1] * spacing, grid.shape[0] * spacing), Image.Resampling.BICUBIC
        )
        total += spacing * np.asarray(large)[spacing // 2 : spacing // 2 + height, spacing // 2 : spacing // 2 + width]
        weights += spacing
        spacing //= 2
    return 0.5 + 1.5 * (total / weights - 0.5)  # the sum of octaves is grey; stretch it to the range again
