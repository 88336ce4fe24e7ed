"""The server: imports, forks a child for every request, reports its exit status, and ends when nobody needs it any more."""

import atexit
import ctypes
import gc
import importlib
import io
import json
import os
import selectors
import signal
import site
import socket
import sys
import tempfile
import threading
import traceback
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, NoReturn

from efficiency_bench import experiments
from efficiency_bench.commands import PROGRAM
from efficiency_bench.records.imports import PACKAGES, package_folder, reached_modules
from efficiency_bench.records.sources import run_sources
from efficiency_core.processes import OWNER

_REQUEST_S = 30.0  # a client that connects sends its request at once
_PR_SET_PDEATHSIG = 1
_LIBRARIES = (
    "torch", "torchvision", "pandas", "matplotlib.figure", "efficiency_core.command.options", "typeguard",
    # What runs import late, where they need it.
    "torchmetrics.detection", "faster_coco_eval.core", "fvcore.nn", "safetensors.torch", "h5py", "av", "cv2",
    "sklearn.datasets", "sklearn.ensemble", "sklearn.metrics", "sklearn.svm",
)  # fmt: skip
Fingerprint = dict[str, tuple[int, int]]


def preload() -> None:
    """Import libraries, commands, experiments and every module of ours that they reach. Nothing is computed and no thread starts.

    A module whose optional library is not installed is left to the command that needs it.
    """
    of_runs = [module for name in experiments.names() for module in run_sources(experiments.module_of(name))]
    files = Path(__file__).parents[1].glob("commands/[!_]*.py")
    of_commands = reached_modules(f"efficiency_bench.commands.{file.stem}" for file in files)
    for module in [*_LIBRARIES, *of_commands, *of_runs]:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] in PACKAGES:
                raise
            print(f"{module} is not imported: {error}", flush=True)


def fingerprint() -> Fingerprint:
    """Path -> time and size of every source file of this repository's packages and of the folders of installed packages.

    Debian's Python also names folders that nothing has been installed into; one counts from when it exists.
    """
    files = [file for package in PACKAGES if (folder := package_folder(package)) for file in folder.rglob("*.py")]
    installed = [folder for folder in map(Path, site.getsitepackages()) if folder.is_dir()]
    states = {str(path): path.stat() for path in [*files, *installed]}
    return {path: (state.st_mtime_ns, state.st_size) for path, state in states.items()}


@dataclass(frozen=True)
class Request:
    """A command to carry out, as its client sent it."""

    arguments: list[str]
    """What follows `effbench`."""
    directory: str
    environment: dict[str, str]
    umask: int
    streams: list[int]
    """File descriptors of standard input, output and error."""

    def take_over(self) -> None:
        """Make this process the one that the client would have been."""
        for number, stream in enumerate(self.streams):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(self.directory)
        os.umask(self.umask)
        os.environ.clear()
        os.environ.update(self.environment)
        sys.argv = ["effbench", *self.arguments]
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(line_buffering=sys.stdout.isatty())
        tempfile.tempdir = None  # of another TMPDIR

    def carry_out(self) -> int:
        """Take over and do what the console script does; returns the exit status."""
        import numpy as np
        import torch

        self.take_over()
        # The import seeds the global generators in a process of its own; children of one server would share them.
        np.random.seed()
        torch.default_generator.seed()
        try:
            PROGRAM.command()
        except SystemExit as ended:
            return int(ended.code or 0)
        except BaseException:
            traceback.print_exc()
            return 1


class _Child(NamedTuple):
    pid: int
    exit: int
    """File descriptor that can be read when the child has ended."""
    client: socket.socket


