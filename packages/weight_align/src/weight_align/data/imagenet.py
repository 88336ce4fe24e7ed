"""ImageNet (ILSVRC 2012), ``ROOT/train/n01440764/*.JPEG`` and ``ROOT/val/n01440764/*.JPEG`` (one folder per class in
``val`` too), and other folders of classes that are too large for memory: images are read on demand."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
from torch import Tensor

from efficiency_core.errors import UsageError
from weight_align.data.dataset import DatasetInfo, chosen_digest
from weight_align.data.decoding import read_image, resized
from weight_align.data.image_folder import labelled_files, whole_number

_ATTEMPTS = 10
_AREA, _RATIO = (0.08, 1.0), (3 / 4, 4 / 3)
_MARGIN = 256 / 224


class ImageFiles:
    """N images in files of any size, shown to a network as squares of ``side`` pixels. ``names``: the files, relative
    to ``root``; ``labels``: int64 (N,). The digest in ``info`` is over names and sizes of the files, not over
    pixels."""

    def __init__(
        self, name: str, root: Path, names: Sequence[str], labels: Tensor, class_names: Sequence[str], side: int
    ) -> None:
        self.labels = labels
        self.size = (side, side)
        self._root, self._names = root, tuple(names)
        state = sha256("\n".join([*class_names, ""]).encode())
        for file, label in zip(self._names, labels.tolist(), strict=True):
            state.update(f"{file}\t{os.stat(f'{root}/{file}').st_size}\t{label}\n".encode())
        self.info = DatasetInfo(name, state.hexdigest(), tuple(class_names))

    def __len__(self) -> int:
        return len(self._names)

    def chosen(self, indices: Tensor) -> ImageFiles:
        """The images with these indices, int64 (n,), in their order."""
        part = object.__new__(ImageFiles)
        part.labels, part.size, part._root = self.labels[indices], self.size, self._root
        part._names = tuple(self._names[index] for index in indices.tolist())
        part.info = replace(self.info, content_digest=chosen_digest(self.info, indices))
        return part

    def image(self, index: int) -> Tensor:
        """An image in its own size, uint8 (3, H, W). Raises BrokenFile if it cannot be read."""
        return read_image(f"{self._root}/{self._names[index]}", self._names[index])

    def for_training(self, index: int, rng: np.random.Generator) -> Tensor:
        """A random part of an image as a square, uint8 (3, side, side): 8 to 100 % of its area, with a shape between
        3:4 and 4:3; the middle if ten draws do not fit (Inception's crop, as in torchvision's ``RandomResizedCrop``).
        Raises BrokenFile if it cannot be read."""
        image = self.image(index)
        top, left, height, width = random_part(image.shape[1], image.shape[2], rng)
        return resized(image[:, top : top + height, left : left + width], *self.size)

    def for_testing(self, index: int) -> Tensor:
        """The middle of an image as a square, uint8 (3, side, side), cut out after resizing the shorter side to 256/224
        of ``side``. Raises BrokenFile if it cannot be read."""
        image, side = self.image(index), self.size[0]
        height, width = image.shape[1:]
        short = round(side * _MARGIN)
        scale = short / min(height, width)
        image = resized(image, max(short, int(height * scale)), max(short, int(width * scale)))
        top, left = (round((length - side) / 2) for length in image.shape[1:])
        return image[:, top : top + side, left : left + side].contiguous()


def random_part(height: int, width: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Top, left, height and width of a random part of an image, see :meth:`ImageFiles.for_training`."""
    for _ in range(_ATTEMPTS):
        area = height * width * rng.uniform(*_AREA)
        ratio = math.exp(rng.uniform(math.log(_RATIO[0]), math.log(_RATIO[1])))
        wide, high = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < wide <= width and 0 < high <= height:
            return int(rng.integers(height - high + 1)), int(rng.integers(width - wide + 1)), high, wide
    wide = min(width, round(height * _RATIO[1]))
    high = min(height, round(width / _RATIO[0]))
    return (height - high) // 2, (width - wide) // 2, high, wide


def open_imagenet(path: str | Path, split: str, *, size: str = "224", name: str = "ImageNet") -> ImageFiles:
    """ImageNet, or another data set of one folder per class; no image is read yet. Raises UsageError if a folder is
    missing or holds no image.

    Args:
        path: the folder of the splits.
        split: ``train`` or ``val``, or the name of another folder.
        size: height and width of the squares."""
    path = Path(path)
    side = whole_number("size", size)
    if side is None:
        raise UsageError("option size: expected a whole number of 1 or more, got nothing")
    files, labels, classes = labelled_files(path, split)
    return ImageFiles(name, path, files, labels, classes, side)
