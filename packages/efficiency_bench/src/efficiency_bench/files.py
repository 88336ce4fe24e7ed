"""Files that appear under their name whole or not at all.

What is written goes to a temporary name in the same folder and is renamed with `os.replace` at the end, so a
reader never sees half a file and a failed writer leaves an older file untouched.
"""

import errno
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import WorkError

# What the storage answers when it cannot take the bytes, whichever library was writing them.
_STORAGE_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS})


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well, it becomes `path`.

    The temporary name keeps the suffix of `path`, for writers that choose the format by it, and begins with a
    dot. Missing parent folders are made. Whatever ends the block early, the temporary file is removed.

    Raises:
        WorkError: the folder, the file or the renaming was refused (full disk, no permission, a folder in the
            way), or the block wrote nothing. Any other exception of the block passes through unchanged.
    """
    target = Path(path)
    if target.is_dir():
        raise WorkError(f"could not write {target}: a folder has this name; give the name of a file")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(target, error) from error
    temporary = target.with_name(f".{target.stem}.{secrets.token_hex(4)}.tmp{target.suffix}")
    try:
        yield temporary
        if not temporary.exists():
            raise WorkError(f"could not write {target}: nothing was written to the temporary file")
        try:
            os.replace(temporary, target)
        except OSError as error:
            raise _cannot_write(target, error) from error
    except OSError as error:
        if error.errno in _STORAGE_ERRORS or _names(error, temporary):
            raise _cannot_write(target, error) from error
        raise
    finally:
        if os.path.exists(temporary):  # asked first: on a read-only disk even removing nothing is an error
            temporary.unlink()


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` to `path` in UTF-8, whole or not at all. Raises `WorkError` where it cannot be written."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` to `path` as indented JSON, whole or not at all.

    Raises:
        WorkError: the file cannot be written, or `value` holds what JSON cannot (NaN, infinity, an object).
    """
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise WorkError(f"could not write {path}: its content is not valid JSON ({error})") from error
    write_text(path, text + "\n")


def _names(error: OSError, temporary: Path) -> bool:
    return any(name is not None and str(name) == str(temporary) for name in (error.filename, error.filename2))


def _cannot_write(target: Path, error: OSError) -> WorkError:
    reason = os.strerror(error.errno) if error.errno else str(error)
    return WorkError(f"could not write {target}: {reason}")
