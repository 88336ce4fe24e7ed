"""Grey backgrounds, generated: those that stand still during a video, and those that stand in for real videos."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Background = Literal["black", "noise", "gradient", "texture", "strokes"]

BRIGHTEST = 110
"""Brightest value of all still ones but ``strokes``, so that ink (up to 255), pasted by maximum, always stands out."""
STROKE_AREA, STROKE_WIDTH = 512, 3
"""Square pixels of the picture for each of the ``strokes``, and their width in pixels."""
TILE = 128
"""Period of a moving texture in pixels, in both directions."""
FASTEST = 1.0
"""Most pixels per frame that a layer of it drifts in each direction."""
_SPACINGS = (32, 16, 8, 4)
"""Pixels between the points of the random grids that textures are summed up from."""


def background(kind: Background, size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    """(height, width) picture, with values 0..``BRIGHTEST`` but for ``strokes``.

    - ``black``: zero everywhere; draws nothing from ``rng``. ``noise``: every pixel uniform and independent.
    - ``gradient``: a linear ramp between two uniform values in a uniform direction.
    - ``texture``: random grids of 32, 16, 8 and 4 px, enlarged bicubically and added with the weight of their spacing.
    - ``strokes``: short arcs as wide and as bright as a digit's ink, uniformly placed, which must be told from digits."""
    if kind == "black":
        return np.zeros(size, np.uint8)
    if kind == "strokes":
        return _strokes(size, rng)
    draw = {"noise": lambda size, rng: rng.random(size), "gradient": _gradient, "texture": _texture}[kind]
    return np.rint(BRIGHTEST * np.clip(draw(size, rng), 0, 1)).astype(np.uint8)


def _gradient(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    angle, first, last = 2 * np.pi * rng.random(), rng.random(), rng.random()
    y, x = np.mgrid[: size[0], : size[1]]
    along = np.cos(angle) * x + np.sin(angle) * y
    spread = max(float(np.ptp(along)), 1.0)
    return np.asarray(first + (last - first) * (along - along.min()) / spread)


def _texture(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    height, width = size
    total = np.zeros(size)
    for spacing in _SPACINGS:
        large = _enlarged(rng.random((height // spacing + 2, width // spacing + 2)), spacing)
        total += spacing * large[spacing // 2 : spacing // 2 + height, spacing // 2 : spacing // 2 + width]
    return 0.5 + 1.5 * (total / sum(_SPACINGS) - 0.5)  # the sum of octaves is grey; stretch it to the range again


def _strokes(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    height, width = size
    picture = Image.new("L", (width, height))
    draw = ImageDraw.Draw(picture)
    for _ in range(max(1, height * width // STROKE_AREA)):
        x, y, radius = width * rng.random(), height * rng.random(), 3 + 7 * rng.random()
        first, sweep, ink = 360 * rng.random(), 60 + 120 * rng.random(), round(128 + 127 * rng.random())
        draw.arc((x - radius, y - radius, x + radius, y + radius), first, first + sweep, ink, STROKE_WIDTH)
    return np.asarray(picture)


def moving_texture(frames: int, size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    """(frames, height, width) two layers that drift over each other, values 0..255. Behind are clouds of one brightness
    and contrast, in front sharp-edged patches of another that cover about a third. Each layer has a velocity of its
    own, uniform in both directions, and the pattern repeats every ``TILE`` pixels, so a video can be of any length and
    width. Layers are shifted by whole pixels, as digits are."""
    behind, front = _shade(_clouds(rng), rng), _shade(_clouds(rng), rng)
    shape = _clouds(rng)
    covers = shape > np.quantile(shape, 0.55 + 0.25 * rng.random())
    ways = [
        np.floor(np.arange(frames)[:, None] * FASTEST * (2 * rng.random(2) - 1) + 0.5).astype(np.int64)
        for _ in range(2)
    ]
    height, width = size
    margin = ((0, height), (0, width))
    far, near, mask = (np.pad(tile, margin, mode="wrap") for tile in (behind, front, covers))
    video = np.empty((frames, height, width), np.uint8)
    for frame, (back, over) in zip(video, np.stack(ways, axis=1) % TILE, strict=True):
        under = far[back[1] : back[1] + height, back[0] : back[0] + width]
        window = np.s_[over[1] : over[1] + height, over[0] : over[0] + width]
        frame[:] = np.where(mask[window], near[window], under)
    return video


def _clouds(rng: np.random.Generator) -> NDArray[np.float64]:
    total = np.zeros((TILE, TILE))
    for spacing in _SPACINGS:
        large = _enlarged(np.pad(rng.random((TILE // spacing,) * 2), 2, mode="wrap"), spacing)
        total += spacing * large[2 * spacing : 2 * spacing + TILE, 2 * spacing : 2 * spacing + TILE]
    low, high = total.min(), total.max()
    return np.asarray((total - low) / (high - low))


def _shade(pattern: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.uint8]:
    middle, contrast = 0.2 + 0.6 * rng.random(), 0.1 + 0.5 * rng.random()
    return np.rint(255 * np.clip(middle + contrast * (pattern - 0.5), 0, 1)).astype(np.uint8)


def _enlarged(grid: NDArray[np.float64], spacing: int) -> NDArray[np.float32]:
    """A picture in which the values of a grid are ``spacing`` px apart, bicubic between them."""
    sides = (grid.shape[1] * spacing, grid.shape[0] * spacing)
    return np.asarray(Image.fromarray(grid.astype(np.float32)).resize(sides, Image.Resampling.BICUBIC))
