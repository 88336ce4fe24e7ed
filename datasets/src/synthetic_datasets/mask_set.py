"""What ``mask-set`` files have in common: pictures in which every pixel has a class, and which pixel has which."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .generator import Field
from .image_set import factor

BACKGROUND, EDGE = 0, 255
"""Class of what is no shape, and the mask of pixels that have no class and count for nothing."""
WHOLE = 0.98
"""A pixel has a class where one thing alone is seen in at least this part of it."""


def mask_fields(height: int, width: int, most: int) -> dict[str, Field]:
    """The arrays that every ``mask-set`` file has, for up to ``most`` things a picture."""
    return {
        "image": Field((height, width, 3), "|u1", "RGB picture (H, W, 3)"),
        "mask": Field((height, width), "|u1", "class of every pixel (H, W), 0 background; 255 on edges, to be ignored"),
        "labels": factor(
            "<i8", "class of each thing in the picture, from the farthest to the nearest; -1 for none", most
        ),
    }


def seen_parts(covers: Sequence[NDArray[np.float32]], size: int) -> list[NDArray[np.float32]]:
    """(size, size) for the background and each thing: the part of every pixel in which it is seen; the sum is 1.

    Args:
        covers: the part of every pixel that each thing covers, from the farthest to the nearest.
    """
    parts, left = [], np.ones((size, size), np.float32)
    for covered in reversed(covers):
        parts.append(left * covered)
        left = left - parts[-1]
    return [left, *reversed(parts)]


def label_map(parts: Sequence[NDArray[np.float32]], labels: Sequence[int]) -> NDArray[np.uint8]:
    """(H, W) class of the thing that is seen in at least ``WHOLE`` of a pixel, ``EDGE`` where none is.

    Two things of one class have an edge between them, too.

    Args:
        parts: of the background and each thing, as from ``seen_parts``.
        labels: class of each thing.
    """
    mask = np.full(parts[0].shape, EDGE, np.uint8)
    for part, label in zip(parts, (BACKGROUND, *labels), strict=True):
        mask[part >= WHOLE] = label
    return mask
