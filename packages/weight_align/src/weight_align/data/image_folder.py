"""Images in one folder per class, read into memory: ``ROOT/train/CLASS/*.jpg``, ``ROOT/test/CLASS/*.jpg``; a split may
have any name. Classes are numbered in the order of their names and must be the same in every split."""

import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor

from efficiency_core.checkpoint import read_tensors, write_tensors
from efficiency_core.errors import UsageError
from efficiency_core.readers import class_folders, list_images
from weight_align.data.dataset import DatasetInfo, ImageTensor, pixel_digest
from weight_align.data.decoding import read_all

_FORMAT = "weight_align.images/1"


def open_image_folder(path: str | Path, split: str, *, size: str = "", cache: str = "", name: str = "") -> ImageTensor:
    """Images in one folder per class. Raises UsageError if a folder is missing or holds no image, images differ in size
    and ``size`` is not given, or ``cache`` is another kind of file; BrokenFile if an image cannot be read.

    Args:
        path: the folder of the splits.
        split: name of the folder of the split.
        size: height and width that every image is resized to; needed where images differ in size.
        cache: file for the decoded images of this split. It is read if it fits the names, sizes and times of the files in
            the folder, and written otherwise.
        name: name of the data set; by default the name of the folder."""
    path = Path(path)
    files, labels, names = labelled_files(path, split)
    side = whole_number("size", size)
    images = _cached(Path(cache), path, files, side) if cache else read_all(path, files, side)
    return ImageTensor(images, labels, DatasetInfo(name or path.name, pixel_digest(images, labels, names), names))


def labelled_files(root: Path, folder: str) -> tuple[list[str], Tensor, tuple[str, ...]]:
    """The images in the class folders of ``root/folder``. Returns their names relative to ``root`` in the order of the
    classes, labels int64 (N,), and the names of the classes. Raises UsageError if a folder is missing or holds no
    image."""
    folders = class_folders(root / folder)
    listed = [[path.relative_to(root).as_posix() for path in list_images(each)] for each in folders]
    labels = torch.tensor([label for label, names in enumerate(listed) for _ in names], dtype=torch.int64)
    return [name for names in listed for name in names], labels, tuple(each.name for each in folders)


def whole_number(name: str, text: str) -> int | None:
    """The positive whole number in the text of an option; None for an empty text. Raises UsageError for any other text."""
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"option {name}: expected a whole number of 1 or more, got {text!r}")
    return int(text)


def _cached(cache: Path, root: Path, names: Sequence[str], size: int | None) -> Tensor:
    listing = sha256(f"{size}\n".encode())
    for name in names:
        found = os.stat(f"{root}/{name}")
        listing.update(f"{name}\t{found.st_size}\t{found.st_mtime_ns}\n".encode())
    digest = listing.hexdigest()
    if cache.exists():
        content = read_tensors(cache, _FORMAT)
        if content["files"] == digest:
            return content["images"]
    images = read_all(root, names, size)
    write_tensors(cache, {"format": _FORMAT, "files": digest, "images": images})
    return images
