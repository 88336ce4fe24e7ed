"""Samples in order, made by one process or several."""

import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any

from .errors import BuildError
from .generator import Generator, Sample

_BATCH = 4
"""Samples a task: few, to keep memory small; more than one, as every task has its own cost."""

_job: tuple[Generator, Any, str, Any]
"""What a worker process makes samples of, set when it starts: the source (MNIST: 55 MB) travels once."""


def make(
    generator: Generator, config: Any, split: str, source: Any, start: int, stop: int, workers: int = 1
) -> Iterator[Sample]:
    """Samples ``start`` to ``stop`` (exclusive) of a split, in order; the same for any number of workers.

    At most a few tasks per worker are under way, so memory does not grow with the number of samples.

    Raises:
        BuildError: a worker process died.
    """
    if workers == 1:
        for index in range(start, stop):
            yield generator.generate(config, split, index, source)
        return
    tasks = iter([range(first, min(first + _BATCH, stop)) for first in range(start, stop, _BATCH)])
    with ProcessPoolExecutor(workers, initializer=_start, initargs=(generator, config, split, source)) as pool:
        waiting = [pool.submit(_work, task) for task in islice(tasks, 2 * workers)]
        try:
            while waiting:
                yield from waiting.pop(0).result()
                waiting.extend(pool.submit(_work, task) for task in islice(tasks, 1))
        except BrokenProcessPool as error:
            raise BuildError(f"a worker process died while making the {split} split; try --workers 1") from error
        finally:
            for future in waiting:
                future.cancel()


def _start(generator: Generator, config: Any, split: str, source: Any) -> None:
    global _job
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent ends the others
    _job = generator, config, split, source


def _work(indices: range) -> list[Sample]:
    generator, config, split, source = _job
    return [generator.generate(config, split, index, source) for index in indices]
