"""What gives a class away that should not, and what a sampler of frames gets to see of a video."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synthetic_datasets.motion.insertions import KINDS, MOTION, runs_of


def nearest_centroid_accuracy(features: ArrayLike, labels: ArrayLike) -> float:
    """Part of the samples whose class is that of the nearest class centre of the other samples' features. Two folds:
    every other sample of a class makes the centres by which the rest are judged, and the other way round. Features are
    scaled to unit deviation first. Chance is one in the number of classes. Raises ValueError if a class has fewer than
    two samples. ``features``: (V, F), one row a sample; ``labels``: (V,)."""
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
    Empty where a class has fewer than two samples, of which nothing can be said."""
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


def motion_frames(kind: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(3, V) first, middle and last motion frame of every video of (V, T); each has at least one."""
    moving = [np.flatnonzero(row == MOTION) for row in kind]
    return np.stack([frames[[0, len(frames) // 2, -1]] for frames in moving], axis=1)


def seen_motion(
    kind: NDArray[np.uint8], boxes: NDArray[np.float32], frames: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """What is left of the motion where ``frames`` frames are looked at: the middle ones of as many equal segments, the
    test-time sampling of TSN and TSM. ``kind``: (V, T); ``boxes``: (V, T, 4) of the target. Returns (V,) how many of
    these frames are motion frames, and (V,) how many pixels apart the first and the last of them show the digit: 0
    where there are fewer than two."""
    sampled = np.floor((np.arange(frames) + 0.5) * kind.shape[1] / frames).astype(np.int64)
    moving = kind[:, sampled] == MOTION
    counts = moving.sum(axis=1)
    rows = np.arange(len(kind))
    ends = [boxes[rows, sampled[place], :2] for place in (moving.argmax(1), frames - 1 - moving[:, ::-1].argmax(1))]
    travel = np.abs(ends[1].astype(np.float64) - ends[0]).max(axis=1)
    return counts, np.where(counts > 1, travel, 0)


def motion_figures(kind: NDArray[np.uint8], label: NDArray[np.int64], boxes: NDArray[np.float32]) -> dict[str, float]:
    """How the frames divide, what samplers see of the motion, and what gives the class away without it, for the card.
    ``kind``: (V, T); ``label``: (V,); ``boxes``: (V, T, 4) of the target."""
    made = {f"share_{name}": float((kind == number).mean()) for number, name in enumerate(KINDS)}
    made["runs_per_video"] = float(np.mean([len(runs_of(row)) for row in kind]))
    length = kind.shape[1]
    for frames in sorted({count for count in (8, 16) if count < length} | {length}):
        counts, travel = seen_motion(kind, boxes, frames)
        made[f"seen_{frames}_motion_frames"] = float(counts.mean())
        made[f"seen_{frames}_at_most_2_motion_frames"] = float((counts <= 2).mean())
        made[f"seen_{frames}_travel_px"] = float(travel.mean())
        made[f"seen_{frames}_no_travel"] = float((travel < 1).mean())
    if np.bincount(label, minlength=4).min() >= 2:
        rows = np.arange(len(kind))
        for name, frame in zip(("first", "middle", "last"), motion_frames(kind), strict=True):
            centres = (boxes[rows, frame, :2] + boxes[rows, frame, 2:]) / 2
            made[f"accuracy_from_place_in_{name}_motion_frame"] = nearest_centroid_accuracy(centres, label)
        made["accuracy_from_kinds"] = nearest_centroid_accuracy(kind_features(kind), label)
    return made
