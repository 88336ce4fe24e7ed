"""Clusters of consecutive frames from the distances between neighbours (thesis 3.3.3, figure 3.3).

C_i is the distance travelled up to frame i (equation 3.8; C_0 = 0), N the real frames of a video, g the number of clusters.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from full_video.clustering.hamming import checked_lengths
from full_video.clustering.methods import METHODS


@dataclass(frozen=True)
class Clusters:
    """The clusters of V videos of T frames, padding included."""

    ids: Tensor
    """int64 (V, T) cluster of each frame, 0 to g-1, never falling along a video; -1 is no cluster and occurs only at the end
    (padding, and frames that a rule of the release drops)."""
    rows: Tensor
    """int64 (V, g) cluster that each of the g outputs shows, never falling; rows[v, j] != j only where j is empty."""
    full: bool = False
    """Whether the shapes alone tell that every frame is in a cluster and no cluster is empty; this saves two copies."""

    @property
    def starts(self) -> Tensor:
        """int64 (V, g+1): number of frames before each cluster; the last column counts all frames that are in clusters."""
        clusters = self.rows.shape[1]
        slots = self.ids if self.full else torch.where(self.ids < 0, clusters, self.ids)
        return first_of_runs(slots, clusters + 1)

    @property
    def counts(self) -> Tensor:
        """int64 (V, g): frames in each cluster."""
        return self.starts.diff(dim=1)


def first_of_runs(slots: Tensor, runs: int) -> Tensor:
    """slots int64 (V, T), 0 to ``runs`` - 1 and never falling -> int64 (V, runs): number of slots below each number."""
    return (slots[:, :, None] < torch.arange(runs, device=slots.device)).sum(1)


@dataclass(frozen=True)
class _Videos:
    """Input of a rule: distances int64 (V, T-1), 0 in the padding; frame numbers i (T,); N, one number or int64 (V, 1); g.

    A rule returns ids (V, T), or (T,) where they are the same for all videos. Its ids in the padding are not used."""

    distances: Tensor
    frame: Tensor
    real: int | Tensor
    clusters: int


def _walk(videos: _Videos, steps: bool = True) -> tuple[Tensor, Tensor]:
    """q (V, T) of the thesis's formula, counted from 0, made a walk if ``steps``; and C_N (V, 1).

    ceil(a / b) - 1 is (2a - 1) / 2b rounded towards 0, also for a = 0. This is exact, whereas a quotient of floats can miss a
    threshold that is met. The walk id_i = min(q_i, id_i-1 + 1) equals the smallest q_j - j so far, plus i, without a loop.
    """
    travelled = torch.nn.functional.pad(videos.distances.cumsum(1), (1, 0))
    total = travelled[:, -1:]
    passed = torch.rsub(travelled, 1, alpha=2 * videos.clusters).div((-2 * total).clamp(max=-2), rounding_mode="trunc")
    return (passed - videos.frame).cummin(1).values + videos.frame if steps else passed, total


def _limits(videos: _Videos, ids: Tensor, total: Tensor) -> Tensor:
    """``ids``, but videos without any change are cut as by ``uniform``, and with N < g every frame is a cluster of its own."""
    return _short(videos, torch.where(total == 0, _spaced(videos), ids))


def _short(videos: _Videos, ids: Tensor) -> Tensor:
    if isinstance(videos.real, Tensor):
        return torch.where(videos.real < videos.clusters, videos.frame, ids)
    return videos.frame if videos.real < videos.clusters else ids


def _spaced(videos: _Videos) -> Tensor:
    """floor(i g / N): the thesis's "Ours-uniform"."""
    return (videos.frame * videos.clusters).div(videos.real, rounding_mode="floor")


def _cumulative(videos: _Videos) -> Tensor:
    """The thesis's formula without gaps, as the release: after a jump over several thresholds the next frames are clusters of
    their own until the numbers have caught up. The last frames move on early enough to reach the last cluster."""
    ids, total = _walk(videos)
    return _limits(videos, ids.maximum(videos.frame + (videos.clusters - videos.real)), total)


def _cumulative_ceil(videos: _Videos) -> Tensor:
    """q_i = clamp(ceil(g C_i / C_N), 1, g) - 1, as printed. The row of a cluster without frames repeats the cluster before."""
    return _limits(videos, *_walk(videos, steps=False))


def _slope(videos: _Videos) -> Tensor:
    """A cut after each of the g-1 largest distances, as in figure 3.3 (the text of the thesis has top-g), the earlier of equals
    first."""
    order = _ranked(videos).argsort(dim=1, descending=True, stable=True)
    return _limits(videos, _cut(videos, order[:, : videos.clusters - 1]), videos.distances.sum(1, keepdim=True))


def _release_cumulative(videos: _Videos) -> Tensor:
    """The group that is open at the end is never emitted: its frames are dropped and the last emitted mean is repeated. A video
    without any change shows its first g frames, each alone. The release's floats may miss a threshold that is met exactly."""
    ids, total = _walk(videos)
    last = torch.where(videos.frame < videos.real, ids, 0).amax(1, keepdim=True)
    first_frames = torch.where(videos.frame < videos.clusters, videos.frame, -1)
    return torch.where(total == 0, first_frames, torch.where(ids < last, ids, -1))


def _release_slope(videos: _Videos) -> Tensor:
    """As ``slope``, but the later of equal distances is cut first, and without its limits."""
    order = _ranked(videos).argsort(dim=1, stable=True)
    return _cut(videos, order[:, max(0, order.shape[1] - videos.clusters + 1) :])


def _release_uniform(videos: _Videos) -> Tensor:
    """N // g frames in each cluster; the remainder is dropped. With N < g each frame is alone (the release fails there)."""
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
    "uniform": lambda videos: _short(videos, _spaced(videos)),
    "release_cumulative": _release_cumulative,
    "release_slope": _release_slope,
    "release_uniform": _release_uniform,
}
_NEVER_EMPTY = ("cumulative", "slope", "uniform", "release_slope")  # where N >= g


def cluster_frames(
    distances: Tensor, clusters: int, method: str = "cumulative", lengths: Tensor | None = None
) -> Clusters:
    """Cut every video of a batch into runs of frames, on their device, in whole numbers, without a loop over videos.
    Raises ValueError for another method; g < 1 (< 2 for ``release_cumulative``, which would emit nothing); distances
    that are not whole numbers (V, T-1); lengths that are not (V,), or, on the CPU, not 1 to T.

    Args:
        distances: whole numbers (V, T-1) between neighbouring frames
            (:func:`~full_video.clustering.hamming.neighbour_distances`); those that reach into the padding are ignored.
        clusters: g.
        method: one of ``METHODS``; the rules of this module explain them.
        lengths: int64 (V,) real frames N of each video, 1 to T; None: all T."""
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
