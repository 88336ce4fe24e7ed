"""The other processes of a training on several devices. Process 0 starts them as the same command with the same arguments,
or as the same call of a function (:func:`together`); they go through the same code up to the end of the training, where they
end. Variables of a cluster's scheduler (SLURM_*, RANK) play no part."""

import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import IO, Any, TypeVar

from efficiency_core.errors import UsageError, WorkError
from efficiency_core.processes import end_with

_PLACE = "EFFICIENCY_CORE_PROCESS"
_GRACE = 20.0
"""Seconds that process 0 has to fail by itself once another has failed; a GPU can wait for the others for ever."""
_started = False
Out = TypeVar("Out")


@dataclass
class _Call:
    """A function with its arguments, which the other processes of its training call too."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    started: bool = False


_call: ContextVar[_Call | None] = ContextVar("call", default=None)


def together(function: Callable[..., Out], /, *args: Any, **kwargs: Any) -> Out:
    """``function(*args, **kwargs)``; a training on several devices inside it starts its other processes by the same call.

    For notebooks, tests, and programs that train more than once: each call trains once. On several devices, function and
    arguments must be picklable.
    """
    token = _call.set(_Call(function, args, kwargs))
    try:
        return function(*args, **kwargs)
    finally:
        _call.reset(token)


def own_place(devices: int) -> tuple[int, int]:
    """Number of this process among those of a training, and the port of process 0; both 0 where no training has started
    this process. One that was started ends when its parent does.

    Raises:
        UsageError: if it was started for another number of devices.
    """
    text = os.environ.get(_PLACE)
    if text is None or devices == 1:
        return 0, 0
    rank, count, port, parent = (int(part) for part in text.split("/"))
    end_with(parent)
    if count != devices:
        raise UsageError(f"started as one of {count} processes, but devices={devices}")
    return rank, port


class Processes:
    """Processes 1 to ``count`` - 1, started by this one; :class:`UsageError` if this program cannot be started again."""

    def __init__(self, count: int, port: int) -> None:
        global _started
        command, payload = _command()
        _started = _started or payload is None
        self._count = count
        self._stopping = False
        self._failed: list[str] = []
        self._all: list[subprocess.Popen[bytes]] = []
        for rank in range(1, count):
            environment = dict(os.environ)
            environment.setdefault("OMP_NUM_THREADS", str(threads_each(count)))
            environment[_PLACE] = f"{rank}/{count}/{port}/{os.getpid()}"
            if payload is not None:
                environment["PYTHONPATH"] = os.pathsep.join(sys.path)
            said = tempfile.TemporaryFile()  # noqa: SIM115 (the thread closes it)
            with tempfile.TemporaryFile() as given:
                given.write(payload or b"")
                given.seek(0)
                process = subprocess.Popen(
                    command, stdin=given, stdout=subprocess.DEVNULL, stderr=said, env=environment
                )
            self._all.append(process)
            threading.Thread(target=self._watch, args=(rank, process, said), daemon=True).start()

    def _watch(self, rank: int, process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
        code = process.wait()
        if code and not self._stopping:
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().split("\n")
            how = f"by signal {-code}" if code < 0 else f"with status {code} ({lines[-1].removeprefix('error: ')})"
            self._failed.append(f"process {rank + 1} of {self._count} ended {how}")
            time.sleep(_GRACE)
            if not self._stopping:
                print(f"error: {self._failed[0]}", file=sys.stderr, flush=True)
                self.stop()
                os._exit(1)
        said.close()

    def failure(self, wait: float) -> str | None:
        """How the first process that failed did, None where none fails within ``wait`` seconds."""
        until = time.monotonic() + wait
        while not self._failed and time.monotonic() < until and any(process.poll() != 0 for process in self._all):
            time.sleep(0.05)
        return self._failed[0] if self._failed else None

    def stop(self) -> None:
        self._stopping = True
        for process in self._all:
            process.kill()
        for process in self._all:
            process.wait()

    def finish(self) -> None:
        """Wait for their end, after the training. Raises :class:`WorkError` if one of them failed."""
        failure = self.failure(60.0)
        self.stop()
        if failure:
            raise WorkError(failure)


def threads_each(count: int) -> int:
    """Threads of each of ``count`` processes that share the cores."""
    return max(1, (os.cpu_count() or 1) // count)


def _command() -> tuple[list[str], bytes | None]:
    call = _call.get()
    if call is not None and not call.started:
        call.started = True
        payload = pickle.dumps((call.function, call.args, call.kwargs))
        return [sys.executable, "-c", "from efficiency_core.loop.launch import _serve; _serve()"], payload
    again, before = sys.orig_argv[1:], call is not None or _started
    if before or not again or again[-1] == "-" or hasattr(sys, "ps1") or "ipykernel" in sys.modules:
        why = "has started processes before" if before else "is interactive"
        raise UsageError(
            f"devices above 1 start this program again once for every device, but it {why}; "
            "call each training through efficiency_core.loop.launch.together"
        )
    return [sys.executable, *again], None


def _serve() -> None:
    function, args, kwargs = pickle.load(sys.stdin.buffer)
    try:
        function(*args, **kwargs)
    except (UsageError, WorkError) as error:
        sys.exit(str(error))
