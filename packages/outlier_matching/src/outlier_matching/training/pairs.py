"""Selection of the images of a training step: pairs of the source, and rows of the target."""

import logging
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from efficiency_core.errors import UsageError

_log = logging.getLogger(__name__)

Indices = NDArray[np.int64]


class Pairs(NamedTuple):
    """Numbers (n,) of the left and right source images of pairs, and whether each pair matches. The matching pairs come
    first, as in the author's lists."""

    left: Indices
    right: Indices
    matching: NDArray[np.bool_]


class PairSampler:
    """Pairs of every step as a pure function of (seed, step), so that a resumed training needs no state. The left
    images of successive steps go through all images with a class, in a new random order each time. The right image of a
    matching pair is any other image of its class; that of another pair is any image of another class. A class with a
    single image is left out and logged. Raises UsageError if fewer than two classes have two images or more.
    ``labels``: (S,): class of every source image; images of class -1 are in no pair. ``batch``: pairs of a step."""

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
        """Number of images that can be in a pair."""
        return len(self._by_class)

    def pairs(self, step: int) -> Pairs:
        """The pairs of one step; the first half match."""
        n, total = self._batch, len(self._by_class)
        rng = np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(3, step)))
        left = endless(total, step * n, n, self._seed, key=2)
        mine = self._class[left]
        first, count = self._first[mine], self._count[mine]
        # One of the c - 1 others of its class, or of the total - c images of other classes: a number in that range, moved past
        # the excluded ones.
        same = first + rng.integers(0, count - 1)
        same += same >= left
        other = rng.integers(0, total - count)
        other += np.where(other >= first, count, 0)
        matching = np.arange(n) < n // 2
        return Pairs(self._by_class[left], self._by_class[np.where(matching, same, other)], matching)


def endless(total: int, first: int, count: int, seed: int, key: int) -> Indices:
    """Entries ``first`` to ``first + count`` - 1 of an endless sequence of random permutations of 0 to ``total`` - 1."""
    parts = []
    while count:
        turn, place = divmod(first, total)
        order = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(key, turn))).permutation(total)
        parts.append(order[place : place + count])
        first, count = first + len(parts[-1]), count - len(parts[-1])
    return np.concatenate(parts) if len(parts) > 1 else parts[0]


def half_and_half(inliers: Indices, outliers: Indices, step: int, batch: int, seed: int) -> Indices:
    """Target images of one step: half drawn from the pseudo inliers, then half from the pseudo outliers, with replacement."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(5, step)))
    half = batch // 2
    return np.concatenate([rng.choice(inliers, half), rng.choice(outliers, batch - half)])


def draw_targets(outliers: NDArray[np.bool_], share: float | None, seed: int) -> Indices:
    """Select target images with an exact share of outliers. All inliers are kept and outliers are drawn. With too few
    outliers, all outliers are kept and inliers are drawn. Returns ascending numbers of images. Their share of outliers
    is ``share``, up to rounding to whole images. Raises UsageError if outliers are wanted and there are none.
    ``outliers``: (S,): which images are outliers. ``share``: share of outliers in the selection; 0 removes the
    outliers, None takes every image."""
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
