"""From numbers to densities that figures draw: histograms with bins in common."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..drawn import Series

MOST_BINS, LEAST_BINS = 60, 12
_TAIL = 0.002


def densities(named: Sequence[tuple[str, ArrayLike]], bins: int = 0) -> Series:
    """One density per set of numbers, over the same bins.

    These span what is between the 0.2 and the 99.8 percentile of all numbers together, so that a few far ones do not flatten
    the rest; a density integrates to the part of its numbers that is inside. Numbers that are not finite are left out.

    Args:
        named: name and numbers of each set.
        bins: how many; 0: three for every two of the root of the numbers of a set, 12 to 60.

    Raises:
        ValueError: if there is no set.
    """
    sets = [(name, _finite(numbers)) for name, numbers in named]
    if not sets:
        raise ValueError("expected at least one set of numbers")
    every = np.concatenate([numbers for _, numbers in sets])
    bins = bins or min(max(round(1.5 * (len(every) / len(sets)) ** 0.5), LEAST_BINS), MOST_BINS)
    low, high = np.quantile(every, (_TAIL, 1 - _TAIL)).tolist() if len(every) else (-1.0, 1.0)
    room = 0.02 * (high - low) or max(abs(low), 1.0) * 1e-3  # a single value still has a bin around it
    edges = np.linspace(low - room, high + room, bins + 1)
    centres, width = (edges[1:] + edges[:-1]) / 2, edges[1] - edges[0]
    return Series.of(
        [(name, centres, np.histogram(numbers, edges)[0] / (max(len(numbers), 1) * width)) for name, numbers in sets]
    )


def _finite(numbers: ArrayLike) -> NDArray[np.float64]:
    flat = np.asarray(numbers, np.float64).ravel()
    found: NDArray[np.float64] = flat[np.isfinite(flat)]
    return found
