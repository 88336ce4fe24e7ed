"""Grey backgrounds that stand still during a video, generated from the sample's own randomness."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .errors import InputError

Background = Literal["black", "noise", "gradient", "texture", "strokes"]
BACKGROUNDS: tuple[str, ...] = get_args(Background)

BRIGHTEST = 110
"""Brightest value of every kind but ``strokes``, so that ink (up to 255), pasted by maximum, always stands out."""

FINEST_PX = 4
"""Smallest structure of ``texture``."""

STROKE_AREA, STROKE_WIDTH = 512, 3
"""Square pixels of the picture for each of the ``strokes``, and their width in pixels."""


def background(kind: str, size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    """(height, width) picture, with values 0..``BRIGHTEST`` but for ``strokes``.

    - ``black``: zero everywhere; draws nothing from ``rng``.
    - ``noise``: every pixel uniform and independent.
    - ``gradient``: a linear ramp between two uniform values in a uniform direction.
    - ``texture``: value noise, random grids of 32, 16, 8 and 4 px enlarged bicubically and added with the
      weight of their spacing: smooth clouds.
    - ``strokes``: short arcs as wide and as bright as a digit's ink, uniformly placed. They must be told from
      digits, so it matters whether a detector has seen the very picture before.

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
    if kind == "strokes":
        return _strokes(size, rng)
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


def _strokes(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    height, width = size
    picture = Image.new("L", (width, height))
    draw = ImageDraw.Draw(picture)
    for _ in range(max(1, height * width // STROKE_AREA)):
        x, y, radius = width * rng.random(), height * rng.random(), 3 + 7 * rng.random()
        first, sweep, ink = 360 * rng.random(), 60 + 120 * rng.random(), round(128 + 127 * rng.random())
        draw.arc((x - radius, y - radius, x + radius, y + radius), first, first + sweep, ink, STROKE_WIDTH)
    return np.asarray(picture)
