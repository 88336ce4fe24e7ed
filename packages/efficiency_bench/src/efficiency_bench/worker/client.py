"""The client: hands a command over to the server of its environment, which it starts if there is none."""

import fcntl
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_ATTEMPTS = 3
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_READ_BY_IMPORTS = re.compile(
    r"(ATEN|BLIS|CUBLAS|CUDA|CUDNN|GOMP|GOTO|KMP|LC|LD|MALLOC|MKL|MPL|NCCL|NUMEXPR|NVIDIA|OMP|OPENBLAS|PYTHON|PYTORCH|TORCH)_?"
    r"|LANG|VECLIB"
)
"""Beginnings of the names of environment variables that Python and libraries read when they start or are imported."""


def call(folder: str, arguments: Sequence[str]) -> int:
    """Carry out ``effbench ARGUMENTS`` in the worker of ``folder``; the exit status is 128 + n where signal n ended it."""
    place = Path(folder)
    name = server_name(os.environ)
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        for _ in range(_ATTEMPTS):
            if (owner := os.environ.get("EFFICIENCY_OWNER")) and not Path("/proc", owner).exists():
                return _failed(f"has lost its owner, process {owner}")
            with _connected(place, name) as connection:
                status = _request(connection, arguments)
            if status is not None:
                return status
    except OSError as error:
        return _failed(f"cannot be reached ({error})")
    return _failed(f"does not start; {place / name}.log says why")


def server_name(environment: Any) -> str:
    """Name of the server that a client with this environment needs: the files in the folder are NAME.sock, .lock and .log."""
    read = sorted((key, value) for key, value in environment.items() if _READ_BY_IMPORTS.match(key))
    text = json.dumps([socket.gethostname(), sys.executable, read])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _connected(folder: Path, name: str) -> socket.socket:
    """A connection to the server; a lock lets one client at a time start it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    address = f"/proc/self/fd/{handle}/{name}.sock"  # short enough for the address of a Unix socket (108 bytes)
    try:
        connection = _connect(address)
        if connection is None:
            with open(folder / f"{name}.lock", "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                connection = _connect(address)
                if connection is None:
                    _start_server(address, folder, name)
                    connection = _connect(address)
    finally:
        os.close(handle)
    if connection is None:
        raise ConnectionError("nobody listens")
    return connection


def _connect(address: str) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(address)
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    return connection


def _start_server(address: str, folder: Path, name: str) -> None:
    """Start a server on a socket that listens from now on: whoever connects waits until the server is ready."""
    Path(address).unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener, open(folder / f"{name}.log", "a") as log:
        before = os.umask(0o177)
        try:
            listener.bind(address)
        finally:
            os.umask(before)
        listener.listen(128)
        # -P: what lies in the directory of the first client is not imported by others.
        command = [sys.executable, "-P", "-m", "efficiency_bench.worker.server", str(listener.fileno())]
        subprocess.Popen(
            [*command, str(folder / f"{name}.sock")], pass_fds=[listener.fileno()], stdin=subprocess.DEVNULL,
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip


def _request(connection: socket.socket, arguments: Sequence[str]) -> int | None:
    request = {"arguments": list(arguments), "directory": os.getcwd(), "environment": dict(os.environ)}
    umask = os.umask(0)
    os.umask(umask)
    try:
        socket.send_fds(connection, [b"\n"], [0, 1, 2])
        connection.sendall(json.dumps({**request, "umask": umask}).encode() + b"\n")
        answers = connection.makefile("rb")
        if answers.readline() != b"started\n":
            return None
    except (BrokenPipeError, ConnectionResetError):
        return None
    for number in _FORWARDED:
        signal.signal(number, lambda number, _: connection.sendall(bytes([number])))
    answer = answers.readline()
    if not answer:
        return _failed("ended before the command did")
    if (status := int(answer)) == 128 + signal.SIGKILL:  # the command could not say so itself
        advice = "smaller batches or images or fewer jobs need less"
        print(f"error: killed (SIGKILL), as the system does where memory runs out; {advice}", file=sys.stderr)
    return status


def _failed(what: str) -> int:
    print(f"error: the worker {what}; EFFBENCH_WORKER= (empty) runs the command without", file=sys.stderr)
    return 1
