"""Batches made ahead by threads, or by processes that send them through sockets (for work that keeps Python busy).

Torch's own workers need shared memory, and wait for ever or die where ``/dev/shm`` is small (64 MB in a container)."""

from __future__ import annotations

import gc
import io
import multiprocessing
import pickle
import queue
import signal
import socket
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from efficiency_core.errors import WorkError
from efficiency_core.processes import as_worker

In = TypeVar("In")
Out = TypeVar("Out")
_GONE = (EOFError, OSError, pickle.UnpicklingError)
"""What reading from the other side raises where it has ended, in a message or between two."""


def mapped(make: Callable[[In], Out], items: Iterable[In], threads: int) -> Iterator[Out]:
    """``map(make, items)`` in order; threads make the next results while the caller uses the last one.

    Up to twice as many items as ``threads`` are worked on ahead; 0 works in the caller's thread, which also takes the
    items. An exception of ``make`` is raised where its result would have come.
    """
    if threads < 1:
        yield from map(make, items)
        return
    pool = ThreadPoolExecutor(threads)
    try:
        coming = iter(items)
        waiting = deque(pool.submit(make, item) for item in islice(coming, 2 * threads))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(make, item) for item in islice(coming, 1))
    finally:
        pool.shutdown(cancel_futures=True)


def read_ahead(
    make: Callable[[In], Out],
    items: Iterable[In],
    workers: int,
    *,
    processes: bool = False,
    after: Callable[[Out], Out] | None = None,
) -> Iterator[Out]:
    """``map(make, items)`` in order; workers make the next results while the caller uses the last one.

    Worker processes begin as copies of this one (fork) when the first result is asked for, compute with one thread, and end
    with the iterator or with this process, however it ends. Where the system has no fork, threads take their place.

    Args:
        make: the work. It runs in several threads, or several processes, at a time.
        items, workers: as of :func:`mapped`.
        processes: whether the workers are processes.
        after: applied to every result in this process, ahead too; page-locking of memory for example.

    Raises:
        WorkError: if a worker process ends by itself (the system ends processes where memory is short).
    """
    finish: Callable[[Out], Out] = after or (lambda result: result)
    if not (processes and workers and "fork" in multiprocessing.get_all_start_methods()):
        yield from mapped(lambda item: finish(make(item)), items, workers)
        return
    staff: list[_Worker[In, Out]] = []
    idle: queue.SimpleQueue[_Worker[In, Out]] = queue.SimpleQueue()

    def ask(item: In) -> Out:
        worker = idle.get()
        try:
            return worker(item)
        finally:
            idle.put(worker)

    results: Any = mapped(lambda item: finish(ask(item)), items, workers)  # a generator, which can be closed
    try:
        for _ in range(workers):
            staff.append(_Worker(make, staff))
            idle.put(staff[-1])
        yield from results
    finally:
        for worker in staff:  # before the threads are waited for, which wait for the workers' answers
            worker.process.kill()
        results.close()
        for worker in staff:
            worker.process.join()
            with suppress(OSError):  # what a worker that has died did not take
                worker.stream.close()


class _Worker(Generic[In, Out]):
    def __init__(self, make: Callable[[In], Out], others: list[_Worker[In, Out]]) -> None:
        ends = socket.socketpair()
        self.stream, theirs = (end.makefile("rwb") for end in ends)
        for end in ends:  # open as long as its stream is
            end.close()
        # A copy of this side's end in a worker would keep the worker from noticing that this process is gone.
        ours = [self.stream, *(other.stream for other in others)]
        self.process = multiprocessing.get_context("fork").Process(
            target=_work, args=(make, theirs, ours), name="read-ahead", daemon=True
        )
        collecting = gc.isenabled()
        gc.disable()  # in the copy, until it has set aside what is not its own
        with warnings.catch_warnings():
            # Python warns of forks beside threads. Torch's own workers are such forks: they compute with one thread.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.process.start()
        if collecting:
            gc.enable()
        theirs.close()

    def __call__(self, item: In) -> Out:
        try:
            _send(self.stream, _packed(item))
            result, error, trace = _receive(self.stream)
        except _GONE as gone:
            raise self._death() from gone
        if error is not None:
            error.add_note(f"In a worker process:\n{trace}")
            raise error
        return result  # type: ignore[no-any-return]

    def _death(self) -> WorkError:
        self.process.join(5)
        code = self.process.exitcode
        how = f"by signal {-code}" if code is not None and code < 0 else f"with status {code}"
        advice = "; memory may be short: fewer workers or smaller batches need less" if code == -signal.SIGKILL else ""
        return WorkError(f"a worker process that reads ahead was ended {how}{advice}")


def _work(make: Callable[[Any], Any], own: Any, others: list[Any]) -> None:
    as_worker()
    # Garbage of the parent is never freed here: an open video would wait for its decoder's threads, which are not copied.
    gc.freeze()
    gc.enable()
    torch.set_num_threads(1)  # threads of the parent are not copied
    for end in others:
        end.close()
    while True:
        try:
            item = _receive(own)
        except _GONE:
            return
        answer: tuple[Any, Exception | None, str]
        try:
            answer = (make(item), None, "")
        except Exception as error:
            answer = (None, error.with_traceback(None), traceback.format_exc())
        try:
            message = _packed(answer)
        except Exception as error:  # whatever pickle cannot do
            lost = answer[1] or error
            message = _packed((None, WorkError(f"{type(lost).__name__}: {lost}"), answer[2] or traceback.format_exc()))
        try:
            _send(own, message)
        except OSError:
            return


class _Pickler(pickle.Pickler):
    """Pickles tensors as numpy arrays, whose bytes travel beside the pickle, in the order they have in memory."""

    def reducer_override(self, value: Any) -> Any:
        if type(value) is not Tensor or value.device.type != "cpu" or value.layout is not torch.strided:
            return NotImplemented
        order = sorted(range(value.dim()), key=lambda axis: value.stride()[axis], reverse=True)
        ordered = value.detach().permute(order).contiguous()
        array = ordered.view(-1).view(torch.uint8).numpy()
        return _tensor, (array, value.dtype, tuple(ordered.shape), tuple(np.argsort(order).tolist()))


def _tensor(array: Any, dtype: torch.dtype, shape: tuple[int, ...], order: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(array).view(dtype).view(shape).permute(order)


def _packed(value: Any) -> list[Any]:
    buffers: list[pickle.PickleBuffer] = []
    stream = io.BytesIO()
    _Pickler(stream, protocol=5, buffer_callback=buffers.append).dump(value)
    return [stream.getbuffer(), *(buffer.raw() for buffer in buffers)]


def _send(stream: Any, parts: list[Any]) -> None:
    pickle.dump([part.nbytes for part in parts], stream)
    for part in parts:
        stream.write(part)
    stream.flush()


def _receive(stream: Any) -> Any:
    """The next value. Raises one of ``_GONE`` where the other side is gone."""
    parts: list[Any] = []
    for size in pickle.load(stream):
        parts.append(np.empty(size, dtype=np.uint8))
        if stream.readinto(parts[-1]) < size:
            raise EOFError
    return pickle.loads(parts[0], buffers=parts[1:])
