"""28 x 28 grey digits, ink bright on black: MNIST where it is at hand, else those of scikit-learn; splits are disjoint."""

import gzip
import logging
import math
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from efficiency_core.errors import UsageError
from synthetic_datasets.data_root import resolve_data_root
from synthetic_datasets.generators.generator import Source

CLASS_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SIDE = 28

_UNSIGNED_BYTE = 0x08
"""Number type of IDX files."""
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class DigitSet:
    """The digits one split may draw from."""

    images: NDArray[np.uint8]
    """(N, 28, 28) grey, 0 is background."""
    labels: NDArray[np.int64]
    """(N,) digit 0..9."""
    indices: NDArray[np.int64]
    """(N,) place of each image in its source: MNIST's train or t10k file, or scikit-learn's whole bundle."""

    def of_class(self, label: int) -> NDArray[np.int64]:
        """Positions (in this set, ascending) of the images of one class."""
        return cast("NDArray[np.int64]", np.flatnonzero(self.labels == label))


@dataclass(frozen=True, kw_only=True)
class Digits(Source):
    """Digits of both splits. ``parts`` is empty: a picture's number is its place in a published file."""

    splits: dict[str, DigitSet]
    """Split name -> its digits; disjoint."""


def load_digits(data_root: str | os.PathLike[str] | None = None) -> Digits:
    """MNIST where ``data_root`` (see ``resolve_data_root``) holds ``MNIST/raw``, else scikit-learn's digits. Raises
    UsageError if the folder does not exist, or ``MNIST/raw`` is incomplete or damaged. Only a folder without
    ``MNIST/raw`` falls back, with a warning to this module's logger."""
    root = resolve_data_root(data_root)
    if root is not None and (root / "MNIST" / "raw").is_dir():
        return load_mnist(root / "MNIST" / "raw")
    if root is not None:
        _LOG.warning("%s holds no MNIST/raw; using scikit-learn's handwritten digits instead of MNIST", root)
    return load_sklearn_digits()


def load_mnist(raw: Path) -> Digits:
    """MNIST from its four original files (``train-images-idx3-ubyte`` ..., each plain or ``.gz``). Raises UsageError if
    a file is missing or damaged, or images and labels do not belong together."""
    splits = {}
    for split, prefix in (("train", "train"), ("test", "t10k")):
        images_file = _find(raw, f"{prefix}-images-idx3-ubyte")
        labels_file = _find(raw, f"{prefix}-labels-idx1-ubyte")
        images, labels = read_idx(images_file, axes=3), read_idx(labels_file, axes=1)
        if images.shape[1:] != (SIDE, SIDE):
            raise UsageError(f"{images_file}: images of {images.shape[1:]} px, expected ({SIDE}, {SIDE})")
        if len(images) != len(labels):
            raise UsageError(f"{images_file}: {len(images)} images, but {len(labels)} labels in {labels_file.name}")
        missing = sorted(set(range(len(CLASS_NAMES))) - set(labels.tolist()))
        if missing or labels.max() >= len(CLASS_NAMES):
            raise UsageError(f"{labels_file}: expected every label 0..9 and no other; absent: {missing}")
        splits[split] = DigitSet(images, labels.astype(np.int64), np.arange(len(labels)))
    return Digits(
        source="mnist", credit="MNIST database of handwritten digits, Y. LeCun, C. Cortes and C. J. C. Burges",
        licence="https://creativecommons.org/licenses/by-sa/3.0/", splits=splits,
    )  # fmt: skip


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise UsageError(f"{folder}: {name} (or {name}.gz) is missing; put all four MNIST files there or remove the folder")


def read_idx(path: Path, axes: int) -> NDArray[np.uint8]:
    """Values of a file of unsigned bytes in the IDX format (http://yann.lecun.com/exdb/mnist/), plain or gzipped
    (``.gz``); read-only. The format: two zero bytes, the number type, the number of axes, their lengths as big-endian
    32-bit integers, then the values in C order. Raises UsageError if the file cannot be read, is not IDX, has another
    type or number of axes, or is shorter or longer than its header says. ``axes``: 3 for images, 1 for labels."""
    mend = "fetch the file again"
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UsageError(f"{path}: not a whole gzip file ({error}); {mend}") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from error
    header = 4 + 4 * axes
    if len(data) < header:
        raise UsageError(f"{path}: {len(data)} bytes, shorter than an IDX header of {header}; {mend}")
    want = bytes((0, 0, _UNSIGNED_BYTE, axes))
    if data[:4] != want:
        got = data[:4].hex(" ")
        raise UsageError(f"{path}: starts with {got}, an IDX file of this kind with {want.hex(' ')}; {mend}")
    shape: tuple[int, ...] = struct.unpack(f">{axes}I", data[4:header])
    expected = header + math.prod(shape)
    if len(data) != expected:
        raise UsageError(f"{path}: {len(data)} bytes, its header promises {expected} for shape {shape}; {mend}")
    return np.frombuffer(data, dtype=np.uint8, offset=header).reshape(shape)


def load_sklearn_digits() -> Digits:
    """The 1,797 digits of 8 x 8 px bundled with scikit-learn, in MNIST's form (``enlarge``). Of every class the first
    70 % in the bundle's order are train, the rest test."""
    from sklearn.datasets import load_digits as load_bundle  # a second of import that MNIST does not need

    images, labels = load_bundle(return_X_y=True)
    images, labels = images.reshape(-1, 8, 8), labels.astype(np.int64)
    by_class = [np.flatnonzero(labels == label) for label in range(len(CLASS_NAMES))]
    train = np.sort(np.concatenate([place[: int(0.7 * len(place))] for place in by_class]))
    test = np.setdiff1d(np.arange(len(labels)), train)
    large = np.stack([enlarge(image) for image in images])
    splits = {name: DigitSet(large[at], labels[at], at) for name, at in (("train", train), ("test", test))}
    credit = (
        "Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI Machine Learning "
        "Repository, doi:10.24432/C50P49, as bundled with scikit-learn"
    )
    licence = "https://creativecommons.org/licenses/by/4.0/"
    return Digits(source="sklearn-digits", credit=credit, licence=licence, splits=splits)


def enlarge(image: NDArray[np.float64]) -> NDArray[np.uint8]:
    """An 8 x 8 digit (0..16) in MNIST's form: 20 x 20 px (bicubic) in the middle of 28 x 28, 0..255."""
    grey = Image.fromarray(np.rint(image * (255 / 16)).astype(np.uint8))
    patch = np.zeros((SIDE, SIDE), np.uint8)
    patch[4:24, 4:24] = np.asarray(grey.resize((20, 20), Image.Resampling.BICUBIC))
    return patch


def resize(patch: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The digit at another size (bicubic)."""
    return np.asarray(Image.fromarray(patch).resize((side, side), Image.Resampling.BICUBIC))


def paste(frame: NDArray[np.uint8], patch: NDArray[np.uint8], x: int, y: int) -> None:
    """Draw ``patch`` into ``frame`` in place by maximum, its top left corner at (x, y); cut at the frame."""
    left, top = max(x, 0), max(y, 0)
    inside = frame[top : max(y + patch.shape[0], 0), left : max(x + patch.shape[1], 0)]
    np.maximum(inside, patch[top - y :, left - x :][: inside.shape[0], : inside.shape[1]], out=inside)
