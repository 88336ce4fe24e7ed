"""The clusters of one video as a streamed pass needs them: some on the device, some as numbers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from full_video.clustering import Clusters

__all__ = ["VideoGroups"]


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
    """``ids`` off the device."""
    repeats: tuple[int, ...] | None
    """``rows`` off the device where some row shows another cluster's average, else None."""

    @classmethod
    def read(cls, clusters: Clusters) -> VideoGroups:
        """From the clusters of one video: the one time that a device has to answer."""
        ids, rows, counts = clusters.ids[0], clusters.rows[0], clusters.counts[0]
        outputs = len(rows)
        if isinstance(ids, FakeTensor):  # memory is being counted, without any data: as if all changes were equal
            frames = len(ids)
            uniform = tuple(frame * outputs // max(frames, outputs) for frame in range(frames))
            return cls(ids, rows, counts, uniform, None)
        both = tuple(torch.cat((ids, rows)).tolist())
        shown = both[-outputs:]
        return cls(ids, rows, counts, both[:-outputs], None if shown == tuple(range(outputs)) else shown)

    @property
    def kept(self) -> int:
        """Frames that are in a cluster: the first ones."""
        return len(self.numbers) - sum(number < 0 for number in self.numbers)

    def means(self, totals: Tensor) -> Tensor:
        """Rows (g, *) from the sum of each cluster's maps (g, *), which is used up."""
        means = totals.div_(self.counts.clamp(min=1).view(-1, *[1] * (totals.dim() - 1)))
        return means if self.repeats is None else means.index_select(0, self.rows)

    def gradient(self, of_rows: Tensor) -> Tensor:
        """The gradient (g, *) of the averages from that of the rows: a cluster shown twice receives both."""
        if self.repeats is None:
            return of_rows
        of_clusters = torch.zeros_like(of_rows)
        for row, cluster in enumerate(self.repeats):
            of_clusters[cluster].add_(of_rows[row])
        return of_clusters

    def spread(self, of_clusters: Tensor, start: int, stop: int) -> Tensor:
        """The gradient (n, *) of the maps of frames start..stop-1: that of their cluster, divided by its size."""
        ids = self.ids[start:stop]
        sizes = self.counts.index_select(0, ids).view(-1, *[1] * (of_clusters.dim() - 1))
        return of_clusters.index_select(0, ids).div_(sizes)
