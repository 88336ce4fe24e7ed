"""Randomness as a function of seed and step, so that a training that is continued needs no random state."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def torch_seed(seed: int, step: int, rank: int = 0) -> int:
    """Seed of torch's generators for a step of a training from 1 (0: initial weights); each rank draws other numbers."""
    key = (1, step, rank) if rank else (1, step)
    return int(np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint64)[0] >> 1)


@lru_cache(maxsize=8)
def epoch_order(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The numbers 0 to ``count`` - 1 in the random order of an epoch, int64 (count,), read-only."""
    order = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0, epoch))).permutation(count)
    order.flags.writeable = False
    return order
