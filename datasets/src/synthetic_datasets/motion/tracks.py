"""Boxes of moving objects, ``x1 y1 x2 y2`` in pixels with exclusive ends: made, cut at the frame, compared."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efficiency_core.errors import UsageError

BoxKind = Literal["patch", "tight"]


def box_in_patch(patch: NDArray[np.uint8], kind: BoxKind, ink_threshold: int) -> NDArray[np.int64]:
    """(4,) box within a patch (h, w): all of it (``patch``) or just its ink above the threshold (``tight``). Raises
    UsageError if ``tight``, and no pixel is above the threshold."""
    if kind == "patch":
        return np.array([0, 0, patch.shape[1], patch.shape[0]])
    rows, columns = np.nonzero(patch > ink_threshold)
    if not len(rows):
        raise UsageError(f"ink_threshold: a digit has no ink above {ink_threshold} (its maximum: {patch.max()})")
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


def clip_boxes(
    boxes: ArrayLike, size: tuple[int, int], min_visible: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Boxes (N, 4) cut at a frame of ``size`` (height, width), and (N,) whether they are present. Present means that
    the part of the box's area inside the frame is at least ``min_visible``; the boxes of others are zero."""
    whole = np.asarray(boxes, np.float64)
    height, width = size
    cut = np.clip(whole, 0, [width, height, width, height])
    present = area(cut) >= min_visible * area(whole)
    return np.where(present[:, None], cut, 0).astype(np.float32), present


def area(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """(...,) area of boxes (..., 4) in square pixels."""
    extent = boxes[..., 2:] - boxes[..., :2]
    return np.asarray(extent[..., 0] * extent[..., 1])


def iou(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """(...,) intersection over union of boxes (..., 4) with boxes (..., 4), zero for two empty ones."""
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    corner = np.maximum(first[..., :2], second[..., :2])
    overlap = area(np.concatenate([corner, np.maximum(np.minimum(first[..., 2:], second[..., 2:]), corner)], axis=-1))
    union = area(first) + area(second) - overlap
    return np.divide(overlap, union, out=np.zeros_like(union), where=union > 0)


def after_keyframe(present: ArrayLike, horizon: int) -> NDArray[np.bool_]:
    """(V, L, O) where an object is present in a frame between keyframes and at the keyframe before it. Keyframes are
    frames 0, T, 2T, ... with T = ``horizon``; ``present`` is (V, L, O)."""
    seen = np.asarray(present, bool)
    frames = np.arange(seen.shape[1])
    keyframes = frames - frames % horizon
    return np.asarray(seen & seen[:, keyframes] & (frames != keyframes)[:, None])


def no_motion_iou(boxes: ArrayLike, present: ArrayLike, horizon: int) -> float:
    """How well the keyframe's box fits the frames after it: what anticipating motion must improve upon.

    The mean over videos, keyframes t = 0, T, 2T, ..., frames l = 1..T-1 after them and objects of IoU(box at t, box at
    t + l), wherever the object is present in both, with T = ``horizon``. The thesis prints 0.79 for MovingDigits with T
    = 8 (section 2.4.1, H1), from 80 videos. Raises ValueError if ``horizon`` is below 2, or no object is present both
    at a keyframe and after it. ``boxes``: (V, L, O, 4) as in the file; ``present``: (V, L, O)."""
    if horizon < 2:
        raise ValueError(f"horizon: expected at least 2 frames, got {horizon}")
    where, counted = np.asarray(boxes), after_keyframe(present, horizon)
    if not counted.any():
        raise ValueError("no object is present both at a keyframe and after it")
    frames = np.arange(where.shape[1])
    return float(iou(where, where[:, frames - frames % horizon])[counted].mean())
