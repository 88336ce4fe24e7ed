"""Which frames of a video a network is shown: all of them, or a few by a rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from full_video.frames import FrameSource
from full_video.motion_sampling import motion_indices, motion_scores

__all__ = ["Rule", "Sampling"]

Rule = Literal["segments", "uniform", "dense", "motion"]


@dataclass(frozen=True)
class Sampling:
    """Rule by which frames are chosen.

    - ``segments`` (TSN, TSM): one random frame from each of equal segments in training, the centre frame of each in test.
      Segments are exactly equal; the release cuts them to a whole number of frames in training, so that up to
      ``frames - 1`` frames at the end are never seen.
    - ``uniform``: the centre frame of each equal segment, also in training.
    - ``dense``: a run of frames ``stride`` apart, at a random place in training and in the middle in test. The release
      of the thesis reads its "all frames" of longer videos so, 32 frames of stride 1.
    - ``motion``: MGSampler, equal steps of cumulative motion.

    A video with fewer frames repeats some: segments hold less than one frame each, and a run repeats the last one.
    """

    frames: int = 0
    """How many; 0 means all, by whatever rule."""
    rule: Rule = "segments"
    """How they are chosen."""
    stride: int = 1
    """Frames from one to the next in ``dense``."""

    def __post_init__(self) -> None:
        if self.frames < 0:
            raise ValueError(f"frames must be 0 (all) or more, got {self.frames}")
        if self.rule not in get_args(Rule):
            raise ValueError(f"rule must be one of {', '.join(get_args(Rule))}, got {self.rule!r}")
        if self.stride < 1:
            raise ValueError(f"stride must be 1 or more, got {self.stride}")

    def indices(
        self,
        length: int,
        rng: np.random.Generator | None = None,
        source: FrameSource | None = None,
        motion: NDArray[np.float64] | None = None,
    ) -> NDArray[np.int64]:
        """int64 (n,), never falling, each in 0..length-1; n is ``frames``, or ``length`` where that is 0.

        Args:
            length: number of frames N of the video.
            rng: source of randomness in training; None in test.
            source: the frames, which ``motion`` looks at.
            motion: in place of ``source``, what :func:`~full_video.motion_sampling.motion_scores` said before.

        Raises:
            ValueError: if ``length`` is below 1, or ``motion`` has nothing to look at or scores of another length.
        """
        if length < 1:
            raise ValueError(f"a video has at least 1 frame, got {length}")
        if not self.frames:
            return np.arange(length, dtype=np.int64)
        if self.rule == "motion":
            if motion is None:
                if source is None:
                    raise ValueError("rule 'motion' needs the frames of the video")
                motion = motion_scores(source)
            if len(motion) != length:
                raise ValueError(f"{len(motion)} motion scores for a video of {length} frames")
            return motion_indices(motion, self.frames, rng)
        if self.rule == "dense":
            return self._dense(length, rng)
        return _segments(length, self.frames, rng if self.rule == "segments" else None)

    def _dense(self, length: int, rng: np.random.Generator | None) -> NDArray[np.int64]:
        room = max(0, length - ((self.frames - 1) * self.stride + 1))  # starts after the first one
        start = room // 2 if rng is None else int(rng.integers(room + 1))
        return np.minimum(start + self.stride * np.arange(self.frames, dtype=np.int64), length - 1)


def _segments(length: int, segments: int, rng: np.random.Generator | None) -> NDArray[np.int64]:
    """Segment j is [j N / g, (j + 1) N / g); in units of 1 / g frame its places are whole numbers, so nothing is rounded."""
    first = np.arange(segments, dtype=np.int64) * length
    if rng is None:
        return (2 * first + length) // (2 * segments)
    return rng.integers(first, first + length) // segments
