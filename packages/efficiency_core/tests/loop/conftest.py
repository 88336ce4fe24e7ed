"""Fixtures of the tests of the training loop."""

import multiprocessing
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))  # tiny_task: a module, and a program that the tests start

from tiny_task import TinyConfig, train


@pytest.fixture(autouse=True)
def one_thread():
    """Equal bits need the same number of threads, and a copy of this process has one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def killed():
    """A function that trains in a process of its own, which kills itself with SIGKILL on the way."""

    def start(folder: Path, config: TinyConfig) -> None:
        process = multiprocessing.get_context("fork").Process(target=train, args=(folder, config))
        process.start()
        process.join(120)
        assert process.exitcode == -9

    return start
