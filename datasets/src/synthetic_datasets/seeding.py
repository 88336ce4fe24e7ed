"""Randomness that depends on what is made, never on who makes it or when."""

import numpy as np

SPLITS: dict[str, int] = {"train": 0, "test": 1}
"""Split name -> its number in the seed key; never changed or used again, as every file depends on it."""


def sample_rng(seed: int, split: str, index: int) -> np.random.Generator:
    """The random generator of one sample: ``PCG64(SeedSequence(seed, spawn_key=(split, index)))``.

    Two calls with the same arguments give the same stream in any process; two samples never share a stream,
    so any subset of a data set, made by any number of workers in any order, has the same bytes.

    Raises:
        KeyError: ``split`` is not one of ``SPLITS``.
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(SPLITS[split], index))))
