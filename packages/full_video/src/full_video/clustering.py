"""Which frames go together: clusters of consecutive frames from the distances between neighbours (thesis 3.3.3, figure 3.3).

With C_i the distance travelled up to frame i (equation 3.8; C_0 = 0), N the real frames of a video and g the clusters:

``cumulative``
    q_i = clamp(ceil(g C_i / C_N), 1, g) - 1, the thesis's formula counted from 0, made free of gaps: a frame goes at most one
    cluster on, so that after a jump over several thresholds the next frames are clusters of their own until the ids have
    caught up (as the release walks), and the last frames go on in time to reach the last cluster.
``cumulative_ceil``
    q_i as printed. A cluster that no frame falls into is empty; its row repeats the cluster before it.
``slope``
    A cut after each of the g-1 largest distances, as figure 3.3 draws it (the text says top-g); of equal ones the earlier first.
``uniform``
    Cluster floor(i g / N): the thesis's "Ours-uniform".
``release_cumulative``
    The release's walk. The group open at the end is never emitted: its frames are dropped and the last emitted mean is
    repeated. A video without any change shows its first g frames, each alone.
``release_slope``
    As ``slope``, but of equal distances the later is cut first.
``release_uniform``
    N // g frames to each cluster, the remainder dropped (each frame alone where N < g, on which the release fails).

The first four use every frame exactly once and share two limits: a video whose distances are all 0 is cut as ``uniform`` cuts
it, and with N < g every frame is a cluster of its own, the rows that are left repeating the last. The release compares
floats where this compares whole numbers, so a threshold met exactly may fall to the other side there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from full_video.hamming import checked_lengths


@dataclass(frozen=True)
class Clusters:
    """The clusters of V videos of T frames, padding included.

    Attributes:
        ids: int64 (V, T) cluster of each frame, 0 to g-1, never falling along a video; -1: in none, only at the end (padding,
            and frames that a rule of the release drops).
        rows: int64 (V, g) which cluster each of the g outputs shows, never falling; rows[v, j] != j only where j is empty.
        full: whether the shapes alone say that every frame is in a cluster and no cluster is empty; it spares two copies.
    """

    ids: Tensor
    rows: Tensor
    full: bool = False

    @property
    def starts(self) -> Tensor:
        """int64 (V, g+1): how many frames come before each cluster; the last column: how many are in clusters at all."""
        clusters = self.rows.shape[1]
        slots = self.ids if self.full else torch.where(self.ids < 0, clusters, self.ids)
        return first_of_runs(slots, clusters + 1)

    @property
    def counts(self) -> Tensor:
        """int64 (V, g): frames in each cluster."""
        return self.starts.diff(dim=1)


def first_of_runs(slots: Tensor, runs: int) -> Tensor:
    """slots int64 (V, T), 0 to ``runs`` - 1 and never falling -> int64 (V, runs): how many of them lie below each number."""
    return (slots[:, :, None] < torch.arange(runs, device=slots.device)).sum(1)


@dataclass(frozen=True)
class _Videos:
    """What a rule sees: distances int64 (V, T-1), 0 in the padding; frame numbers i (T,); N, one number or int64 (V, 1); g.

    A rule returns ids (V, T), or (T,) where they are the same for all videos. What it says in the padding does not matter.
    """

    distances: Tensor
    frame: Tensor
    real: int | Tensor
    clusters: int


def _walk(videos: _Videos, steps: bool = True) -> tuple[Tensor, Tensor]:
    """q (V, T) of the thesis's formula, counted from 0, with ``steps`` made a walk; and C_N (V, 1).

    ceil(a / b) - 1 is (2a - 1) / 2b rounded towards 0, for a = 0 as well: exact, where a quotient of floats can land beside a
    threshold that is met. The walk id_i = min(q_i, id_i-1 + 1) is, without its loop, the smallest q_j - j so far, plus i.
    """
    travelled = torch.nn.functional.pad(videos.distances.cumsum(1), (1, 0))
    total = travelled[:, -1:]
    passed = torch.rsub(travelled, 1, alpha=2 * videos.clusters).div((-2 * total).clamp(max=-2), rounding_mode="trunc")
    return (passed - videos.frame).cummin(1).values + videos.frame if steps else passed, total


def _limits(videos: _Videos, ids: Tensor, total: Tensor) -> Tensor:
    """``ids`` with the two limits: a video without any change, and one of fewer frames than clusters."""
    return _short(videos, torch.where(total == 0, _spaced(videos), ids))


def _short(videos: _Videos, ids: Tensor) -> Tensor:
    if isinstance(videos.real, Tensor):
        return torch.where(videos.real < videos.clusters, videos.frame, ids)
    return videos.frame if videos.real < videos.clusters else ids


def _spaced(videos: _Videos) -> Tensor:
    """floor(i g / N)."""
    return (videos.frame * videos.clusters).div(videos.real, rounding_mode="floor")


def _cumulative(videos: _Videos) -> Tensor:
    ids, total = _walk(videos)
    return _limits(videos, ids.maximum(videos.frame + (videos.clusters - videos.real)), total)


def _cumulative_ceil(videos: _Videos) -> Tensor:
    return _limits(videos, *_walk(videos, steps=False))


def _slope(videos: _Videos) -> Tensor:
    order = _ranked(videos).argsort(dim=1, descending=True, stable=True)
    return _limits(videos, _cut(videos, order[:, : videos.clusters - 1]), videos.distances.sum(1, keepdim=True))


def _uniform(videos: _Videos) -> Tensor:
    return _short(videos, _spaced(videos))


def _release_cumulative(videos: _Videos) -> Tensor:
    ids, total = _walk(videos)
    last = torch.where(videos.frame < videos.real, ids, 0).amax(1, keepdim=True)
    first_frames = torch.where(videos.frame < videos.clusters, videos.frame, -1)
    return torch.where(total == 0, first_frames, torch.where(ids < last, ids, -1))


def _release_slope(videos: _Videos) -> Tensor:
    order = _ranked(videos).argsort(dim=1, stable=True)
    return _cut(videos, order[:, max(0, order.shape[1] - videos.clusters + 1) :])


def _release_uniform(videos: _Videos) -> Tensor:
    frames = videos.real // videos.clusters
    ids = videos.frame.div(frames.clamp(min=1) if isinstance(frames, Tensor) else max(1, frames), rounding_mode="floor")
    return torch.where(ids < videos.clusters, ids, -1)


def _ranked(videos: _Videos) -> Tensor:
    """The distances (V, T-1), with -1 in the padding: less than any, so that no cut is spent there."""
    return videos.distances.masked_fill(videos.frame[1:] >= videos.real, -1)


def _cut(videos: _Videos, pairs: Tensor) -> Tensor:
    """ids (V, T) with a cut after each of ``pairs`` (V, k); a pair that reaches into the padding cuts nothing."""
    frames = videos.frame.shape[0]
    first = torch.where(pairs + 1 < videos.real, pairs + 1, frames)
    cuts = torch.zeros(pairs.shape[0], frames + 1, dtype=torch.int64, device=pairs.device).scatter(1, first, 1)
    return cuts[:, :frames].cumsum(1)


_RULES: dict[str, Callable[[_Videos], Tensor]] = {
    "cumulative": _cumulative,
    "cumulative_ceil": _cumulative_ceil,
    "slope": _slope,
    "uniform": _uniform,
    "release_cumulative": _release_cumulative,
    "release_slope": _release_slope,
    "release_uniform": _release_uniform,
}
_NEVER_EMPTY = ("cumulative", "slope", "uniform", "release_slope")  # where N >= g
METHODS: tuple[str, ...] = tuple(_RULES)


def cluster_frames(
    distances: Tensor, clusters: int, method: str = "cumulative", lengths: Tensor | None = None
) -> Clusters:
    """Cut every video of a batch into runs of frames: on their device, in whole numbers, no loop over videos, no host round trip.

    Args:
        distances: whole numbers (V, T-1) between neighbouring frames (:func:`full_video.hamming.neighbour_distances`); those that
            reach into the padding are not looked at.
        clusters: g.
        method: one of ``METHODS``, see the text of this module.
        lengths: int64 (V,) real frames N of each video, 1 to T; None: all T.

    Returns:
        Clusters: ids (V, T) and rows (V, g).

    Raises:
        ValueError: for another method; g < 1 (< 2 for ``release_cumulative``, which would emit nothing); distances that are not
            whole numbers (V, T-1); lengths that are not (V,), or, where they lie on the CPU, not 1 to T.
    """
    if method not in _RULES:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    least = 2 if method == "release_cumulative" else 1
    if clusters < least:
        raise ValueError(f"clusters must be at least {least} for {method}, got {clusters}")
    if distances.dim() != 2 or distances.is_floating_point() or distances.is_complex():
        raise ValueError(f"distances must be whole numbers (V, T-1), got {distances.dtype} {tuple(distances.shape)}")
    videos, frames = distances.shape[0], distances.shape[1] + 1
    frame = torch.arange(frames, device=distances.device)
    distances = distances.to(torch.int64)
    real: int | Tensor = frames
    padding: Tensor | None = None
    if lengths is not None:
        real = checked_lengths(lengths, videos, frames, distances.device)
        padding = frame >= real
        distances = distances.masked_fill(padding[:, 1:], 0)
    ids = _RULES[method](_Videos(distances, frame, real, clusters))
    ids = ids.expand(videos, frames) if padding is None else torch.where(padding, -1, ids)
    output = torch.arange(clusters, device=ids.device)
    if padding is None and frames >= clusters and method in _NEVER_EMPTY:
        return Clusters(ids, output.expand(videos, clusters), full=True)
    filled = (ids[:, :, None] == output).any(1)
    return Clusters(ids, torch.where(filled, output, 0).cummax(1).values)
