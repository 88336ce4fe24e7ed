"""Writes data sets as HDF5 files: one file a split, one sample a chunk, the unit a training reads (random reads are
many times faster than with HDF5's own chunks); an array of numbers may ask for more samples a chunk."""

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from synthetic_datasets.generators.generator import Field, Sample, check_sample

FORMAT_VERSION = 1


def write(
    path: Path, samples: Iterable[Sample], count: int, layout: Mapping[str, Field], facts: Mapping[str, Any]
) -> str:
    """Write samples one after the other, never holding more than a chunk of each array, and return the file's digest.
    Raises OSError if the file cannot be written, for example because the disk is full; it is then unusable. Raises
    ValueError if a sample does not fit ``layout`` (name -> array), or there are more or fewer than ``count``. ``path``:
    a temporary file (``building.staging``); ``facts``: attributes, of which all but strings and integers are stored as
    JSON."""
    digest = ContentDigest({name: (field.dtype, (count, *field.shape)) for name, field in layout.items()})
    with Sink(path) as sink:
        with h5py.File(sink, "w") as file:
            columns = {name: _Column(file, name, field, count) for name, field in layout.items()}
            seen = 0
            for seen, sample in enumerate(samples, start=1):
                if seen > count:
                    raise ValueError(f"expected {count} samples, got more")
                check_sample(sample, layout)
                for name, column in columns.items():
                    column.add(sample.arrays[name])
                    digest.add(name, sample.arrays[name])
                if sink.error is not None:
                    raise sink.error
            if seen < count:
                raise ValueError(f"expected {count} samples, got {seen}")
            for key, value in {**facts, "content_digest": digest.hexdigest()}.items():
                file.attrs[key] = value if isinstance(value, str | int) else json.dumps(value)
        if sink.error is not None:  # the last pieces are written when the file is closed
            raise sink.error
    return digest.hexdigest()


class _Column:
    """An array that is written a whole chunk at a time, as a chunk written twice is compressed twice."""

    def __init__(self, file: h5py.File, name: str, field: Field, count: int) -> None:
        self._rows, self._count, self._first = max(1, min(field.rows, count)), count, 0
        self._array = file.create_dataset(
            name, shape=(count, *field.shape), dtype=field.dtype, chunks=(self._rows, *field.shape),
            compression="gzip", compression_opts=field.gzip, shuffle=True,
        )  # fmt: skip
        self._array.attrs["description"] = field.description
        self._held: list[NDArray[Any]] = []

    def add(self, values: NDArray[Any]) -> None:
        """Take in the next sample's values; the chunk is written with its last sample."""
        self._held.append(values)
        end = self._first + len(self._held)
        if len(self._held) == self._rows or end == self._count:
            self._array[self._first : end] = np.stack(self._held)
            self._first, self._held = end, []


class Sink(io.FileIO):
    """A file for HDF5, which cannot close a file whose writes fail: it prints thousands of lines and may take the
    process down with it. Here the first failed write is kept in ``error`` and later ones are ignored; what is on the
    disk is then unusable, and whoever owns the sink must look at ``error`` and throw the file away."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self.error: OSError | None = None

    def write(self, data: bytes | memoryview) -> int:  # type: ignore[override]
        """Write all of ``data`` (as regular files may write less at a time), or keep the error."""
        left = memoryview(data).cast("B")
        total = len(left)
        try:
            while self.error is None and len(left):
                left = left[super().write(left) :]
        except OSError as error:
            self.error = error
        return total

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read; beyond the end there are zeros, as after writes that were ignored."""
        got = super().readinto(buffer)
        buffer[got:] = bytes(len(buffer) - got)
        return len(buffer)

    def truncate(self, size: int | None = None) -> int:
        try:
            if self.error is None:
                super().truncate(size)
        except OSError as error:
            self.error = error
        return size or 0


class ContentDigest:
    """SHA-256 over what a file holds, whatever library wrote it; fed piece by piece. One line per array, sorted by
    name: ``NAME DTYPE SHAPE SHA256`` and a line feed, in ASCII, with numpy's dtype string (``<f4``), the lengths joined
    by commas (``200,32,64,64``) and the SHA-256 of the little-endian bytes in C order. ``arrays``: name -> (dtype,
    shape)."""

    def __init__(self, arrays: Mapping[str, tuple[str, tuple[int, ...]]]) -> None:
        self._arrays = dict(sorted(arrays.items()))
        self._states = {name: hashlib.sha256() for name in self._arrays}

    def add(self, name: str, values: NDArray[Any]) -> None:
        """Take in the next values of an array, in C order."""
        self._states[name].update(np.ascontiguousarray(values, dtype=self._arrays[name][0]).tobytes())

    def hexdigest(self) -> str:
        whole = hashlib.sha256()
        for name, (dtype, shape) in self._arrays.items():
            lengths = ",".join(map(str, shape))
            whole.update(f"{name} {dtype} {lengths} {self._states[name].hexdigest()}\n".encode("ascii"))
        return whole.hexdigest()
