"""Which frames of a video show motion: runs of other frames are inserted at random places. The motion goes on where its
last frame left it, as in the author's videos, so an inserted run hides nothing of it."""

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

KINDS: tuple[str, ...] = ("motion", "background", "black", "distractor")
"""Name of kind 0, 1, 2, 3; the numbers are those in the files."""
MOTION, BACKGROUND, BLACK, DISTRACTOR = range(4)
Distractor = Literal["video", "run", "frame"]
"""For how long a distractor stays the same digit at the same place."""


def frame_kinds(
    frames: int, shares: tuple[float, float, float], spread: float, runs: tuple[int, int], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """(frames,) kind of every frame. Of each inserted kind there are n frames, n uniform within ``spread`` of its share
    and rounded, cut at random into ``runs[0]`` to ``runs[1]`` runs (fewer where n is smaller). Motion frames and runs
    are then put in random order, each order as likely; two runs of one kind may meet. No class has a part in it.
    ``shares``: mean part of the frames that is background, black and distractor; ``spread``: n is between (1 - spread)
    and (1 + spread) times share times frames; ``runs``: least and most runs of a kind."""
    pieces: list[list[int]] = []
    for kind, share in zip((BACKGROUND, BLACK, DISTRACTOR), shares, strict=True):
        count = math.floor(frames * share * (1 + spread * (2 * rng.random() - 1)) + 0.5)
        number = min(runs[0] + int((runs[1] - runs[0] + 1) * rng.random()), count)
        pieces += [[kind] * length for length in _cut(count, number, rng)]
    pieces += [[MOTION]] * (frames - sum(map(len, pieces)))
    order = np.argsort(rng.random(len(pieces)), kind="stable")
    return np.array([kind for place in order.tolist() for kind in pieces[place]], np.uint8)


def fewest_motion_frames(frames: int, shares: tuple[float, float, float], spread: float) -> int:
    """Motion frames of a video that has as many frames of every inserted kind as ``frame_kinds`` ever gives."""
    return frames - sum(math.floor(frames * share * (1 + spread) + 0.5) for share in shares)


def runs_of(kinds: NDArray[np.uint8]) -> list[tuple[int, int, int]]:
    """(kind, first frame, frames) of every run of equal kinds, in order; at least one frame."""
    starts = [0, *(np.flatnonzero(np.diff(kinds.astype(np.int64))) + 1).tolist()]
    ends = [*starts[1:], len(kinds)]
    return [(int(kinds[start]), start, end - start) for start, end in zip(starts, ends, strict=True)]


def distractor_spans(distractor: Distractor, kind: NDArray[np.uint8]) -> list[tuple[int, int]]:
    """(first frame, frames) of the parts of a video in which one digit at one place is the distractor."""
    if distractor == "video":
        return [(0, len(kind))]
    runs = [(first, length) for number, first, length in runs_of(kind) if number == DISTRACTOR]
    if distractor == "run":
        return runs
    return [(frame, 1) for first, length in runs for frame in range(first, first + length)]


def _cut(count: int, pieces: int, rng: np.random.Generator) -> list[int]:
    if not pieces:
        return []
    cuts = np.sort(1 + np.argsort(rng.random(count - 1), kind="stable")[: pieces - 1]).tolist()
    return [end - start for start, end in zip([0, *cuts], [*cuts, count], strict=True)]
