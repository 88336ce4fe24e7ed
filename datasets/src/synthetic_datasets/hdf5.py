"""Writes data sets as HDF5 files: one file a split, one sample a chunk.

A chunk that is one sample (a whole video) is the unit a training reads, which makes a random read many times
faster than with the chunks HDF5 chooses itself; an array of numbers may ask for more samples a chunk. Every HDF5
library reads gzip and shuffle without a plug-in.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from .files import Sink
from .generator import Field, Sample, check_sample

FORMAT_VERSION = 1


def write(
    path: Path, samples: Iterable[Sample], count: int, layout: Mapping[str, Field], facts: Mapping[str, Any]
) -> str:
    """Write samples one after the other, never holding more than a chunk of each array, and return the file's digest.

    Args:
        path: the file to make; the caller sees to it that it is a temporary one (``files.staging``).
        samples: exactly ``count`` of them, in order.
        layout: array name -> what it is; every sample must fit.
        facts: attributes of the file; anything but a string or an integer is stored as JSON.

    Raises:
        OSError: the file cannot be written, for example because the disk is full; it is then unusable.
        ValueError: a sample does not fit the layout, or there are more or fewer than ``count``.
    """
    digest = ContentDigest({name: (field.dtype, (count, *field.shape)) for name, field in layout.items()})
    with Sink(path) as sink:
        with h5py.File(sink, "w") as file:
            columns = {name: _Column(_new_array(file, name, field, count)) for name, field in layout.items()}
            for sample in _exactly(count, samples):
                check_sample(sample, layout)
                for name, column in columns.items():
                    column.add(sample.arrays[name])
                    digest.add(name, sample.arrays[name])
                if sink.error is not None:
                    raise sink.error
            for key, value in {**facts, "content_digest": digest.hexdigest()}.items():
                file.attrs[key] = value if isinstance(value, str | int) else json.dumps(value)
        if sink.error is not None:  # the last pieces are written when the file is closed
            raise sink.error
    return digest.hexdigest()


def _new_array(file: h5py.File, name: str, field: Field, count: int) -> h5py.Dataset:
    array = file.create_dataset(
        name,
        shape=(count, *field.shape),
        dtype=field.dtype,
        chunks=(max(1, min(field.rows, count)), *field.shape),
        compression="gzip",
        compression_opts=field.gzip,
        shuffle=True,
    )
    array.attrs["description"] = field.description
    return array


class _Column:
    """An array that is written a whole chunk at a time, as a chunk written twice is compressed twice."""

    def __init__(self, array: h5py.Dataset) -> None:
        self._array = array
        # Kept, as asking HDF5 for them takes longer than to store a number.
        self._rows, self._count = array.chunks[0], len(array)
        self._first = 0
        self._held: list[NDArray[Any]] = []

    def add(self, values: NDArray[Any]) -> None:
        """Take in the next sample's values; the chunk is written with its last sample."""
        self._held.append(values)
        end = self._first + len(self._held)
        if len(self._held) == self._rows or end == self._count:
            self._array[self._first : end] = np.stack(self._held)
            self._first, self._held = end, []


def _exactly(count: int, samples: Iterable[Sample]) -> Iterable[Sample]:
    seen = 0
    for sample in samples:
        seen += 1
        if seen > count:
            raise ValueError(f"expected {count} samples, got more")
        yield sample
    if seen < count:
        raise ValueError(f"expected {count} samples, got {seen}")


class ContentDigest:
    """SHA-256 over what a file holds, whatever library version or compression wrote it; fed piece by piece.

    It is the digest of one line per array, sorted by name: ``NAME DTYPE SHAPE SHA256`` and a line feed, in
    ASCII, with numpy's dtype string (``<f4``), the shape as lengths joined by commas (``200,32,64,64``) and
    the SHA-256 of the array's little-endian bytes in C order.
    """

    def __init__(self, arrays: Mapping[str, tuple[str, tuple[int, ...]]]) -> None:
        """``arrays``: name -> (dtype string, shape) of every array of the file."""
        self._arrays = dict(sorted(arrays.items()))
        self._states = {name: hashlib.sha256() for name in self._arrays}

    def add(self, name: str, values: NDArray[Any]) -> None:
        """Take in the next values of an array, in C order."""
        self._states[name].update(np.ascontiguousarray(values, dtype=self._arrays[name][0]).tobytes())

    def hexdigest(self) -> str:
        """The digest of all that was added."""
        whole = hashlib.sha256()
        for name, (dtype, shape) in self._arrays.items():
            lengths = ",".join(str(length) for length in shape)
            whole.update(f"{name} {dtype} {lengths} {self._states[name].hexdigest()}\n".encode("ascii"))
        return whole.hexdigest()
