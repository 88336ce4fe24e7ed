"""Which images a step of training sees: pairs of the source, and rows of the target."""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from outlier_matching.errors import UsageError

__all__ = ["PairSampler", "Pairs", "draw_targets", "endless", "half_and_half"]

_log = logging.getLogger(__name__)

Indices = NDArray[np.int64]


class Pairs(NamedTuple):
    """Pairs of source images by their numbers; the matching ones come first, as in the author's lists."""

    left: Indices
    """(n,)"""
    right: Indices
    """(n,)"""
    matching: NDArray[np.bool_]
    """(n,)"""


class PairSampler:
    """Matching and unmatching pairs, a pure function of (seed, step): a resumed training needs no state.

    The left images of successive steps run through all that have a class, in a new random order each time. The right image
    of a matching pair is any other image of the same class; that of an unmatching one any image of another class. A class of
    a single image, which matches nothing, is left out and logged.

    Args:
        labels: (S,) class of every source image; those of -1 are in no pair.
        batch: pairs of a step.
        seed: of all draws.

    Raises:
        UsageError: if fewer than two classes have two images or more.
    """

    def __init__(self, labels: NDArray[np.int64], batch: int, seed: int) -> None:
        names, counts = np.unique(labels[labels >= 0], return_counts=True)
        alone = names[counts < 2]
        if len(names) - len(alone) < 2:
            raise UsageError(
                f"pairs need two classes or more with two images or more in the source, which has {len(names) - len(alone)}"
            )
        if len(alone):
            _log.warning(
                "%d source classes have a single image and are left out, the first is %d", len(alone), alone[0]
            )
        labelled = np.flatnonzero((labels >= 0) & ~np.isin(labels, alone))
        _, self._class, self._count = np.unique(labels[labelled], return_inverse=True, return_counts=True)
        self._first = np.cumsum(self._count) - self._count
        order = np.argsort(self._class, kind="stable")
        self._by_class = labelled[order]  # images of class 0, then those of class 1, ...
        self._class = self._class[order]
        self._batch, self._seed = batch, seed

    def __len__(self) -> int:
        """Images that are in pairs."""
        return len(self._by_class)

    def pairs(self, step: int) -> Pairs:
        """The pairs of one step, the first half of them matching."""
        n, total = self._batch, len(self._by_class)
        rng = np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(3, step)))
        left = endless(total, step * n, n, self._seed, key=2)
        mine = self._class[left]
        first, count = self._first[mine], self._count[mine]
        # Of the c - 1 others of its class, or the total - c of other classes: a whole number below, moved past what is left out.
        same = first + rng.integers(0, count - 1)
        same += same >= left
        other = rng.integers(0, total - count)
        other += np.where(other >= first, count, 0)
        matching = np.arange(n) < n // 2
        return Pairs(self._by_class[left], self._by_class[np.where(matching, same, other)], matching)


def endless(total: int, first: int, count: int, seed: int, key: int) -> Indices:
    """Places ``first`` to ``first + count`` - 1 of an endless row of permutations of 0 to ``total`` - 1, each a new one."""
    parts = []
    while count:
        turn, place = divmod(first, total)
        order = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(key, turn))).permutation(total)
        parts.append(order[place : place + count])
        first, count = first + len(parts[-1]), count - len(parts[-1])
    return np.concatenate(parts) if len(parts) > 1 else parts[0]


def half_and_half(inliers: Indices, outliers: Indices, step: int, batch: int, seed: int) -> Indices:
    """Rows of the target for one step: half from the pseudo inliers, then half from the pseudo outliers, with replacement."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(5, step)))
    half = batch // 2
    return np.concatenate([rng.choice(inliers, half), rng.choice(outliers, batch - half)])


def draw_targets(outliers: NDArray[np.bool_], share: float | None, seed: int) -> Indices:
    """Images of a target set that has, of all, just this share of outliers.

    Every inlier is kept and outliers are drawn; where there are too few outliers, all are kept and inliers are drawn.

    Args:
        outliers: (S,) which images are outliers.
        share: 0 leaves the outliers out; None takes every image.
        seed: of the draw.

    Returns:
        rising numbers of images; their share of outliers is ``share`` as near as whole images allow.

    Raises:
        UsageError: if outliers are wanted and there are none.
    """
    if share is None:
        return np.arange(len(outliers))
    inside, outside = np.flatnonzero(~outliers), np.flatnonzero(outliers)
    if share == 0:
        return inside
    if len(outside) == 0:
        raise UsageError(
            f"outlier_share={share} was asked for, but the target has no image that is marked as an outlier"
        )
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(6,)))
    wanted = round(share / (1 - share) * len(inside))
    if wanted <= len(outside):
        outside = rng.choice(outside, wanted, replace=False)
    else:
        inside = rng.choice(inside, round((1 - share) / share * len(outside)), replace=False)
    return np.sort(np.concatenate([inside, outside]))
