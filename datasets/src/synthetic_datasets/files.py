"""Output that is either whole or not there."""

import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import InputError


@contextmanager
def staging(out: Path) -> Iterator[Path]:
    """A temporary folder inside ``out``; its files move into ``out`` on success and vanish on failure.

    All files of a data set move together, after the last is finished: a failed build leaves the former data
    set untouched and never a new train split beside an old test split. ``out`` is made where needed, and
    removed again when the build fails and it was made for it.

    Raises:
        InputError: ``out`` is a file.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; name a folder")
    made = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".building-", dir=out) as name:
            folder = Path(name)
            yield folder
            for path in sorted(folder.iterdir()):
                os.replace(path, out / path.name)
    except BaseException:
        if made and not any(out.iterdir()):
            out.rmdir()
        raise


class Sink(io.RawIOBase):
    """A file for HDF5 to write into that fails politely.

    HDF5 cannot close a file whose writes fail: it prints thousands of lines and may take the process down
    with it. Here the first failed write is kept in ``error`` and later ones are ignored, so that the file can
    be closed in peace; what is on the disk is then unusable, and whoever owns the sink must look at ``error``
    and throw the file away.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb+", buffering=0)
        self.error: OSError | None = None
        """The first failed write, or None."""

    def write(self, data: bytes | memoryview) -> int:  # type: ignore[override]
        """Write all of ``data`` (as regular files may write less at a time), or keep the error."""
        left = memoryview(data).cast("B")
        total = len(left)
        try:
            while self.error is None and len(left):
                left = left[self._file.write(left) :]
        except OSError as error:
            self.error = error
        return total

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read; beyond the end there are zeros, as after writes that were ignored."""
        got = self._file.readinto(buffer)
        buffer[got:] = bytes(len(buffer) - got)
        return len(buffer)

    def truncate(self, size: int | None = None) -> int:
        """Set the length, as ``write`` does."""
        try:
            if self.error is None:
                self._file.truncate(size)
        except OSError as error:
            self.error = error
        return size or 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The position."""
        return self._file.tell()

    def readable(self) -> bool:
        """Yes."""
        return True

    def writable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def close(self) -> None:
        """Close the file itself."""
        self._file.close()
        super().close()
