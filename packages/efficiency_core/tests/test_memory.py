"""Freed memory: kept inside the block, given back after it, left to whoever has set the limits otherwise."""

import resource
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import torch

from efficiency_core import memory
from efficiency_core.loop import Accelerator, LoopConfig
from efficiency_core.memory import freed_memory_kept

VALUES = 2**24
"""Float32 numbers of a tensor of 64 MiB."""


pytestmark = pytest.mark.skipif(memory._glibc() is None, reason="other C libraries have no such limits")


@pytest.fixture(autouse=True)
def unlimited(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in memory._OWN_SETTINGS:
        monkeypatch.delenv(name, raising=False)
    yield
    assert memory._blocks == 0


def page_faults(count: int = 4) -> int:
    """Pages that the system hands out while tensors are made and freed one after another; the first is not counted."""
    torch.ones(VALUES)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(count):
        torch.ones(VALUES)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident() -> int:
    """Bytes of this process in the machine's memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def test_tensors_take_pages_that_the_process_has() -> None:
    before = page_faults()
    with freed_memory_kept():
        inside = page_faults()
    assert inside * 8 < before and page_faults() * 2 > before


def test_pages_are_given_back_after_the_last_block() -> None:
    with ExitStack() as outer:
        outer.enter_context(freed_memory_kept())
        with freed_memory_kept():
            torch.ones(VALUES)
            held = resident()
        assert page_faults() < 1000 and resident() > held - VALUES
    assert resident() < held - 3 * VALUES


def test_an_error_ends_the_block() -> None:
    with pytest.raises(KeyError), freed_memory_kept():
        raise KeyError
    assert memory._blocks == 0


def test_limits_of_the_environment_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    monkeypatch.setattr(memory, "_glibc", lambda: pytest.fail("no limit may be set"))
    with freed_memory_kept():
        assert memory._blocks == 0


def test_trainings_on_a_cpu_keep_it_until_they_end() -> None:
    with Accelerator("cpu", LoopConfig()):
        assert memory._blocks == 1
