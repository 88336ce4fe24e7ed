"""Reads the files that ``hdf5.write`` makes, one sample at a time, from any number of processes."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .hdf5 import FORMAT_VERSION, ContentDigest

_MEND = "build it again with synthdata build"
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError)
"""What h5py raises where the bytes of a file make no sense."""
_VERIFY_BYTES = 1 << 24
"""How much of an array ``verify`` reads at a time, about."""
_JSON_FACTS = ("config", "class_names", "domain_names", "notes", "parts", "painted_by")


class SampleFile:
    """One split of a data set: a sequence of samples, each a dict of arrays.

    Nothing is opened before the first read, and every process opens the file for itself: an instance can be
    pickled, copied to data loader workers and carried over a fork. Not for several threads at a time.

    ``facts``, indexing and all other reads raise ``InputError`` naming the file and what mends it
    where it is missing, is not HDF5, is cut short or damaged, or is a file of another kind or version.
    """

    file_format: ClassVar[str | None] = None
    """Kind of file a subclass reads; None reads any kind this package writes."""
    required: ClassVar[tuple[str, ...]] = ()
    """Arrays that must be there."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._file: h5py.File | None = None
        self._arrays: dict[str, h5py.Dataset] = {}
        self._pid = 0

    @property
    def facts(self) -> dict[str, Any]:
        """The file's attributes: ``name``, ``split``, ``source``, ``config``, ``class_names`` and others."""
        file = self._open()
        try:
            facts: dict[str, Any] = {key: _plain(value) for key, value in file.attrs.items()}
            return facts | {key: json.loads(facts[key]) for key in _JSON_FACTS if key in facts}
        except (*_DAMAGE, TypeError) as error:
            raise InputError(f"{self.path}: its attributes are damaged ({error}); {_MEND}") from error

    @property
    def arrays(self) -> dict[str, h5py.Dataset]:
        """Name -> the stored array, first axis the sample; for what reading by sample does not serve."""
        self._open()
        return self._arrays

    def read(self, name: str) -> NDArray[Any]:
        """A whole array, such as the labels of all samples.

        Raises:
            InputError: it is absent or damaged.
        """
        return self._values(name, ())

    def verify(self) -> None:
        """Make sure that the arrays still are what was written, by their content digest.

        Raises:
            InputError: they are not.
        """
        arrays = self.arrays
        digest = ContentDigest({name: (array.dtype.str, array.shape) for name, array in arrays.items()})
        for name, array in arrays.items():
            step = max(1, _VERIFY_BYTES * len(self) // max(1, array.nbytes))
            for first in range(0, len(self), step):
                digest.add(name, self._values(name, slice(first, first + step)))
        if digest.hexdigest() != self.facts["content_digest"]:
            raise InputError(f"{self.path}: its arrays are not those that were written; {_MEND}")

    def close(self) -> None:
        """Close the file in this process; a later read opens it again."""
        if self._file is not None and self._pid == os.getpid():
            self._file.close()
        self._file, self._arrays = None, {}

    def __len__(self) -> int:
        return int(next(iter(self.arrays.values())).shape[0])

    def __getitem__(self, index: int) -> dict[str, NDArray[Any]]:
        """All arrays of sample ``index``; negative counts from the end.

        Raises:
            IndexError: there is no such sample.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"{self.path}: sample {index}, but there are {len(self)}")
        return {name: self._values(name, index % len(self)) for name in self.arrays}

    def __iter__(self) -> Iterator[dict[str, NDArray[Any]]]:
        return (self[index] for index in range(len(self)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_file": None, "_arrays": {}}

    def _values(self, name: str, where: int | slice | tuple[()]) -> NDArray[Any]:
        arrays = self.arrays
        if name not in arrays:
            raise InputError(f"{self.path}: has no array {name!r}; it has {', '.join(sorted(arrays))}")
        try:
            return np.asarray(arrays[name][where])
        except _DAMAGE as error:
            raise InputError(f"{self.path}: {name} is damaged ({error}); {_MEND}") from error

    def _open(self) -> h5py.File:
        if self._file is None or self._pid != os.getpid():  # after a fork the handle is the parent's
            self._file = _open_checked(self.path, self.file_format, self.required)
            self._arrays = _arrays(self._file)
            self._pid = os.getpid()
        return self._file


class TrackVideoFile(SampleFile):
    """Videos with boxes of tracked objects. ``file[i]`` is a dict of

    - ``video`` uint8 (L, H, W), or (L, H, W, 3) in colour
    - ``boxes`` float32 (L, O, 4), x1 y1 x2 y2 in pixels, and ``present`` bool (L, O)
    - ``labels`` int64 (O,), class or -1, and ``tracks`` int64 (O,), track id or -1

    and of the generator's own factors (``direction``, ``speed``, ``source_index``, ``start``).
    """

    file_format = "track-video"
    required = ("video", "boxes", "present", "labels", "tracks")


class LabelVideoFile(SampleFile):
    """Videos of one class each, whose frames are of several kinds. ``file[i]`` is a dict of

    - ``frames`` uint8 (T, H, W)
    - ``label`` int64 (), class
    - ``kind`` uint8 (T,): 0 motion, 1 background, 2 black, 3 distractor; only motion frames show the class

    and of the generator's own factors (``target_box``, ``speed``, ``background_clip`` ...).
    """

    file_format = "label-video"
    required = ("frames", "label", "kind")


class ImageSetFile(SampleFile):
    """Images of several domains, some of them outliers. ``file[i]`` is a dict of

    - ``image`` uint8 (H, W, 3), RGB
    - ``label`` int64 (), class or -1; two images match where it is the same and not -1
    - ``domain`` int64 (): 0 source, 1 target, others further domains
    - ``outlier`` bool (): matches nothing in the source domain

    and of the generator's own factors (``shapes``, ``colour``, ``angle`` ...). ``facts["domain_names"]`` has
    the domains' names where they have any.
    """

    file_format = "image-set"
    required = ("image", "label", "domain", "outlier")


class MaskSetFile(SampleFile):
    """Images in which every pixel has a class. ``file[i]`` is a dict of

    - ``image`` uint8 (H, W, 3), RGB
    - ``mask`` uint8 (H, W), class of every pixel, 0 background; 255 on edges, to be ignored
    - ``labels`` int64 (M,), class of each thing in the picture or -1

    and of the generator's own factors (``centre``, ``colour``, ``visible`` ...).
    """

    file_format = "mask-set"
    required = ("image", "mask", "labels")


def _open_checked(path: Path, file_format: str | None, required: tuple[str, ...]) -> h5py.File:
    if not path.is_file():
        raise InputError(f"{path}: no such file; make it with synthdata build")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"{path}: not a whole HDF5 file ({error}); {_MEND}") from error
    try:
        wrong = _mistake(file, file_format, required)
    except _DAMAGE as error:
        wrong = f"damaged ({error}); {_MEND}"
    if wrong:
        file.close()
        raise InputError(f"{path}: {wrong}")
    return file


def _mistake(file: h5py.File, file_format: str | None, required: tuple[str, ...]) -> str | None:
    """What is wrong with a file and what mends it, or None."""
    kind, version = file.attrs.get("format"), file.attrs.get("format_version")
    if kind is None or (file_format is not None and kind != file_format):
        expected = file_format or "one that synthdata writes"
        return f"its format is {kind!r}, expected {expected}; name a file of that kind"
    if version != FORMAT_VERSION:
        return f"format version {version}, this package reads {FORMAT_VERSION}; {_MEND}"
    lengths = {name: array.shape[0] if array.shape else None for name, array in _arrays(file).items()}
    missing = [name for name in required if name not in lengths]
    if missing:
        return f"has no array {', '.join(missing)}; {_MEND}"
    if len(set(lengths.values())) != 1:
        return f"arrays of unequal length {lengths}; {_MEND}"
    return None


def _arrays(file: h5py.File) -> dict[str, h5py.Dataset]:
    return {name: item for name, item in file.items() if isinstance(item, h5py.Dataset)}


def _plain(value: Any) -> Any:
    """numpy's numbers as Python's, which JSON knows."""
    return value.item() if isinstance(value, np.generic) else value
