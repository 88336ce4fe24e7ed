"""What flat pictures are made of: filled shapes, colours, textures, strokes that clutter or hide, a camera's noise."""

import colorsys
import math

import numpy as np
from numpy.typing import NDArray

from synthetic_datasets.drawing.strokes import Points, arc
from synthetic_datasets.material.scenes import cloud

Pixels = NDArray[np.float32]

ROWS = 8
"""Lines through a row of pixels along which a polygon's area is measured; exactly along x, by their mean along y."""
STROKE_WIDTH, STROKE_LENGTH, STROKE_BEND = (0.03, 0.09), (0.3, 1.0), (0.15, 2.0)
"""Least and most width, length, and radius of a stroke's bend, in widths of the picture."""
FINEST, COARSEST = 0.08, 0.4
"""From one blotch or stripe of a texture to the next, in widths of the picture."""
STRONGEST = 0.5
"""Most by which a texture makes a shape's colour lighter or darker, from end to end."""


def cover(polygon: Points, size: int) -> NDArray[np.float32]:
    """(size, size) the part of every pixel inside a polygon, 0..1; what lies outside the picture is cut off. A line through
    the picture is inside between every second and third crossing with an edge; a pixel's part is the mean over the ``ROWS``
    lines through it. ``polygon``: (n, 2) corners, x y in pixels, without crossing edges; pixel (0, 0) covers 0..1."""
    start, end = polygon, np.concatenate((polygon[1:], polygon[:1]))
    first, last = (int(np.clip(reach, 0, size)) for reach in (polygon[:, 1].min(), polygon[:, 1].max() + 1))
    heights = (np.arange(first * ROWS, last * ROWS) + 0.5) / ROWS
    line, edge = np.nonzero((start[:, 1] <= heights[:, None]) != (end[:, 1] <= heights[:, None]))
    (x, y), way = start[edge].T, (end - start)[edge]
    across = np.clip(x + (heights[line] - y) * way[:, 0] / way[:, 1], 0, size)
    column = np.minimum(across.astype(np.int64), size - 1)
    # From a crossing on, all pixels to its right are inside, or no longer; of its own pixel the part to its right.
    turn = np.where(way[:, 1] > 0, 1.0, -1.0)
    here = turn * (column + 1 - across)
    place, places = (line // ROWS) * (size + 1) + column, (last - first) * (size + 1)
    changes = np.bincount(place, here, places) + np.bincount(place + 1, turn - here, places)
    inside = np.abs(np.cumsum(changes.reshape(-1, size + 1)[:, :size], axis=1)) / ROWS
    picture = np.zeros((size, size), np.float32)
    picture[first:last] = np.minimum(inside, 1)
    return picture


def colour(rng: np.random.Generator) -> Pixels:
    """(3,) any hue, pale or strong, dark or bright; red, green, blue, 0..1."""
    return np.array(colorsys.hsv_to_rgb(rng.random(), rng.random() ** 0.5, 0.2 + 0.8 * rng.random()), np.float32)


def colour_apart(ends: Pixels, contrast: float, rng: np.random.Generator) -> Pixels:
    """(3,) a colour at least ``contrast`` from all between two others: the root of the summed squares of differences.
    Of all colours that ``colour`` draws, in their proportions. ``ends``: (2, 3) the others, which may be the same."""
    way = ends[1] - ends[0]
    length = max(float(way @ way), 1e-12)
    while True:
        drawn = colour(rng)
        away = drawn - ends[0]
        nearest = min(max(float(away @ way) / length, 0.0), 1.0)
        if ((away - nearest * way) ** 2).sum() >= contrast**2:
            return drawn


def texture(size: int, rng: np.random.Generator) -> Pixels:
    """(size, size) blotches, or stripes with blurred edges in any direction, fine or coarse; 0..1."""
    spacing = FINEST * (COARSEST / FINEST) ** rng.random()
    striped, angle, phase = rng.random() < 0.5, math.pi * rng.random(), 2 * math.pi * rng.random()
    if not striped:
        return np.clip(cloud(size, (max(1, round(spacing * size)),) * 2, rng), 0, 1)
    wave = np.float32(2 * math.pi / (spacing * size)) * (np.arange(size, dtype=np.float32) + 0.5)
    along = np.float32(math.cos(angle)) * wave + np.float32(math.sin(angle)) * wave[:, None] + np.float32(phase)
    return np.asarray(0.5 + 0.5 * np.clip(2 * np.sin(along), -1, 1), np.float32)


def ground(colours: Pixels, size: int, rng: np.random.Generator) -> Pixels:
    """(size, size, 3) a textured surface between two colours (2, 3)."""
    mixed = texture(size, rng)[:, :, None]
    return colours[0] + mixed * (colours[1] - colours[0])


def coat(base: Pixels, size: int, rng: np.random.Generator) -> Pixels:
    """(size, size, 3) a surface of one colour (3,), lighter and darker by a texture."""
    strength = np.float32(STRONGEST * rng.random())
    return (1 + strength * (texture(size, rng) - np.float32(0.5)))[:, :, None] * base


def over(picture: Pixels, covered: Pixels, paint: Pixels) -> Pixels:
    """``picture`` (size, size, 3) where ``covered`` (size, size) is 0, ``paint`` ((3,) or a picture) where it is 1."""
    return picture + covered[:, :, None] * (paint - picture)


def stroke(size: int, through: Points, rng: np.random.Generator) -> Pixels:
    """(size, size) how much of every pixel a stroke covers: a piece of a ring whose middle is at ``through`` (2,),
    pixels. Width, length, bend and direction are uniform."""
    width, length, bend = (
        size * (low + (high - low) * rng.random()) for low, high in (STROKE_WIDTH, STROKE_LENGTH, STROKE_BEND)
    )
    way = 360 * rng.random()
    half = min(170.0, math.degrees(length / bend) / 2)
    middle = through - bend * np.array((math.cos(math.radians(way)), math.sin(math.radians(way))))
    ways = arc((0, 0), (1, 1), way - half, way + half)[0]
    return cover(np.concatenate((middle + (bend + width / 2) * ways, middle + (bend - width / 2) * ways[::-1])), size)


def photographed(picture: Pixels, noise: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """(H, W, 3) of colours 0..1 with normal noise of deviation ``noise`` grey values."""
    seen = 255 * picture + np.float32(noise) * rng.standard_normal(picture.shape, np.float32)
    return np.rint(np.clip(seen, 0, 255)).astype(np.uint8)
