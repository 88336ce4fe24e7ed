"""Randomness that depends on what is made, never on who makes it or when."""

import numpy as np

SPLITS: dict[str, int] = {"train": 0, "test": 1}
"""Split name -> its number in the seed key; never changed or used again, as every file depends on it."""

_SHARED = 2
"""Stands where a sample has its split; no split may ever have this number."""


def sample_rng(seed: int, split: str, index: int) -> np.random.Generator:
    """The random generator of one sample: ``PCG64(SeedSequence(seed, spawn_key=(split, index)))``. Two samples never
    share a stream, so any subset of a data set, made by any number of workers in any order, has the same bytes. Raises
    KeyError if ``split`` is not one of ``SPLITS``."""
    return _generator(seed, SPLITS[split], index)


def factor_rng(seed: int, split: str, index: int, factor: int) -> np.random.Generator:
    """A further stream of one sample, for a factor that must leave all others as they are without it.
    ``PCG64(SeedSequence(seed, spawn_key=(split, index, factor)))``; a generator numbers its factors from 0. Raises
    KeyError if ``split`` is not one of ``SPLITS``."""
    return _generator(seed, SPLITS[split], index, factor)


def shared_rng(seed: int, number: int) -> np.random.Generator:
    """The generator of something several samples share, such as background picture ``number``.
    ``PCG64(SeedSequence(seed, spawn_key=(2, number)))``: the same for both splits, and nobody else's."""
    return _generator(seed, _SHARED, number)


def _generator(seed: int, *key: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))
