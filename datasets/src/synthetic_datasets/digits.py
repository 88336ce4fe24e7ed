"""Pictures of digits: MNIST where it is at hand, else the handwritten digits bundled with scikit-learn.

Both are given as 28 x 28 grey images, ink bright on black. Train and test never share a picture.
"""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .errors import InputError
from .idx import read_idx

CLASS_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SIDE = 28
DATA_ROOT_VARIABLE = "EFFICIENCY_DATA"

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


@dataclass(frozen=True)
class Digits:
    """Digits of both splits and where they come from."""

    source: str
    """``mnist`` or ``sklearn-digits``; written into every file made from them."""
    credit: str
    """Who made the pictures."""
    licence: str
    """Address of their licence."""
    splits: dict[str, DigitSet]
    """Split name -> its digits; disjoint."""

    @property
    def parts(self) -> dict[str, list[str]]:
        """None: a picture's number is its place in a published file."""
        return {}


def resolve_data_root(data_root: str | os.PathLike[str] | None) -> Path | None:
    """The folder of real data: the argument, else the ``EFFICIENCY_DATA`` variable, else none.

    Raises:
        InputError: a folder was named, by either way, that does not exist.
    """
    named_by = "--data-root"
    if data_root is None:
        data_root = os.environ.get(DATA_ROOT_VARIABLE) or None
        named_by = DATA_ROOT_VARIABLE
    if data_root is None:
        return None
    root = Path(data_root)
    if not root.is_dir():
        raise InputError(f"{named_by}: {root} is not a folder; name one that exists, or none to use scikit-learn's")
    return root


def load_digits(data_root: str | os.PathLike[str] | None = None) -> Digits:
    """MNIST where ``data_root`` (see ``resolve_data_root``) holds ``MNIST/raw``, else scikit-learn's digits.

    Raises:
        InputError: the folder does not exist, or ``MNIST/raw`` is incomplete or damaged. Only a folder
            without ``MNIST/raw`` falls back, with a warning to this module's logger.
    """
    root = resolve_data_root(data_root)
    if root is not None and (root / "MNIST" / "raw").is_dir():
        return load_mnist(root / "MNIST" / "raw")
    if root is not None:
        _LOG.warning("%s holds no MNIST/raw; using scikit-learn's handwritten digits instead of MNIST", root)
    return load_sklearn_digits()


def load_mnist(raw: Path) -> Digits:
    """MNIST from its four original files (``train-images-idx3-ubyte`` ..., each plain or ``.gz``).

    Raises:
        InputError: a file is missing or damaged, or images and labels do not belong together.
    """
    splits = {}
    for split, prefix in (("train", "train"), ("test", "t10k")):
        images_file = _find(raw, f"{prefix}-images-idx3-ubyte")
        labels_file = _find(raw, f"{prefix}-labels-idx1-ubyte")
        images, labels = read_idx(images_file, axes=3), read_idx(labels_file, axes=1)
        if images.shape[1:] != (SIDE, SIDE):
            raise InputError(f"{images_file}: images of {images.shape[1:]} px, expected ({SIDE}, {SIDE})")
        if len(images) != len(labels):
            raise InputError(f"{images_file}: {len(images)} images, but {len(labels)} labels in {labels_file.name}")
        missing = sorted(set(range(len(CLASS_NAMES))) - set(labels.tolist()))
        if missing or labels.max() >= len(CLASS_NAMES):
            raise InputError(f"{labels_file}: expected every label 0..9 and no other; absent: {missing}")
        splits[split] = DigitSet(images, labels.astype(np.int64), np.arange(len(labels)))
    credit = "MNIST database of handwritten digits, Y. LeCun, C. Cortes and C. J. C. Burges"
    return Digits("mnist", credit, "https://creativecommons.org/licenses/by-sa/3.0/", splits)


def load_sklearn_digits() -> Digits:
    """The 1,797 digits of 8 x 8 px bundled with scikit-learn, in MNIST's form (``enlarge``).

    Of every class the first 70 % in the bundle's order are train, the rest test.
    """
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
    return Digits("sklearn-digits", credit, "https://creativecommons.org/licenses/by/4.0/", splits)


def enlarge(image: NDArray[np.float64]) -> NDArray[np.uint8]:
    """An 8 x 8 digit (0..16) in MNIST's form: 20 x 20 px (bicubic) in the middle of 28 x 28, 0..255."""
    grey = Image.fromarray(np.rint(image * (255 / 16)).astype(np.uint8))
    patch = np.zeros((SIDE, SIDE), np.uint8)
    patch[4:24, 4:24] = np.asarray(grey.resize((20, 20), Image.Resampling.BICUBIC))
    return patch


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise InputError(f"{folder}: {name} (or {name}.gz) is missing; put all four MNIST files there or remove the folder")
