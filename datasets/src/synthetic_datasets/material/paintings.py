"""Paintings of a generated town, in the place of real ones: strokes from broad to fine along the edges of the scene,
few tones drawn towards ochre and ultramarine, and the weave of a canvas."""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from synthetic_datasets.material.town import street_photo
from synthetic_datasets.seeding import shared_rng

SCENES = 1_000_000
"""Number of the first place that is painted; places of photos have lower ones, so that no place is in both."""

_STREAM = 9_000_000
"""Where the numbers of the painter's random streams start (``seeding.shared_rng``)."""
_SCALE = 2
"""Strokes are drawn so many times as large as the picture."""
_BRUSHES = (6.0, 3.0, 1.5)
"""Radii from broad to fine, pixels of a 64-px picture."""
_DARK, _LIGHT = np.array([38.0, 34.0, 92.0]), np.array([255.0, 226.0, 150.0])
"""Ultramarine and ochre: what shadows and lights are drawn towards."""


def painting(seed: int, number: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Painting ``number``, (height, width, 3), the same whatever else is painted."""
    scene = street_photo(seed, number, size, SCENES)
    return paint(scene, shared_rng(seed, _STREAM + number))


def paint(picture: Image.Image, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Any RGB picture as a painting of the same size, (height, width, 3)."""
    width, height = picture.size
    base = picture.resize((_SCALE * width, _SCALE * height), Image.Resampling.BICUBIC)
    unit = _SCALE * min(picture.size) / 64
    canvas = Image.fromarray(_palette(np.asarray(base.filter(ImageFilter.GaussianBlur(8 * unit)), float)))
    draw = ImageDraw.Draw(canvas)
    for number, brush in enumerate(_BRUSHES):
        radius = max(1.0, brush * unit / 2)
        reference = np.asarray(base.filter(ImageFilter.GaussianBlur(radius / 2)), float)
        down, right = np.gradient(reference.mean(axis=-1))
        along = np.arctan2(down, right) + math.pi / 2  # along edges, not across them
        _strokes(draw, _palette(reference), along, radius, 0.75 if number else 1.3, rng)
    small = np.asarray(canvas.resize((width, height), Image.Resampling.BOX), float)
    y, x = np.mgrid[:height, :width]
    weave = 1 + 0.05 * ((x + y) % 2 - 0.5) + rng.normal(0, 0.012, (height, width))
    return np.clip(np.rint(small * weave[..., None]), 0, 255).astype(np.uint8)


def _palette(pixels: NDArray[np.float64]) -> NDArray[np.uint8]:
    grey = pixels.mean(axis=-1, keepdims=True)
    rich = np.clip(grey + 1.5 * (pixels - grey), 0, 255)
    tone = np.clip(grey / 255, 0, 1)
    mixed = 0.62 * rich + 0.38 * (_DARK + (_LIGHT - _DARK) * tone)
    return np.clip(np.rint(mixed / 40) * 40 + 4, 0, 255).astype(np.uint8)


def _strokes(
    draw: ImageDraw.ImageDraw, colours: NDArray[np.uint8], directions: NDArray[np.float64], radius: float,
    density: float, rng: np.random.Generator,
) -> None:  # fmt: skip
    height, width = directions.shape
    count = round(density * height * width / (2 * radius) ** 2)
    xs, ys = width * rng.random(count), height * rng.random(count)
    columns, rows = xs.astype(int), ys.astype(int)
    angles = directions[rows, columns] + rng.normal(0, 0.35, count)
    lengths = radius * rng.uniform(1.2, 3.0, count)
    inks = np.clip(colours[rows, columns] + rng.normal(0, 9, (count, 1)), 0, 255).astype(int)
    steps = np.stack([np.cos(angles), np.sin(angles)], axis=1) * lengths[:, None]
    for x, y, (step_x, step_y), ink in zip(xs.tolist(), ys.tolist(), steps.tolist(), inks.tolist(), strict=True):
        ends = ((x - step_x, y - step_y), (x + step_x, y + step_y))
        draw.line(ends, tuple(ink), round(2 * radius))
        for at in ends if radius > 1.5 else ():
            draw.ellipse((at[0] - radius, at[1] - radius, at[0] + radius, at[1] + radius), tuple(ink))
