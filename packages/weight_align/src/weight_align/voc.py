"""PASCAL VOC 2012's segmentation set (Everingham et al.), with the labels of SBD (Hariharan et al., ICCV 2011).

::

    ROOT[/VOCdevkit][/VOC2012]/JPEGImages/2007_000032.jpg
                               SegmentationClass/2007_000032.png       1,464 train, 1,449 val (the thesis says 1,499)
                               SegmentationClassAug/2007_000032.png    10,582 train_aug
                               ImageSets/Segmentation/train.txt, val.txt, train_aug.txt or trainaug.txt

A list has one picture a line, by its name or by the two paths of picture and mask.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from struct import error as StructError

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from weight_align.errors import BrokenImage, UsageError
from weight_align.facts import Facts
from weight_align.image_reading import read_image
from weight_align.masks import checked_pair

__all__ = ["CLASS_NAMES", "VocImages", "open_voc2012", "read_mask"]

CLASS_NAMES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
_LISTS = {"train_aug": ("train_aug", "trainaug"), "trainaug": ("trainaug", "train_aug")}
_AUGMENTED = "SegmentationClassAug"


class VocImages:
    """Pictures and masks in files, decoded when they are asked for.

    Args:
        root: folder that names are relative to.
        pairs: (picture, mask), relative to ``root``.

    Attributes:
        facts: what the set says about itself; its digest is over names and sizes of the files.
    """

    def __init__(self, root: Path, pairs: list[tuple[str, str]]) -> None:
        self._root, self._pairs = root, pairs
        state = sha256()
        for names in pairs:
            for name in names:
                if not (root / name).is_file():
                    raise UsageError(f"{root / name}: no such file, but a list names it")
                state.update(f"{name}\t{(root / name).stat().st_size}\n".encode())
        self.facts = Facts("PASCAL VOC 2012", state.hexdigest(), CLASS_NAMES)

    def __len__(self) -> int:
        return len(self._pairs)

    def pair(self, index: int) -> tuple[Tensor, Tensor]:
        """Picture uint8 (3, H, W) and mask uint8 (H, W).

        Raises:
            BrokenImage: if one of them cannot be read, or they do not fit.
        """
        image, mask = self._pairs[index]
        pixels = read_image(self._root / image, image)
        return checked_pair(image, pixels, read_mask(self._root / mask, mask), len(CLASS_NAMES))


def open_voc2012(path: str | Path, split: str, *, masks: str = "") -> VocImages:
    """One split of VOC 2012.

    Args:
        path: ``VOC2012``, or the folder that holds it or ``VOCdevkit``.
        split: name of a list: ``train``, ``val``, or ``train_aug`` (or ``trainaug``), the one the thesis trains on.
        masks: folder of the masks; ``SegmentationClassAug`` for ``train_aug`` and ``SegmentationClass`` for the others
            unless it is given.

    Raises:
        UsageError: if a folder, a list or a file is missing, or a line of the list makes no sense.
    """
    root = _root(Path(path))
    lists = root / "ImageSets" / "Segmentation"
    names = _LISTS.get(split, (split,))
    found = next((lists / f"{name}.txt" for name in names if (lists / f"{name}.txt").is_file()), None)
    if found is None:
        there = ", ".join(sorted(entry.stem for entry in lists.glob("*.txt"))) or "none"
        raise UsageError(f"{lists / f'{names[0]}.txt'}: no such list; there is {there}")
    folder = masks or (_AUGMENTED if split in _LISTS else "SegmentationClass")
    pairs = []
    for number, line in enumerate(found.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split()
        if len(words) == 1:
            pairs.append((f"JPEGImages/{words[0]}.jpg", f"{folder}/{words[0]}.png"))
        elif len(words) == 2:
            pairs.append((words[0].lstrip("/"), words[1].lstrip("/")))
        elif words:
            raise UsageError(f"{found}, line {number}: expected a name or two paths, got {line!r}")
    if not pairs:
        raise UsageError(f"{found}: names no picture")
    return VocImages(root, pairs)


def _root(path: Path) -> Path:
    for below in ("", "VOC2012", "VOCdevkit/VOC2012"):
        if (path / below / "JPEGImages").is_dir():
            return path / below
    raise UsageError(f"{path}: expected VOC2012 with its JPEGImages, or a folder with it")


def read_mask(path: Path, name: str) -> Tensor:
    """Numbers of a PNG with a palette or in grey, uint8 (H, W).

    Raises:
        BrokenImage: if it cannot be read or is in colour.
    """
    try:
        with Image.open(path) as file:
            if file.mode not in ("P", "L"):
                raise BrokenImage(name, f"expected numbers of classes (a palette or grey), got mode {file.mode}")
            return torch.from_numpy(np.array(file))
    except (OSError, ValueError, SyntaxError, IndexError, EOFError, StructError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BrokenImage(name, f"cannot be decoded ({reason})") from error
