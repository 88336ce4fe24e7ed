"""How much of every pixel a polygon covers: what a filled shape's colour, its mask and its area all come from."""

import numpy as np
from numpy.typing import NDArray

from .strokes import Points

ROWS = 8
"""Lines through a row of pixels along which a polygon's area is measured; exactly along x, by their mean along y."""


def cover(polygon: Points, size: int) -> NDArray[np.float32]:
    """(size, size) the part of every pixel inside a polygon, 0..1; what lies outside the picture is cut off.

    A line through the picture is inside between every second and third crossing with the polygon's edges, and a pixel's part
    is the mean over the ``ROWS`` lines through it of the part of each that is inside.

    Args:
        polygon: (n, 2) its corners, x y in pixels, without crossing edges; the last is joined to the first. Pixel (0, 0)
            covers 0..1 in both directions.
    """
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
