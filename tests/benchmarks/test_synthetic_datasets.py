"""The generators: one sample of each, from nothing to pixels and labels; nothing is written."""

from collections.abc import Callable
from functools import partial

import pytest

from efficiency_bench.measure.counters import count_calls
from synthetic_datasets import generator_names, get_generator

Gate = Callable[[dict[str, int]], None]
Timed = Callable[..., None]
FEW = {"move4mnist": {"clips": 4}}
"""Options that spare material of which one sample has no need."""


@pytest.mark.parametrize("name", generator_names())
def test_sample(gate: Gate, timed: Timed, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The calls are those of the package's functions: how much is drawn, and in how many parts."""
    monkeypatch.delenv("EFFICIENCY_DATA", raising=False)
    generator = get_generator(name)
    config = generator.config_type(**FEW.get(name, {}))  # type: ignore[arg-type]
    material = generator.load_source(None, config)
    work = partial(generator.generate, config, "train", 0, material)
    work()
    calls = count_calls(work, "synthetic_datasets")
    sample = work()
    gate({"calls": calls, "bytes": sum(array.nbytes for array in sample.arrays.values())})
    timed(work)
    assert sample.arrays.keys() == generator.layout(config).keys()
