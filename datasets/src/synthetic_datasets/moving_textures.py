"""Grey backgrounds that move, generated: they stand in for real videos where there are none."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TILE = 128
"""Period of a texture in pixels, in both directions."""
FASTEST = 1.0
"""Most pixels per frame that a layer drifts in each direction."""


def moving_texture(frames: int, size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    """(frames, height, width) two layers that drift over each other, values 0..255.

    Behind are clouds of one brightness and contrast, in front sharp-edged patches of another that cover about a third.
    Each layer has a velocity of its own, uniform in both directions, and the pattern repeats every ``TILE`` pixels, so a
    video can be of any length and width. Layers are shifted by whole pixels, as digits are.
    """
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
    """(TILE, TILE) value noise that repeats: random grids of 32, 16, 8 and 4 px, weighted by their spacing; 0..1."""
    total = np.zeros((TILE, TILE))
    for spacing in (32, 16, 8, 4):
        grid = np.pad(rng.random((TILE // spacing,) * 2).astype(np.float32), 2, mode="wrap")
        large = Image.fromarray(grid).resize((grid.shape[1] * spacing,) * 2, Image.Resampling.BICUBIC)
        total += spacing * np.asarray(large)[2 * spacing : 2 * spacing + TILE, 2 * spacing : 2 * spacing + TILE]
    low, high = total.min(), total.max()
    return np.asarray((total - low) / (high - low))


def _shade(pattern: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.uint8]:
    middle, contrast = 0.2 + 0.6 * rng.random(), 0.1 + 0.5 * rng.random()
    return np.rint(255 * np.clip(middle + contrast * (pattern - 0.5), 0, 1)).astype(np.uint8)
