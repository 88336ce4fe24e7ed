"""Sums over runs of consecutive frames, made in one look: most of what clustered averages need before clusters are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["RunSums", "Stretch", "add_clusters"]


class Stretch(NamedTuple):
    """Consecutive frames ``start`` to ``stop`` - 1."""

    start: int
    stop: int


class RunSums:
    """Sums over runs of 2^k consecutive frames, never more than ``capacity`` of them.

    The first runs are single frames. When all places are taken, neighbours are added, and runs become twice as long. So a
    run is at most 2 N / ``capacity`` frames of the N that were added.

    Args:
        capacity: an even number of sums; 0 keeps none.
    """

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

    def spend(self, ids: Sequence[int], totals: Tensor) -> list[Stretch]:
        """Add every run whose frames are in one cluster to that cluster's total, and let go of all sums.

        Args:
            ids: cluster of each frame added, never falling; -1 only at the end, for a frame in no cluster.
            totals: (g, *) what is added to.

        Returns:
            The frames in clusters that are in no total yet, without overlap, in order.
        """
        if not self.capacity:
            return _kept([Stretch(0, self.frames)], ids)
        missing: list[Stretch] = []
        self._sums.reverse()
        for start in range(0, self.frames, self.run):
            stop = min(start + self.run, self.frames)
            part = self._sums.pop()
            if ids[start] != ids[stop - 1]:
                missing.append(Stretch(start, stop))
            elif ids[start] >= 0:
                totals[ids[start]].add_(part)
        return _kept(missing, ids)

    def _halve(self) -> None:
        left, right = self._sums[::2], self._sums[1::2]
        self._sums = []  # so that each right half is freed as soon as it is added
        right.reverse()
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
    """Sum (n, *) over frames, in float32 at least; a new tensor even of one frame."""
    wide = torch.promote_types(maps.dtype, torch.float32)
    return maps[0].to(wide, copy=True) if len(maps) == 1 else maps.sum(0, dtype=wide)


def _kept(stretches: list[Stretch], ids: Sequence[int]) -> list[Stretch]:
    """The frames of ``stretches`` that are in a cluster; only the last ones of a video can be in none."""
    kept = len(ids) - sum(id_ < 0 for id_ in ids)
    return [Stretch(start, min(stop, kept)) for start, stop in stretches if start < kept]
