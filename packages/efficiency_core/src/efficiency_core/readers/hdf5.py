"""HDF5 files of one split, one sample after the other: checked when opened, read in any number of processes and threads."""

import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from efficiency_core.errors import BrokenFile, UsageError
from efficiency_core.files import why_no_file

_KINDS = {"b": "bool", "i": "int", "u": "uint", "f": "float"}  # numpy's letters for kinds of dtypes
_LEAST_CACHE = 1 << 20  # HDF5's own default, bytes
_BUSY = "another process has it open for writing (HDF5's lock); wait for its end, then start again"


@dataclass(frozen=True)
class ArraySpec:
    """What an array of a file must be."""

    type: str
    """Name of a numpy dtype (``uint8``), or the allowed kinds of dtypes as numpy's letters (``iu``, ``f``, ``b``)."""
    shape: str
    """Lengths of the axes, the sample first, for example ``S H W 3``: a number is that length; a letter is any length of at
    least 1 that all arrays of the file share, a small letter may be 0; a last axis in brackets may be missing."""
    optional: bool = False
    """Whether a file may lack the array."""


@contextmanager
def opened(path: Path, mend: str) -> Iterator[Any]:
    """The file ``path`` of h5py, opened for reading; whatever is wrong with it, also inside the block, is a
    :class:`UsageError` that advises ``mend``. A file that another process writes is not damaged, and the error says so."""
    h5py = _h5py()
    try:
        with h5py.File(path, "r") as file:
            yield file
    except UsageError:
        raise
    except BlockingIOError as error:
        raise UsageError(f"{path}: {_BUSY}") from error
    except Exception as error:  # HDF5 reports damage as OSError, KeyError, RuntimeError, MemoryError, ...
        raise UsageError(f"{path}: not a readable HDF5 file ({error}); {mend}") from error


