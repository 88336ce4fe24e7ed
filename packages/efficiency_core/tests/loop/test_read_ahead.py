"""Batches read ahead, and what happens when a worker does not come back."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from efficiency_core.errors import BrokenFile, WorkError
from efficiency_core.readers.ahead import mapped, read_ahead

WAYS = [{"workers": 0}, {"workers": 2}, {"workers": 2, "processes": True}]


@pytest.mark.parametrize("way", WAYS, ids=["here", "threads", "processes"])
def test_in_order_and_errors_in_their_place(way: dict[str, Any]) -> None:
    def make(number: int) -> int:
        if number == 7:
            raise BrokenFile("seven", "is not there")
        time.sleep(0.01 * (number % 2))
        return number * number

    results = read_ahead(make, range(20), after=lambda number: number + 1, **way)
    assert [next(results) for _ in range(7)] == [number * number + 1 for number in range(7)]
    with pytest.raises(BrokenFile, match="seven: is not there"):
        next(results)
    assert list(read_ahead(make, [], **way)) == []


def test_without_threads_all_happens_in_the_callers() -> None:
    assert set(mapped(lambda _: threading.get_ident(), range(3), 0)) == {threading.get_ident()}
    assert threading.get_ident() not in mapped(lambda _: threading.get_ident(), range(3), 1)


def test_the_next_is_made_while_the_last_is_used() -> None:
    made = [threading.Event() for _ in range(3)]
    results = mapped(lambda number: made[number].set(), range(3), 1)
    next(results)
    assert made[1].wait(20)
    results.close()  # type: ignore[attr-defined]


def test_only_a_few_ahead_and_none_after_the_caller_stops() -> None:
    made: list[int] = []
    results = mapped(made.append, range(1000), 2)
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert len(made) <= 4


def test_tensors_come_as_they_were() -> None:
    values = (
        torch.arange(120.0).view(2, 3, 4, 5).to(memory_format=torch.channels_last), torch.tensor(2.5, dtype=torch.bfloat16),
        torch.zeros(0, 3, dtype=torch.uint8), torch.tensor([True, False]), torch.arange(12).view(3, 4).t()[1:],
        {"array": np.arange(6).reshape(2, 3), "text": ["a", None]},
    )  # fmt: skip
    (got,) = read_ahead(lambda _: values, [0], 1, processes=True)
    for value, expected in zip(got[:5], values[:5], strict=True):
        assert torch.equal(value, expected) and value.dtype == expected.dtype
    assert got[0].is_contiguous(memory_format=torch.channels_last)
    assert np.array_equal(got[5]["array"], values[5]["array"]) and got[5]["text"] == ["a", None]
    got[0].add_(1)  # writable


def test_worker_that_dies_ends_the_reading() -> None:
    def make(number: int) -> int:
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    with pytest.raises(
        WorkError, match=r"^a worker process that reads ahead was ended by signal 9; memory may be short"
    ):
        list(read_ahead(make, range(9), 2, processes=True))


def test_errors_and_results_that_cannot_be_pickled() -> None:
    class Local(Exception):
        pass

    def make(number: int) -> Any:
        if number:
            raise Local("of a class that nobody can import")
        return lambda: 0

    with pytest.raises(WorkError, match="pickle"):
        next(iter(read_ahead(make, [0], 1, processes=True)))
    with pytest.raises(WorkError, match="Local: of a class that nobody can import"):
        next(iter(read_ahead(make, [1], 1, processes=True)))


def running(processes: list[int]) -> list[int]:
    def state(process: int) -> str:
        try:
            return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return "gone"

    return [process for process in processes if state(process) not in ("Z", "gone")]


def wait_for_end(processes: list[int]) -> None:
    for _ in range(600):
        if not running(processes):
            return
        time.sleep(0.05)
    raise AssertionError(f"still there: {running(processes)}")


def test_workers_end_with_the_iterator() -> None:
    results = read_ahead(lambda _: os.getpid(), range(100), 2, processes=True)
    workers = [next(results) for _ in range(8)]
    assert os.getpid() not in workers
    results.close()  # type: ignore[attr-defined]
    wait_for_end(workers)


SMALL = """
import os, sys, torch
from efficiency_core.readers.ahead import read_ahead
make = lambda number: (os.getpid(), torch.full((8 << 20,), number, dtype=torch.uint8))
results = read_ahead(make, range(50), 2, processes=True)
print({worker for (worker, batch), number in zip(results, range(9)) if batch[-1] == number}, flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="mount namespaces are Linux's")
def test_small_shared_memory_and_killed_parent() -> None:
    mount = "mount -t tmpfs -o size=2m tmpfs /dev/shm"
    if subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("may not mount a small /dev/shm")
    command = ["unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh", sys.executable, "-c", SMALL]
    parent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    workers = [int(number) for number in parent.stdout.readline().strip("{}\n").split(",")]  # nine batches of 8 MB came
    assert len(workers) == 2 and len(running(workers)) == 2
    parent.kill()
    parent.wait()
    wait_for_end(workers)


BUSY = """
import os, time
from efficiency_core.readers.ahead import read_ahead
def make(number):
    os.write(1, f"{os.getpid()}\\n".encode())
    time.sleep(600)
next(read_ahead(make, range(2), 2, processes=True))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_busy_workers_end_with_their_parent(number: signal.Signals) -> None:
    parent = subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    workers = [int(parent.stdout.readline()) for _ in range(2)]
    assert len(running(workers)) == 2
    parent.send_signal(number)
    parent.wait()
    wait_for_end(workers)
