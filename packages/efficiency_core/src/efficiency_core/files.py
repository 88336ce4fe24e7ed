"""Output files appear under their final name whole or not at all; one process at a time works in a folder."""

import errno
import glob
import hashlib
import logging
import os
import platform
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO
from zlib import crc32

from efficiency_core.errors import UsageError, WorkError
from efficiency_core.processes import alive

_log = logging.getLogger(__name__)
# What the storage answers when it cannot take the bytes, whichever library was writing them.
_STORAGE_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS})
_MENDS = {errno.ENOSPC: "; free some space", errno.EDQUOT: "; free some space", errno.EROFS: "; choose another place"}
_held: set[Path] = set()
"""Lock files of this process; the system would give it each of them again."""


def file_sha256(path: str | Path) -> str:
    """The sha256 of a file's content, as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path that takes the name ``path`` when the block ends well and is removed when it does not.

    A link stays a link; the file that it names is replaced. A file keeps its permissions. A device, a named pipe and the
    file that standard output goes to are not replaced: the bytes are written into them at the end of the block. Temporary
    paths of ``path`` that killed processes of this machine have left are removed.

    Raises:
        WorkError: if the file cannot be written, on a full disk for example. An ``OSError`` of the block counts as
            that if it names the temporary path or ``path``, or names no file and comes from the storage (no space, over
            quota, too large, input/output error, read-only); any other exception of the block passes through.
    """
    path = Path(path)
    if path.is_dir():
        raise WorkError(f"{path}: cannot be written (a folder has this name)")
    stream, target = _stream(path), Path(os.path.realpath(path))
    with writing(path):
        if stream is None:
            target.parent.mkdir(parents=True, exist_ok=True)
        folder = target.parent if stream is None else None
        start = f".{path.stem[:40]}-{_here()}."
        if folder is not None:
            _sweep(folder, start, path.suffix)
        handle, name = tempfile.mkstemp(prefix=f"{start}{os.getpid()}-", suffix=path.suffix, dir=folder)
        os.close(handle)
    temporary = Path(name)
    try:
        try:
            yield temporary
        except OSError as error:
            named = {str(file) for file in (error.filename, error.filename2) if file is not None}
            if named & {str(temporary), str(path)} if named else error.errno in _STORAGE_ERRORS:
                with writing(path):
                    raise
            raise
        with writing(path):
            if stream is None:
                temporary.chmod(_permissions(target))
                os.replace(temporary, target)
            else:
                sys.stdout.flush()
                with temporary.open("rb") as content, open(stream, "wb", closefd=stream == path) as file:
                    shutil.copyfileobj(content, file)
    finally:
        temporary.unlink(missing_ok=True)


def check_output(path: str | Path, folder: bool = False) -> None:
    """Refuse an output file, or an output folder, that could not be written after the work. Nothing is left behind.

    Raises:
        UsageError: if a folder has the name of the file or a file that of the folder, or it may not be written there.
    """
    path = Path(path)
    place = Path(os.path.realpath(path))
    try:
        if path.exists():
            mode = path.stat().st_mode
            if stat.S_ISDIR(mode) != folder:
                raise UsageError(
                    f"{path}: is a {'file; name a folder' if folder else 'folder; give the name of a file'}"
                )
            if stat.S_ISBLK(mode) or stat.S_ISSOCK(mode):
                raise UsageError(f"{path}: is a disk or a socket; give the name of a file")
            if not os.access(path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            if stat.S_ISCHR(mode) or stat.S_ISFIFO(mode):
                return
        elif place.is_symlink():
            raise UsageError(f"{path}: is a link to itself; give another name")
        nearest = place if folder else place.parent
        while not nearest.exists():
            nearest = nearest.parent
        tempfile.TemporaryFile(dir=nearest).close()
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror or error}); choose another place") from error


def why_no_file(path: str | Path) -> str:
    """What a message says of an input that is not a file."""
    path = Path(path)
    if path.is_dir():
        return "is a folder; name the file"
    return "is a pipe or a device, not a file" if path.exists() else "no such file"


@contextmanager
def locked(folder: str | Path, lock: str | Path | None = None) -> Iterator[bool]:
    """Let no other process work in ``folder`` during the block. Yields False where the storage knows no locks.

    The lock is on the file ``lock``, by default ``.lock`` in the folder; the folder of that file is made where it does not
    exist. The lock ends with the process, also where the process is killed.

    Raises:
        UsageError: if a process works in the folder; the message names it.
        WorkError: if the folder cannot be written.
    """
    folder = Path(folder)
    path = Path(os.path.realpath(lock or folder / ".lock"))
    owner = f"{os.getpid()} on {platform.node()}"
    while True:
        if path in _held:
            raise _in_use(folder, owner)
        with writing(folder):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("a+", encoding="utf-8")
        real = _lock(file, folder)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                break
        file.close()  # the process before has removed it in the meantime
    _held.add(path)
    try:
        with writing(folder):
            file.truncate(0)
            file.write(owner)
            file.flush()
        yield real
    finally:
        _held.discard(path)
        path.unlink(missing_ok=True)
        file.close()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Report an ``OSError`` of the block as a :class:`WorkError` that names the file."""
    try:
        yield
    except OSError as error:
        mend = _MENDS.get(error.errno or 0, "")
        raise WorkError(f"{path}: cannot be written ({error.strerror or error}){mend}") from error


def _stream(path: Path) -> Path | int | None:
    """What takes the bytes where ``path`` is not to be replaced: itself, or the number of a standard stream."""
    with suppress(OSError):  # there is nothing, or a stream is closed
        there = path.stat()
        if not stat.S_ISREG(there.st_mode):
            return path
        return next((number for number in (1, 2) if os.path.samestat(there, os.fstat(number))), None)
    return None


@cache
def _here() -> str:
    """Which process ids are meant: a digest of this machine's name and, on Linux, of the namespace of its processes."""
    space = Path("/proc/self/ns/pid")
    return f"{crc32(f'{platform.node()} {os.readlink(space) if space.is_symlink() else 0}'.encode()):08x}"


def _sweep(folder: Path, start: str, suffix: str) -> None:
    """Remove temporary files, named ``start``, process id, ``-``, anything and ``suffix``, of processes that are gone."""
    for file in folder.glob(f"{glob.escape(start)}*-*{glob.escape(suffix)}"):
        process = file.name[len(start) :].partition("-")[0]
        if process.isdecimal() and not alive(int(process)):
            file.unlink(missing_ok=True)


def _permissions(path: Path) -> int:
    """Those of the file, or of a new one: mkstemp makes files private to their owner, outputs follow the user's umask."""
    if path.exists():
        return stat.S_IMODE(path.stat().st_mode)
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask


def _lock(file: IO[str], folder: Path) -> bool:
    try:
        import fcntl  # not on every system

        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        with file:
            file.seek(0)
            raise _in_use(folder, file.read()) from None
    except (ImportError, OSError) as error:
        _log.warning("%s: cannot be locked (%s); make sure that no other process writes into it", folder, error)
        return False
    return True


def _in_use(folder: Path, owner: str) -> UsageError:
    return UsageError(f"{folder}: process {owner} works in this folder; wait for its end or choose another folder")
