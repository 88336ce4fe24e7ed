"""The clusters of one video in a streamed pass, and sums over runs of frames, made before the clusters are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from full_video.clustering.clusters import Clusters


class RunSums:
    """At most ``capacity`` sums, an even number, over runs of 2^k consecutive frames; 0 keeps none. The first runs are
    single frames. When there are ``capacity`` runs, neighbouring runs are added, so that all runs become twice as long.
    After N frames a run has at most 2 N / ``capacity`` frames."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.frames = 0
        self.run = 1
        self._sums: list[Tensor] = []

    def add(self, maps: Tensor) -> None:
        """Add the maps (n, *) of the next n frames; half precision is summed in float32."""
        start = 0
        while self.capacity and start < len(maps):
            if self.frames == self.capacity * self.run:
                self._halve()
            place = self.frames % self.run
            stop = min(len(maps), start + self.run - place)
            part = _sum(maps[start:stop])
            if place == 0:
                self._sums.append(part)
            else:
                self._sums[-1].add_(part)
            self.frames += stop - start
            start = stop
        if not self.capacity:
            self.frames += len(maps)

    def spend(self, ids: Sequence[int], totals: Tensor) -> list[tuple[int, int]]:
        """Add every run whose frames are all in one cluster to the total of that cluster, (g, *) in place; free all
        sums. ``ids`` is the cluster of each added frame, never falling; -1 (no cluster) only at the end. Returns the
        frames of clusters that are in no total yet, without overlap, in order, as (start, stop)."""
        if not self.capacity:
            return _kept([(0, self.frames)], ids)
        missing: list[tuple[int, int]] = []
        self._sums.reverse()
        for start in range(0, self.frames, self.run):
            stop = min(start + self.run, self.frames)
            part = self._sums.pop()
            if ids[start] != ids[stop - 1]:
                missing.append((start, stop))
            elif ids[start] >= 0:
                totals[ids[start]].add_(part)
        return _kept(missing, ids)

    def _halve(self) -> None:
        left, right = self._sums[::2], self._sums[1::2][::-1]
        self._sums = []  # so that each right half is freed as soon as it is added
        for sum_ in left:
            self._sums.append(sum_.add_(right.pop()))
        self.run *= 2


def add_clusters(totals: Tensor, maps: Tensor, ids: Sequence[int]) -> None:
    """Add maps (n, *) of consecutive frames to the totals (g, *) of their clusters; ids never fall and are >= 0."""
    start = 0
    for stop in range(1, len(ids) + 1):
        if stop == len(ids) or ids[stop] != ids[start]:
            totals[ids[start]].add_(_sum(maps[start:stop]))
            start = stop


def _sum(maps: Tensor) -> Tensor:
    """Sum of maps (n, *) over frames, in float32 at least; a new tensor even for one frame."""
    wide = torch.promote_types(maps.dtype, torch.float32)
    return maps[0].to(wide, copy=True) if len(maps) == 1 else maps.sum(0, dtype=wide)


def _kept(stretches: list[tuple[int, int]], ids: Sequence[int]) -> list[tuple[int, int]]:
    """The frames of ``stretches`` that are in a cluster; only the last frames of a video can be in none."""
    kept = len(ids) - sum(id_ < 0 for id_ in ids)
    return [(start, min(stop, kept)) for start, stop in stretches if start < kept]


@dataclass(frozen=True)
class VideoGroups:
    """The clusters of one video of N frames."""

    ids: Tensor
    """int64 (N,) cluster of each frame; -1 at the end: in none."""
    rows: Tensor
    """int64 (g,) which cluster each row shows."""
    counts: Tensor
    """int64 (g,) frames of each cluster."""
    numbers: tuple[int, ...]
    """``ids`` as Python numbers."""
    repeats: tuple[int, ...] | None
    """``rows`` as Python numbers if some row shows the average of another cluster, else None."""

    @classmethod
    def read(cls, clusters: Clusters) -> VideoGroups:
        """From the clusters of one video. This is the only place that waits for the device."""
        ids, rows, counts = clusters.ids[0], clusters.rows[0], clusters.counts[0]
        outputs = len(rows)
        if isinstance(ids, FakeTensor):  # memory is counted without data: assume that all distances are equal
            frames = len(ids)
            uniform = tuple(frame * outputs // max(frames, outputs) for frame in range(frames))
            return cls(ids, rows, counts, uniform, None)
        both = tuple(torch.cat((ids, rows)).tolist())
        shown = both[-outputs:]
        return cls(ids, rows, counts, both[:-outputs], None if shown == tuple(range(outputs)) else shown)

    @property
    def kept(self) -> int:
        """Number of frames that are in a cluster; they are the first ones."""
        return len(self.numbers) - sum(number < 0 for number in self.numbers)

    def means(self, totals: Tensor) -> Tensor:
        """Rows (g, *) from the sums of the clusters' maps (g, *), which are overwritten."""
        means = totals.div_(self.counts.clamp(min=1).view(-1, *[1] * (totals.dim() - 1)))
        return means if self.repeats is None else means.index_select(0, self.rows)

    def gradient(self, of_rows: Tensor) -> Tensor:
        """The gradient (g, *) of the averages from that of the rows; a cluster that is shown twice receives both."""
        if self.repeats is None:
            return of_rows
        of_clusters = torch.zeros_like(of_rows)
        for row, cluster in enumerate(self.repeats):
            of_clusters[cluster].add_(of_rows[row])
        return of_clusters

    def spread(self, of_clusters: Tensor, start: int, stop: int) -> Tensor:
        """The gradient (n, *) of the maps of frames start to stop - 1: that of their cluster, divided by its size."""
        ids = self.ids[start:stop]
        sizes = self.counts.index_select(0, ids).view(-1, *[1] * (of_clusters.dim() - 1))
        return of_clusters.index_select(0, ids).div_(sizes)
