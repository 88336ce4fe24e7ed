"""Image sets in one HDF5 file a split, as ``synthdata build shape`` and its like write them.

Attribute ``format`` = "image-set"; arrays, sample first: ``image`` u1 (S, H, W, 3), ``label`` integer (S,) with -1 for
none, ``domain`` integer (S,) 0 = source, 1 = target, ``outlier`` bool (S,). Attribute ``class_names`` is a JSON list;
``domain_names`` may be one. More arrays (the factors that made the images) are left alone.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from outlier_matching.errors import BrokenImage, UsageError
from outlier_matching.facts import Facts

__all__ = ["ImageFile", "open_image_file"]

_MEND = "build it again"
_DOMAINS = ("source", "target")


def open_image_file(path: str | Path, split: str) -> ImageFile:
    """An image-set file.

    Args:
        path: the file, or a folder that holds it as ``<split>.h5``.
        split: which file of a folder; a file that is named itself must be of this split if it says of which it is.

    Raises:
        UsageError: if the file is missing, not HDF5, damaged, not an image-set file, or of another split.
    """
    path = Path(path)
    images = ImageFile(path / f"{split}.h5" if path.is_dir() else path)
    if images.split not in (None, split):
        raise UsageError(f"{images.path}: is the {images.split} split, expected {split}")
    return images


class ImageFile:
    """An image-set file, opened when first read and once per process; threads take turns.

    Attributes:
        path: the file.
        split: which split it says it is, None where it does not.
        facts: what the file says about itself.
        labels: int64 (S,) class, -1 for none.
        domains: int64 (S,).
        outliers: bool (S,).

    Raises:
        UsageError: if the file is missing, not HDF5, damaged, or not an image-set file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file: h5py.File | None = None
        self._process = 0
        self._turn = threading.Lock()
        if not self.path.is_file():
            raise UsageError(f"{self.path}: no such file; expected an image-set HDF5 file")
        try:
            with h5py.File(self.path, "r") as file:
                _check_arrays(self.path, file)
                self._shape: tuple[int, ...] = file["image"].shape
                self.labels: NDArray[np.int64] = file["label"][()].astype(np.int64)
                self.domains: NDArray[np.int64] = file["domain"][()].astype(np.int64)
                self.outliers: NDArray[np.bool_] = file["outlier"][()].astype(bool)
                split = file.attrs.get("split")
                self.split = None if split is None else str(split)
                self.facts = _facts(self.path, file, self.labels, self.domains)
        except UsageError:
            raise
        except Exception as error:  # HDF5 reports damage as OSError, KeyError, RuntimeError, MemoryError, ...
            raise UsageError(f"{self.path}: not a readable HDF5 file ({error}); {_MEND}") from error

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_turn"} | {"_file": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _turn=threading.Lock())

    def __len__(self) -> int:
        return self._shape[0]

    def name(self, image: int) -> str:
        """Number of the image; such files name none."""
        return f"{self.path.stem}/{range(len(self))[image]:06d}"

    def image(self, image: int) -> Tensor:
        """uint8 (3, H, W).

        Raises:
            BrokenImage: if the file is damaged here.
        """
        number = range(len(self))[image]
        with self._turn:
            try:
                if (
                    self._file is None or self._process != os.getpid()
                ):  # a file must not be shared with a forked process
                    self._file = h5py.File(self.path, "r")
                    self._process = os.getpid()
                pixels = self._file["image"][number]
            except (OSError, KeyError, RuntimeError) as error:
                raise BrokenImage(self.name(number), f"is damaged in {self.path} ({error}); {_MEND}") from error
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def _check_arrays(path: Path, file: h5py.File) -> None:
    if file.attrs.get("format") != "image-set":
        raise UsageError(f"{path}: not an image-set file (its attribute 'format' is {file.attrs.get('format')!r})")
    for name, kinds in (("image", "u"), ("label", "i"), ("domain", "iu"), ("outlier", "b")):
        if name not in file or not hasattr(file[name], "dtype"):
            raise UsageError(f"{path}: array {name!r} is missing; {_MEND}")
        kind = file[name].dtype
        if kind.kind not in kinds or (name == "image" and kind != np.uint8):
            raise UsageError(f"{path}: array {name!r} has the wrong type, {kind}; {_MEND}")
    shape = file["image"].shape
    if len(shape) != 4 or shape[3] != 3 or 0 in shape:
        raise UsageError(f"{path}: expected images (S, H, W, 3), got {shape}; {_MEND}")
    for name in ("label", "domain", "outlier"):
        if file[name].shape != shape[:1]:
            raise UsageError(
                f"{path}: array {name!r} is {file[name].shape}, beside images {shape} it must be {shape[:1]}; {_MEND}"
            )


def _facts(path: Path, file: h5py.File, labels: NDArray[np.int64], domains: NDArray[np.int64]) -> Facts:
    class_names = _names(path, file, "class_names")
    count = int(domains.max()) + 1
    further = (f"domain {number}" for number in range(len(_DOMAINS), count))
    names = _names(path, file, "domain_names") if "domain_names" in file.attrs else (*_DOMAINS, *further)
    for what, values, lowest, highest in (("label", labels, -1, len(class_names)), ("domain", domains, 0, len(names))):
        wrong = np.flatnonzero((values < lowest) | (values >= highest))
        if len(wrong):
            first = int(wrong[0])
            raise UsageError(
                f"{path}: image {first} has {what} {values[first]}, expected {lowest} to {highest - 1}; {_MEND}"
            )
    return Facts(
        name=str(file.attrs.get("name", path.stem)),
        source=str(file.attrs.get("source", "unknown")),
        content_digest=str(file.attrs.get("content_digest", "")),
        class_names=class_names,
        domain_names=names,
    )


def _names(path: Path, file: h5py.File, attribute: str) -> tuple[str, ...]:
    try:
        return tuple(str(name) for name in json.loads(file.attrs[attribute]))
    except (KeyError, ValueError, TypeError) as error:
        raise UsageError(f"{path}: attribute {attribute!r} is not a JSON list ({error}); {_MEND}") from error
