"""Images in a folder per class, read into memory whole.

::

    ROOT/train/CLASS/*.jpg
    ROOT/test/CLASS/*.jpg

``val`` or any other name will do for a split. Classes are numbered in the order of their names and must be the same in
every split. ``CIFAR-10 as JPEG`` in this layout is 60,000 files.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor

from weight_align.checkpoint import read_tensors, write_tensors
from weight_align.errors import UsageError
from weight_align.facts import Facts
from weight_align.image_reading import list_images, read_all
from weight_align.image_tensor import ImageTensor, pixel_digest

__all__ = ["class_folders", "labelled_files", "open_image_folder", "whole_number"]

_FORMAT = "weight_align.images/1"


def open_image_folder(path: str | Path, split: str, *, size: str = "", cache: str = "", name: str = "") -> ImageTensor:
    """A folder per class.

    Args:
        path: the folder of the splits.
        split: name of the split's folder.
        size: height and width that every image is resized to; needed where images differ in size.
        cache: file that keeps the decoded images of this split; it is read where it fits the names and sizes of the
            files in the folder, and written where it does not.
        name: what the set is called; the name of the folder by default.

    Raises:
        UsageError: if a folder is missing or holds no image, images differ in size and ``size`` is not given, or
            ``cache`` is a file of something else.
        BrokenImage: if an image cannot be read.
    """
    path = Path(path)
    files, labels, names = labelled_files(path, split)
    side = whole_number("size", size)
    images = _cached(Path(cache), path, files, side) if cache else read_all(path, files, side)
    return ImageTensor(images, labels, Facts(name or path.name, pixel_digest(images, labels, names), names))


def labelled_files(root: Path, folder: str) -> tuple[list[str], Tensor, tuple[str, ...]]:
    """The images in the folders of ``root/folder``, each a class: their names relative to ``root``, in the order of the
    classes, labels int64 (N,), and the names of the classes.

    Raises:
        UsageError: if a folder is missing or holds no image.
    """
    classes = class_folders(root / folder)
    listed = [list_images(root, f"{folder}/{name}") for name in classes]
    labels = torch.tensor([label for label, names in enumerate(listed) for _ in names], dtype=torch.int64)
    return [name for names in listed for name in names], labels, tuple(classes)


def class_folders(folder: Path) -> list[str]:
    """Names of the folders of the classes in a folder, in order.

    Raises:
        UsageError: if there is none.
    """
    if not folder.is_dir():
        beside = (
            sorted(entry.name for entry in folder.parent.iterdir() if entry.is_dir()) if folder.parent.is_dir() else []
        )
        said = f"; there is {', '.join(beside[:5])}" if beside else ""
        raise UsageError(f"{folder}: no such folder; expected a folder of images per class in it{said}")
    found = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not found:
        raise UsageError(f"{folder}: has no folder of a class")
    return found


def whole_number(name: str, text: str) -> int | None:
    """The positive whole number that an option says; None where it says nothing.

    Raises:
        UsageError: if it says something else.
    """
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"option {name}: expected a whole number of 1 or more, got {text!r}")
    return int(text)


def _cached(cache: Path, root: Path, names: Sequence[str], size: int | None) -> Tensor:
    listing = sha256(f"{size}\n".encode())
    for name in names:
        listing.update(f"{name}\t{os.stat(f'{root}/{name}').st_size}\n".encode())
    digest = listing.hexdigest()
    if cache.exists():
        content = read_tensors(cache, _FORMAT)
        if content["files"] == digest:
            images: Tensor = content["images"]
            return images
    images = read_all(root, names, size)
    write_tensors(cache, {"format": _FORMAT, "files": digest, "images": images})
    return images
