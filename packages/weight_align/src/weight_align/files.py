"""Output files appear under their final name whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from weight_align.errors import WorkError

__all__ = ["atomic_path"]

# What the storage answers when it cannot take the bytes, whichever library was writing them.
_STORAGE_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS})


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its name when the block ends well and is removed when it does not.

    Raises:
        WorkError: if the file cannot be written, on a full disk for example. An ``OSError`` of the block counts as
            that if it names the temporary path or ``path``, or names no file and comes from the storage (no space, over
            quota, too large, input/output error, read-only); any other exception of the block passes through.
    """
    path = Path(path)
    if path.is_dir():
        raise WorkError(f"{path}: cannot be written (a folder has this name)")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise _cannot_write(path, error) from error
    os.close(handle)
    temporary = Path(name)
    try:
        try:
            yield temporary
        except OSError as error:
            if _is_about(error, temporary, path):
                raise _cannot_write(path, error) from error
            raise
        try:
            # mkstemp makes files private to their owner; outputs follow the user's umask as any other file does.
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            os.replace(temporary, path)
        except OSError as error:
            raise _cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _is_about(error: OSError, temporary: Path, path: Path) -> bool:
    named = {str(name) for name in (error.filename, error.filename2) if name is not None}
    return bool(named & {str(temporary), str(path)}) if named else error.errno in _STORAGE_ERRORS


def _cannot_write(path: Path, error: OSError) -> WorkError:
    return WorkError(f"{path}: cannot be written ({error.strerror or error})")
