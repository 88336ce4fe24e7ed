"""MGSampler (Zhi, Tong, Wang, Wu, ICCV 2021, arXiv 2104.09952): frames at equal steps of cumulative motion.

Where the thesis's cumulative clustering averages what lies between two steps, this picks one frame of it: the nearest
competitor. Motion of frame t is the mean absolute difference of its RGB values to frame t-1 (frame 0 has none), raised to
the power mu = 0.5 as published. In the paper that is one of two measures; its release scores frames by structural
similarity in a separate pass instead, which needs another library and changes no rule below.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from full_video.frames import FrameSource, frame_chunks

__all__ = ["MU", "motion_indices", "motion_scores"]

MU = 0.5
"""Power of the motion: below 1 it evens out sudden cuts."""


def motion_scores(source: FrameSource, chunk: int = 16) -> NDArray[np.float64]:
    """Motion of each frame, (N,): the mean absolute difference to the frame before it, in grey values 0..255; 0 first.

    Read in chunks; the result does not depend on their size, because differences are summed as whole numbers.

    Raises:
        BrokenVideo: if the video cannot be read to its end.
    """
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
    scores: NDArray[np.float64], frames: int, rng: np.random.Generator | None = None, mu: float = MU
) -> NDArray[np.int64]:
    """``frames`` rising indices, one to each equal step of cumulative motion.

    With s_t the share of ``scores[t] ** mu`` in their sum and S_t = s_0 + ... + s_t, index j is the t whose S_t is
    nearest to (j + u) / frames, the earlier one of equals. u is drawn from [0, 1) for every j in training and is 1/2
    in test. A video without any motion is sampled at equal steps of time, where the release divides by zero.

    Args:
        scores: motion of each frame, (N,), 0 or more.
        frames: how many to pick, also more than N.
        rng: source of u; None in test.
        mu: power of the motion.

    Raises:
        ValueError: if there are no scores, or ``frames`` is below 1.
    """
    if len(scores) < 1 or frames < 1:
        raise ValueError(f"expected at least one score and one frame to pick, got {len(scores)} and {frames}")
    weights = np.asarray(scores, dtype=np.float64) ** mu
    if not weights.any():
        weights = np.ones(len(weights))
    cumulative = np.cumsum(weights)
    within = np.full(frames, 0.5) if rng is None else rng.random(frames)
    targets = (np.arange(frames) + within) / frames * cumulative[-1]
    nearest: NDArray[np.int64] = np.abs(cumulative[None] - targets[:, None]).argmin(axis=1).astype(np.int64)
    return nearest
