"""Output files appear under their final name whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from location_anticipation.errors import WorkError

__all__ = ["atomic_path"]

# What the storage answers when it cannot take the bytes. Other errors of a block are not about its output.
_STORAGE_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS})


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its name when the block ends well and is removed when it does not.

    Raises:
        WorkError: if the file cannot be written, on a full disk for example.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise _cannot_write(path, error) from error
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files private to their owner; outputs follow the user's umask as any other file does.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)
    except OSError as error:
        if error.errno in _STORAGE_ERRORS or name in (str(error.filename), str(error.filename2)):
            raise _cannot_write(path, error) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _cannot_write(path: Path, error: OSError) -> WorkError:
    return WorkError(f"{path}: cannot be written ({error.strerror or error})")