class Hdf5File:
    """A file of one split.

    The constructor checks the file and closes it again. Samples are read from a handle that each process opens with its
    first read: the object can be pickled and carried over a fork, and threads may share it.

    Args:
        path: the file; or, where ``split`` is given, a folder that holds it as ``<split>.h5``.
        format: what the attribute ``format`` must say; None takes any file that states a format.
        arrays: the arrays that are read, by name; further arrays are not looked at.
        split: what the attribute ``split`` must say if the file has one.
        version: what the attribute ``format_version`` must say if the file has one.
        mend: what an error advises.

    Attributes:
        path: the file.
        attributes: attributes of the file, numbers as Python's own.
        shapes: shape of every array of the file, by name.
        name: of the data set; the stem of the path where the file states none.
        source: where the samples come from, ``unknown`` where the file does not say.
        content_digest: digest of the arrays, empty where the file states none.

    Raises:
        UsageError: if the file is missing, damaged, of another format, version or split, or lacks an array as asked for.
    """

    def __init__(
        self,
        path: str | Path,
        format: str | None,
        arrays: Mapping[str, ArraySpec],
        *,
        split: str | None = None,
        version: int = 1,
        mend: str = "build it again",
    ) -> None:
        path = Path(path)
        self.path = path / f"{split}.h5" if split is not None and path.is_dir() else path
        self.mend = mend
        self._file: Any = None
        self._process = 0
        self._turn = threading.Lock()
        if not self.path.is_file():
            raise UsageError(f"{self.path}: {why_no_file(self.path)}; expected {_kind(format)} (HDF5)")
        with self._opened() as file:
            self.attributes: dict[str, Any] = {
                name: value.item() if isinstance(value, np.generic) else value for name, value in file.attrs.items()
            }
            self._check_attributes(format, version, split)
            found = {name: array for name, array in file.items() if hasattr(array, "dtype")}
            self.shapes: dict[str, tuple[int, ...]] = {name: array.shape for name, array in found.items()}
            self._check_arrays(arrays, {name: array.dtype for name, array in found.items()})
            # Room for one chunk, which HDF5 would otherwise decompress again for every part of it.
            sizes = (int(np.prod(array.chunks or (1,))) * array.dtype.itemsize for array in found.values())
            self._cache = max([_LEAST_CACHE, *sizes])
        first = next((shape for name, shape in self.shapes.items() if shape and (name in arrays or not arrays)), None)
        if first is None:
            raise self._unusable("holds no samples")
        self._count = first[0]
        self.name = str(self.attributes.get("name", self.path.stem))
        self.source = str(self.attributes.get("source", "unknown"))
        self.content_digest = str(self.attributes.get("content_digest", ""))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_turn"} | {"_file": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _turn=threading.Lock())

    def __len__(self) -> int:
        return self._count

    def item_name(self, index: int) -> str:
        """Name of a sample in messages: ``<stem of the file>/<number of six digits>``."""
        return f"{self.path.stem}/{range(len(self))[index]:06d}"

    def names(self, attribute: str) -> tuple[str, ...]:
        """The names in an attribute that is a JSON list, else a :class:`UsageError`."""
        try:
            content = json.loads(self.attributes[attribute])
            if not isinstance(content, list):
                raise ValueError(f"is {content!r}")
        except (KeyError, ValueError, TypeError) as error:
            raise self._unusable(f"attribute {attribute!r} is not a JSON list ({error})") from error
        return tuple(str(name) for name in content)

    def read(self, name: str) -> NDArray[Any]:
        """A whole array, or a :class:`UsageError` if the file has no such array or is damaged."""
        if name not in self.shapes:
            raise UsageError(f"{self.path}: has no array {name!r}; it has {', '.join(sorted(self.shapes))}")
        with self._opened() as file:
            return np.asarray(file[name][()])

    def integers(self, name: str, lowest: int, highest: int | None, sample: str) -> NDArray[np.int64]:
        """A whole array of integers, none below ``lowest`` or above ``highest`` (None: no bound), as int64.

        Raises:
            UsageError: if a value is out of range (``sample`` says what a sample is, ``image`` for example), the file has no
                such array, or it is damaged.
        """
        values = self.read(name).astype(np.int64)
        wrong = np.argwhere((values < lowest) | (values > (np.iinfo(np.int64).max if highest is None else highest)))
        if len(wrong):
            place = tuple(wrong[0].tolist())
            expected = f"{lowest} or more" if highest is None else f"{lowest} to {highest}"
            raise self._unusable(f"{sample} {place[0]} has {name} {values[place]}, expected {expected}")
        return values

    def row(self, name: str, index: int, *rest: Any) -> NDArray[Any]:
        """An array's values of one sample, or the part of them that further indices of h5py choose.

        Raises:
            BrokenFile: if the file is damaged here or has gone.
            IndexError: if there is no such sample.
        """
        number = range(len(self))[index]
        try:
            with self._turn:
                if self._file is None or self._process != os.getpid():  # a forked process must not use its parent's
                    self._file = _h5py().File(self.path, "r", rdcc_nbytes=self._cache)
                    self._process = os.getpid()
                return np.asarray(self._file[name][(number, *rest)])
        except BlockingIOError as error:
            raise BrokenFile(self.item_name(number), f"cannot be read: {self.path}: {_BUSY}") from error
        except (OSError, KeyError, RuntimeError, ValueError) as error:
            raise BrokenFile(self.item_name(number), f"is damaged in {self.path} ({error}); {self.mend}") from error

    def _unusable(self, why: str) -> UsageError:
        return UsageError(f"{self.path}: {why}; {self.mend}")

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        with opened(self.path, self.mend) as file:
            yield file

    def _check_attributes(self, format: str | None, version: int, split: str | None) -> None:
        found, stated = self.attributes.get("format"), self.attributes.get("format_version", version)
        if found is None or (format is not None and found != format):
            raise self._unusable(f"not {_kind(format)} (its attribute 'format' is {found!r})")
        if stated != version:
            raise self._unusable(f"format version {stated}, expected {version}")
        own = self.attributes.get("split", split)
        if split is not None and own != split:
            raise UsageError(f"{self.path}: is the {own} split, expected {split}")

    def _check_arrays(self, arrays: Mapping[str, ArraySpec], types: Mapping[str, np.dtype[Any]]) -> None:
        lengths: dict[str, int] = {}
        for name, spec in arrays.items():
            if name not in types:
                if spec.optional:
                    continue
                raise self._unusable(f"array {name!r} is missing")
            found, shape = types[name], self.shapes[name]
            kinds = [_KINDS[letter] for letter in spec.type] if set(spec.type) <= set(_KINDS) else [spec.type]
            if found.name not in kinds and _KINDS.get(found.kind) not in kinds:
                raise self._unusable(f"array {name!r} has type {found}, expected {' or '.join(kinds)}")
            if not _fits(shape, spec.shape.split(), lengths):
                wanted = ", ".join(str(lengths.get(axis, axis)) for axis in spec.shape.split())
                raise self._unusable(f"array {name!r} has shape {shape}, expected ({wanted})")


def _fits(shape: tuple[int, ...], axes: list[str], lengths: dict[str, int]) -> bool:
    """Whether a shape is what an :class:`ArraySpec` says; lengths of axes that are met first are added to ``lengths``."""
    if axes[-1].startswith("["):
        axes = axes[:-1] + [axes[-1].strip("[]")] * (len(shape) == len(axes))
    if len(shape) != len(axes):
        return False
    for length, axis in zip(shape, axes, strict=True):
        if axis not in lengths and not axis.isdecimal() and length >= axis.isupper():
            lengths[axis] = length
        if length != (int(axis) if axis.isdecimal() else lengths.get(axis)):
            return False
    return True


def _kind(format: str | None) -> str:
    return "a file of samples" if format is None else f"{'an' if format[0] in 'aeiou' else 'a'} {format} file"


def _h5py() -> ModuleType:
    try:
        import h5py
    except ImportError as error:
        raise UsageError("HDF5 files need h5py: pip install h5py") from error
    return h5py