class Server:
    """Serves the clients of one socket, which listens already.

    `path` is that of the socket's file, `sources` the `fingerprint` of what was imported. The server and its children end with
    the process whose file descriptor `owner` is, or without one the server ends after `idle_s` seconds without a request.
    """

    def __init__(
        self, listener: socket.socket, path: Path, sources: Fingerprint, owner: int | None, idle_s: float = 60.0
    ) -> None:
        self._listener, self._path, self._sources, self._owner = listener, path, sources, owner
        self._idle_s = idle_s if owner is None else None
        self._children: list[_Child] = []
        self._open = True
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ, self._accept)
        if self._owner is not None:
            self._selector.register(self._owner, selectors.EVENT_READ, self._end)

    def serve(self) -> Request | None:
        """Fork for every request. Returns None when nobody needs the server any more; in a child, the request."""
        while self._open or self._children:
            events = self._selector.select(None if self._children else self._idle_s)
            if not events:
                self._close()
            for key, _ in events:
                request: Request | None = key.data()
                if request is not None:
                    return request
        return None

    def _accept(self) -> Request | None:
        if not self._open:
            return None
        client, _ = self._listener.accept()
        if fingerprint() != self._sources:
            self._close()
            client.close()
            return None
        client.settimeout(_REQUEST_S)
        try:
            _, streams, _, _ = socket.recv_fds(client, 1, 3)
            with client.makefile("rb") as lines:
                request = Request(**json.loads(lines.readline()), streams=streams)
        except (OSError, ValueError) as error:
            print(f"a client went away before its request had come ({error})", flush=True)
            client.close()
            return None
        client.settimeout(None)
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become_child(server)
            client.close()
            return request
        with suppress(ProcessLookupError):  # it has ended already, with a group of its own
            os.setpgid(pid, pid)
        for stream in request.streams:
            os.close(stream)
        child = _Child(pid, os.pidfd_open(pid), client)
        self._children.append(child)
        self._selector.register(child.exit, selectors.EVENT_READ, partial(self._report, child))
        self._selector.register(client, selectors.EVENT_READ, partial(self._hear, child))
        with suppress(OSError):  # a client that is gone is heard of next
            client.sendall(b"started\n")
        return None

    def _become_child(self, server: int) -> None:
        os.setpgid(0, 0)  # so that its own children end with it
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # without the server nobody would hear of its end
        if os.getppid() != server:
            os.kill(os.getpid(), signal.SIGKILL)
        self._listener.close()
        for child in self._children:
            os.close(child.exit)
            child.client.close()
        self._selector.close()

    def _hear(self, child: _Child) -> None:
        """A signal that the client forwards, or the client's end, which is the child's too."""
        if child not in self._children:
            return
        try:
            signals = child.client.recv(16)
        except OSError:
            signals = b""
        for number in signals or (signal.SIGKILL,):
            os.killpg(child.pid, number)
        if not signals:
            self._selector.unregister(child.client)
            child.client.close()

    def _report(self, child: _Child) -> None:
        status = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
        self._children.remove(child)
        self._selector.unregister(child.exit)
        os.close(child.exit)
        if child.client.fileno() >= 0:
            self._selector.unregister(child.client)
            with suppress(OSError):  # nobody waits for it any more
                child.client.sendall(b"%d\n" % (status if status >= 0 else 128 - status))
            child.client.close()

    def _end(self) -> None:
        """Nobody wants the results any more: who starts the work again must not find it being done."""
        self._close()
        for child in self._children:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)

    def _close(self) -> None:
        """Take no more requests. Children come to their end."""
        if self._open:
            self._open = False
            self._selector.unregister(self._listener)
            if self._owner is not None:
                self._selector.unregister(self._owner)
            self._path.unlink()  # while it listens nobody else takes this path
            self._listener.close()


def _leave(status: int) -> NoReturn:
    """End this process as the interpreter does, but for taking apart every object, which would copy the server's memory."""
    for thread in threading.enumerate():
        if not (thread.daemon or thread is threading.current_thread()):
            thread.join()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # its reader is gone, or it is closed
            stream.flush()
    os._exit(status)


def main() -> None:
    """`python -m efficiency_bench.worker.server SOCKET PATH`: serve on a socket, given by its file descriptor, that listens."""
    listener, path = socket.socket(fileno=int(sys.argv[1])), Path(sys.argv[2])
    number = os.environ.get(OWNER)
    try:
        owner = os.pidfd_open(int(number)) if number else None
    except ProcessLookupError:
        sys.exit(f"the owner of the worker, process {number}, has ended")
    sources = fingerprint()
    preload()
    gc.collect()
    gc.freeze()  # children share these objects with the server; looking at them would copy them
    request = Server(listener, path, sources, owner).serve()
    if request is not None:
        _leave(request.carry_out())


if __name__ == "__main__":
    main()
