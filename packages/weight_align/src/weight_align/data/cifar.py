"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009) in their author's python version: ``cifar-10-batches-py/data_batch_1`` and
``cifar-100-python/train`` for example. The files are pickles; the unpickler here creates only numpy arrays, numbers and
text, so that a file of unknown origin cannot run code."""

import codecs
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from efficiency_core.errors import UsageError
from weight_align.data.dataset import DatasetInfo, ImageTensor, pixel_digest

_SIZE = 32
_RECONSTRUCT = np.zeros(0).__reduce__()[0]
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,  # the name before numpy 2
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): codecs.encode,  # Python 3 writes bytes for Python 2 this way
}


def open_cifar10(path: str | Path, split: str) -> ImageTensor:
    """CIFAR-10: 50,000 training and 10,000 test images of 10 classes, 32 x 32. Raises UsageError if there is no such
    split, or a file is missing, damaged or of another kind. ``path``: ``cifar-10-batches-py``, or the folder that
    contains it; ``split``: ``train`` or ``test``."""
    folder = _folder(Path(path), "cifar-10-batches-py", "batches.meta")
    names = {"train": [f"data_batch_{number}" for number in range(1, 6)], "test": ["test_batch"]}
    return _read("CIFAR-10", folder, _files(names, split), "labels", folder / "batches.meta", "label_names")


def open_cifar100(path: str | Path, split: str) -> ImageTensor:
    """CIFAR-100: 50,000 training and 10,000 test images of 100 (fine) classes, 32 x 32; otherwise as :func:`open_cifar10`."""
    folder = _folder(Path(path), "cifar-100-python", "meta")
    names = {"train": ["train"], "test": ["test"]}
    return _read("CIFAR-100", folder, _files(names, split), "fine_labels", folder / "meta", "fine_label_names")


def _folder(path: Path, name: str, meta: str) -> Path:
    for folder in (path, path / name):
        if (folder / meta).is_file():
            return folder
    raise UsageError(f"{path}: expected {name}, or a folder with it; {meta} is missing")


def _files(names: dict[str, list[str]], split: str) -> list[str]:
    if split not in names:
        raise UsageError(f"split must be one of {', '.join(names)}, got {split!r}")
    return names[split]


def _read(name: str, folder: Path, files: list[str], labels: str, meta: Path, class_names: str) -> ImageTensor:
    names = tuple(_text(entry) for entry in _entry(meta, read_pickle(meta), class_names))
    pixels, classes = [], []
    for path in (folder / file for file in files):
        content = read_pickle(path)
        part = np.asarray(_entry(path, content, "data"))
        label = np.asarray(_entry(path, content, labels))
        if part.dtype != np.uint8 or part.ndim != 2 or part.shape[1] != 3 * _SIZE**2:
            raise UsageError(f"{path}: expected data uint8 (N, {3 * _SIZE**2}), got {part.dtype} {part.shape}")
        if label.shape != part.shape[:1] or label.dtype.kind not in "iu":
            raise UsageError(f"{path}: expected a label for each of {len(part)} images, got {label.shape}")
        pixels.append(part)
        classes.append(label.astype(np.int64))
    images = torch.from_numpy(np.concatenate(pixels)).view(-1, 3, _SIZE, _SIZE)
    numbers = torch.from_numpy(np.concatenate(classes))
    return ImageTensor(images, numbers, DatasetInfo(name, pixel_digest(images, numbers, names), names))


def _entry(path: Path, content: dict[Any, Any], name: str) -> Any:
    for key in (name.encode(), name):
        if key in content:
            return content[key]
    raise UsageError(f"{path}: has no {name!r}; not a file of CIFAR's python version")


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _ALLOWED[module, name]


def read_pickle(path: str | Path) -> dict[Any, Any]:
    """A dictionary of arrays, numbers and text from a pickle; text of Python 2 becomes bytes. Raises UsageError if the
    file is missing or damaged, needs another class or function, or holds no dictionary."""
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    try:
        with path.open("rb") as file:
            content = _ArraysOnly(file, encoding="bytes").load()
    except Exception as error:  # a damaged pickle can raise almost anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UsageError(f"{path}: not a readable pickle of arrays ({reason})") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: expected a pickled dictionary, got {type(content).__name__}")
    return content
