"""Which frames of a video a network is shown: all of them, or a few by a rule. Needs torch for motion alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from efficiency_core.loop import check_choice, check_least

if TYPE_CHECKING:
    from torch import Tensor

    from full_video.networks.frames import FrameSource

Rule = Literal["segments", "uniform", "dense", "motion"]


@dataclass(frozen=True)
class Sampling:
    """Which frames of a video are chosen. Segments are exactly equal; TSM's release cuts them to a whole number of
    frames in training, so that up to ``frames`` - 1 frames at the end are never seen. A video with fewer frames repeats
    some: segments hold less than one frame each, and a run repeats the last frame."""

    frames: int = 0
    """Number of frames; 0 means all, by any rule."""
    rule: Rule = "segments"
    """How frames are chosen: ``segments`` (TSN, TSM) one random frame of each equal segment, in tests the centre one;
    ``uniform`` the centre frames in training too; ``dense`` a run of frames ``stride`` apart, at a random place, in tests in
    the middle (the thesis's release reads "all frames" of longer videos as 32 frames with stride 1); ``motion``
    (MGSampler) frames at equal steps of cumulative motion."""
    stride: int = 1
    """Distance between frames in ``dense``."""

    def __post_init__(self) -> None:
        check_least(self, 0, "frames")
        check_choice(self, "rule", get_args(Rule))
        check_least(self, 1, "stride")

    @property
    def needs_motion(self) -> bool:
        """Whether :meth:`indices` needs the motion of the frames."""
        return self.frames > 0 and self.rule == "motion"

    def indices(
        self, length: int, rng: np.random.Generator | None = None, motion: NDArray[np.float64] | None = None
    ) -> NDArray[np.int64]:
        """Frame numbers int64 (n,), never falling, each in 0 to length - 1; n is ``frames``, or ``length`` if that is
        0. Raises ValueError if ``length`` is below 1, or the motion is needed and missing or of another length.

        Args:
            length: number of frames of the video.
            rng: source of randomness in training; None in a test.
            motion: :func:`motion_scores` of the frames, for the rule ``motion``."""
        if length < 1:
            raise ValueError(f"a video has at least 1 frame, got {length}")
        if not self.frames:
            return np.arange(length, dtype=np.int64)
        if self.rule == "motion":
            if motion is None or len(motion) != length:
                got = "none" if motion is None else len(motion)
                raise ValueError(f"rule 'motion' needs {length} motion scores, got {got}")
            return motion_indices(motion, self.frames, rng)
        if self.rule == "dense":
            room = max(0, length - ((self.frames - 1) * self.stride + 1))  # starts after the first one
            start = room // 2 if rng is None else int(rng.integers(room + 1))
            return np.minimum(start + self.stride * np.arange(self.frames, dtype=np.int64), length - 1)
        # Segment j is [j N / g, (j + 1) N / g). Its ends are whole numbers in units of 1 / g frame: nothing is rounded.
        first = np.arange(self.frames, dtype=np.int64) * length
        if rng is None or self.rule == "uniform":
            return (2 * first + length) // (2 * self.frames)
        return rng.integers(first, first + length) // self.frames


def motion_scores(source: FrameSource, chunk: int = 16) -> NDArray[np.float64]:
    """Motion of each frame, (N,): mean absolute difference of its RGB values, 0 to 255, to those of the frame before; 0
    first. MGSampler's release has structural similarity here. The result does not depend on ``chunk``: the sums are
    whole numbers."""
    import torch

    from full_video.networks.frames import frame_chunks

    sums: list[Tensor] = []
    last: Tensor | None = None
    values = 1
    for frames in frame_chunks(source, chunk):
        values = frames[0].numel()
        signed = frames.to(torch.int16)
        before = torch.cat([signed[:1] if last is None else last, signed[:-1]])
        sums.append((signed - before).abs_().flatten(1).sum(1, dtype=torch.int64))
        last = signed[-1:]
    return torch.cat(sums).numpy() / values


def motion_indices(
    scores: NDArray[np.float64], frames: int, rng: np.random.Generator | None = None, mu: float = 0.5
) -> NDArray[np.int64]:
    """MGSampler (Zhi, Tong, Wang, Wu, ICCV 2021, arXiv 2104.09952): ``frames`` rising indices, one for each equal step
    of cumulative motion. It is the nearest competitor of the thesis's cumulative clustering, which averages all frames
    between two steps instead of picking one.

    s_t is the share of ``scores[t] ** mu`` in their sum and S_t = s_0 + ... + s_t. Index j is the t whose S_t is
    nearest to (j + u) / frames, the earlier of equals. u is drawn from [0, 1) for every j in training and is 1/2 in a
    test. A video without motion is sampled at equal steps of time (the release divides by zero). Raises ValueError if
    there are no scores, or ``frames`` is below 1.

    Args:
        scores: (N,), 0 or more.
        frames: may exceed N.
        rng: None in a test.
        mu: power of the motion; below 1 it reduces the weight of sudden cuts."""
    if len(scores) < 1 or frames < 1:
        raise ValueError(f"expected at least one score and one frame to pick, got {len(scores)} and {frames}")
    weights = np.asarray(scores, dtype=np.float64) ** mu
    if not weights.any():
        weights = np.ones(len(weights))
    cumulative = np.cumsum(weights)
    within = np.full(frames, 0.5) if rng is None else rng.random(frames)
    targets = (np.arange(frames) + within) / frames * cumulative[-1]
    return np.abs(cumulative[None] - targets[:, None]).argmin(axis=1).astype(np.int64)
