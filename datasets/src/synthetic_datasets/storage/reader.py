"""Reads the files that ``hdf5.write`` makes, one sample at a time, from any number of processes."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import h5py
from numpy.typing import NDArray

from efficiency_core.readers import ArraySpec, Hdf5File
from synthetic_datasets.storage.hdf5 import FORMAT_VERSION, ContentDigest

_MEND = "build it again with synthdata build"
_VERIFY_BYTES = 1 << 24
"""How much of an array ``verify`` reads at a time, about."""
_JSON_FACTS = ("config", "class_names", "domain_names", "notes", "parts", "painted_by")


class SampleFile(Hdf5File):
    """One split of a data set: a sequence of samples, each a dict of arrays. An instance can be pickled, copied to data
    loader workers and carried over a fork; threads may share it. Raises UsageError if the file is missing, is not HDF5,
    is cut short or damaged, or is of another kind or version."""

    file_format: ClassVar[str | None] = None
    """Kind of file a subclass reads; None reads any kind this package writes."""
    arrays: ClassVar[Mapping[str, ArraySpec]] = {}
    """Arrays that must be there."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(str(path), self.file_format, self.arrays, version=FORMAT_VERSION, mend=_MEND)
        if len({shape[:1] for shape in self.shapes.values()}) > 1:
            raise self._unusable(f"arrays of unequal length {self.shapes}")
        try:
            known = {key: json.loads(self.attributes[key]) for key in _JSON_FACTS if key in self.attributes}
        except (ValueError, TypeError) as error:
            raise self._unusable(f"its attributes are damaged ({error})") from error
        self.facts: dict[str, Any] = self.attributes | known
        """The file's attributes: ``name``, ``split``, ``source``, ``config``, ``class_names`` and others."""

    @contextmanager
    def stored(self) -> Iterator[dict[str, h5py.Dataset]]:
        """Name -> the stored array, first axis the sample; for what reading by sample does not serve. Raises UsageError
        if the file turns out to be damaged inside the block."""
        with self._opened() as file:
            yield {name: file[name] for name in self.shapes}

    def verify(self) -> None:
        """Compare the arrays with the content digest of what was written. Raises UsageError if they differ."""
        with self.stored() as arrays:
            digest = ContentDigest({name: (array.dtype.str, array.shape) for name, array in arrays.items()})
            for name, array in arrays.items():
                step = max(1, _VERIFY_BYTES * len(self) // max(1, array.nbytes))
                for first in range(0, len(self), step):
                    digest.add(name, array[first : first + step])
        if digest.hexdigest() != self.content_digest:
            raise self._unusable("its arrays are not those that were written")

    def __getitem__(self, index: int) -> dict[str, NDArray[Any]]:
        """All arrays of sample ``index``; negative counts from the end. Raises BrokenFile if the file is damaged here;
        IndexError if there is no such sample."""
        return {name: self.row(name, index) for name in self.shapes}

    def __iter__(self) -> Iterator[dict[str, NDArray[Any]]]:
        return (self[index] for index in range(len(self)))


class TrackVideoFile(SampleFile):
    """Videos with boxes of tracked objects. ``file[i]`` holds ``video`` uint8 (L, H, W), or (L, H, W, 3) in colour,
    ``boxes`` float32 (L, O, 4), x1 y1 x2 y2 in pixels, ``present`` bool (L, O), ``labels`` int64 (O,), class or -1,
    ``tracks`` int64 (O,), track id or -1, and the generator's own factors (``direction``, ``speed`` ...)."""

    file_format = "track-video"
    arrays: ClassVar[Mapping[str, ArraySpec]] = {
        "video": ArraySpec("uint8", "S L H W [3]"), "boxes": ArraySpec("float32", "S L O 4"),
        "present": ArraySpec("bool", "S L O"), "labels": ArraySpec("int64", "S O"), "tracks": ArraySpec("int64", "S O"),
    }  # fmt: skip


class LabelVideoFile(SampleFile):
    """Videos of one class each, whose frames are of several kinds. ``file[i]`` holds ``frames`` uint8 (T, H, W),
    ``label`` int64 (), ``kind`` uint8 (T,): 0 motion, 1 background, 2 black, 3 distractor (only motion frames show the
    class), and the generator's own factors (``target_box``, ``speed`` ...)."""

    file_format = "label-video"
    arrays: ClassVar[Mapping[str, ArraySpec]] = {
        "frames": ArraySpec("uint8", "S T H W"), "label": ArraySpec("int64", "S"), "kind": ArraySpec("uint8", "S T"),
    }  # fmt: skip


class ImageSetFile(SampleFile):
    """Images of several domains, some of them outliers. ``file[i]`` holds ``image`` uint8 (H, W, 3), RGB, ``label``
    int64 (), class or -1 (two images match where it is the same and not -1), ``domain`` int64 (): 0 source, 1 target,
    others further domains (named in ``facts["domain_names"]``), ``outlier`` bool (): matches nothing in the source
    domain, and the generator's own factors (``shapes``, ``colour``, ``angle`` ...)."""

    file_format = "image-set"
    arrays: ClassVar[Mapping[str, ArraySpec]] = {
        "image": ArraySpec("uint8", "S H W 3"), "label": ArraySpec("int64", "S"), "domain": ArraySpec("int64", "S"),
        "outlier": ArraySpec("bool", "S"),
    }  # fmt: skip


class MaskSetFile(SampleFile):
    """Images in which every pixel has a class. ``file[i]`` holds ``image`` uint8 (H, W, 3), RGB, ``mask`` uint8 (H, W),
    class of every pixel, 0 background, 255 on edges, to be ignored, ``labels`` int64 (M,), class of each thing in the
    picture or -1, and the generator's own factors (``centre``, ``colour``, ``visible`` ...)."""

    file_format = "mask-set"
    arrays: ClassVar[Mapping[str, ArraySpec]] = {
        "image": ArraySpec("uint8", "S H W 3"), "mask": ArraySpec("uint8", "S H W"), "labels": ArraySpec("int64", "S M"),
    }  # fmt: skip
