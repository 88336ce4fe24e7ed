"""What gives a class away that should not: of a video without its motion, of an image without its shapes.

And what a sampler of frames gets to see of a video.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .insertions import KINDS, MOTION


def nearest_centroid_accuracy(features: ArrayLike, labels: ArrayLike) -> float:
    """Part of the samples whose class is that of the nearest class centre of the other samples' features.

    Two folds: every other sample of a class makes the centres by which the rest are judged, and the other way round.
    Features are scaled to unit deviation first. Chance is one in the number of classes.

    Args:
        features: (V, F), one row a sample.
        labels: (V,).

    Raises:
        ValueError: a class has fewer than two samples.
    """
    rows, classes = np.asarray(features, np.float64), np.asarray(labels)
    names, counts = np.unique(classes, return_counts=True)
    if not len(counts) or counts.min() < 2:
        raise ValueError(f"expected at least two samples of every class, got {counts.tolist()}")
    fold = np.zeros(len(classes), np.int64)
    for name in names:
        fold[classes == name] = np.arange(np.count_nonzero(classes == name)) % 2
    deviation = rows.std(axis=0)
    rows = rows / np.where(deviation > 0, deviation, 1)
    right = 0
    for held_out in (0, 1):
        known, asked = fold != held_out, fold == held_out
        centres = np.stack([rows[known & (classes == name)].mean(axis=0) for name in names])
        distances = ((rows[asked][:, None] - centres) ** 2).sum(axis=-1)
        right += int((names[distances.argmin(axis=1)] == classes[asked]).sum())
    return right / len(classes)


def told_by(features: Mapping[str, ArrayLike], labels: ArrayLike) -> dict[str, float]:
    """``told_by_NAME``: ``nearest_centroid_accuracy`` of each of some features alone, (V,) or (V, F); for the card.

    Empty where a class has fewer than two samples, of which nothing can be said.
    """
    classes = np.asarray(labels)
    if np.unique(classes, return_counts=True)[1].min(initial=2) < 2 or not len(classes):
        return {}
    rows = {name: np.asarray(values).reshape(len(classes), -1) for name, values in features.items()}
    return {f"told_by_{name}": nearest_centroid_accuracy(values, classes) for name, values in rows.items()}


def kind_features(kind: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(V, 12) of (V, T): per kind the number of its frames, of its runs, and their mean place (-1 for none)."""
    columns = []
    for number in range(len(KINDS)):
        here = kind == number
        count = here.sum(axis=1)
        starts = here[:, 0] + (here[:, 1:] & ~here[:, :-1]).sum(axis=1)
        place = (here * np.arange(kind.shape[1])).sum(axis=1)
        columns += [count, starts, np.where(count > 0, place / np.maximum(count, 1), -1)]
    return np.stack(columns, axis=1).astype(np.float64)


def motion_frames(kind: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(V,) first, middle and last motion frame of every video of (V, T); each has at least one."""
    moving = [np.flatnonzero(row == MOTION) for row in kind]
    first, middle, last = (
        np.array([where[place(len(where))] for where in moving], np.int64)
        for place in (lambda n: 0, lambda n: n // 2, lambda n: n - 1)
    )
    return first, middle, last


def segment_centres(length: int, frames: int) -> NDArray[np.int64]:
    """(frames,) the middle frame of each of so many equal segments: the test-time sampling of TSN and TSM."""
    return np.floor((np.arange(frames) + 0.5) * length / frames).astype(np.int64)


def seen_motion(
    kind: NDArray[np.uint8], boxes: NDArray[np.float32], frames: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """What is left of the motion where only ``segment_centres`` are looked at.

    Returns (V,) how many of these frames are motion frames, and (V,) how many pixels apart the first and the last of them
    show the digit: 0 where there are fewer than two.

    Args:
        kind: (V, T).
        boxes: (V, T, 4) of the target.
        frames: how many are looked at.
    """
    sampled = segment_centres(kind.shape[1], frames)
    moving = kind[:, sampled] == MOTION
    counts = moving.sum(axis=1)
    rows = np.arange(len(kind))
    ends = [boxes[rows, sampled[place], :2] for place in (moving.argmax(1), frames - 1 - moving[:, ::-1].argmax(1))]
    travel = np.abs(ends[1].astype(np.float64) - ends[0]).max(axis=1)
    return counts, np.where(counts > 1, travel, 0)
