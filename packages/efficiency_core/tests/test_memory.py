"""Freed memory: kept inside the block, given back after it, left to whoever has set the limits otherwise."""

import resource
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import torch

from efficiency_core import memory
from efficiency_core.loop import Accelerator, LoopConfig
from efficiency_core.memory import freed_memory_kept

VALUES = 2**23 + 2**18
"""Float32 numbers of a tensor of 33 MiB, which glibc gives back whatever was freed before."""
pytestmark = pytest.mark.skipif(memory._glibc() is None, reason="other C libraries have no such limits")


@pytest.fixture(autouse=True)
def unlimited(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in memory._OWN_SETTINGS:
        monkeypatch.delenv(name, raising=False)
    yield
    assert memory._blocks == 0


def page_faults() -> int:
    """Pages that the system hands out while 8 tensors are made and freed one after another, 8,448 a tensor without reuse."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(8):
        torch.ones(VALUES)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def settle() -> None:
    """Until a free block lies where the next tensor fits, the process grows: a few times, or some ten times."""
    for _ in range(10):
        if page_faults() < 1000:
            return


def resident() -> int:
    """Bytes of this process in the machine's memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def test_tensors_take_pages_that_the_process_has() -> None:
    before = page_faults()
    with freed_memory_kept():
        settle()
        inside = page_faults()
    assert inside * 4 < before


def test_pages_are_given_back_after_the_last_block() -> None:
    with ExitStack() as outer:
        outer.enter_context(freed_memory_kept())
        with freed_memory_kept():
            torch.ones(VALUES)
            held = resident()
        assert resident() > held - VALUES
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
