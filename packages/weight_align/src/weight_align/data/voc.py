"""PASCAL VOC 2012's segmentation set (Everingham et al.) with the labels of SBD (Hariharan et al., ICCV 2011): folders
JPEGImages, SegmentationClass, SegmentationClassAug, and lists ImageSets/Segmentation/*.txt of 1,464 (train), 1,449 (val; the
thesis says 1,499) and 10,582 (train_aug) pictures. A line of a list is a picture's name, or the two paths of picture and mask."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from efficiency_core.errors import BrokenFile, UsageError
from efficiency_core.readers import decoding, text_lines
from weight_align.data.dataset import IGNORED, DatasetInfo
from weight_align.data.decoding import read_image

CLASS_NAMES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
_LISTS = {"train_aug": ("train_aug", "trainaug"), "trainaug": ("trainaug", "train_aug")}
_AUGMENTED = "SegmentationClassAug"


class VocImages:
    """Pictures and masks in files, decoded on demand. ``pairs``: (picture, mask), relative to ``root``. The digest in
    ``info`` is over names and sizes of the files."""

    def __init__(self, root: Path, pairs: list[tuple[str, str]]) -> None:
        self._root, self._pairs = root, pairs
        state = sha256()
        for names in pairs:
            for name in names:
                if not (root / name).is_file():
                    raise UsageError(f"{root / name}: no such file, but a list names it")
                state.update(f"{name}\t{(root / name).stat().st_size}\n".encode())
        self.info = DatasetInfo("PASCAL VOC 2012", state.hexdigest(), CLASS_NAMES)

    def __len__(self) -> int:
        return len(self._pairs)

    def pair(self, index: int) -> tuple[Tensor, Tensor]:
        """Picture uint8 (3, H, W) and mask uint8 (H, W). Raises BrokenFile if one of them cannot be read, or they do
        not fit."""
        image, mask = self._pairs[index]
        pixels = read_image(self._root / image, image)
        classes = read_mask(self._root / mask, mask)
        if pixels.shape[1:] != classes.shape:
            raise BrokenFile(image, f"is {tuple(pixels.shape[1:])} pixels, its mask {tuple(classes.shape)}")
        odd = classes[(classes >= len(CLASS_NAMES)) & (classes != IGNORED)]
        if len(odd):
            raise BrokenFile(
                image, f"its mask has class {int(odd[0])}, expected 0 to {len(CLASS_NAMES) - 1} or {IGNORED}"
            )
        return pixels, classes


def open_voc2012(path: str | Path, split: str, *, masks: str = "") -> VocImages:
    """One split of VOC 2012.
    Raises UsageError if a folder, a list or a file is missing, or a line of the list is malformed.

    Args:
        path: ``VOC2012``, or the folder that contains it or ``VOCdevkit``.
        split: name of a list: ``train``, ``val``, or ``train_aug`` (or ``trainaug``), on which the thesis trains.
        masks: folder of the masks; by default ``SegmentationClassAug`` for ``train_aug``, ``SegmentationClass`` otherwise.
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
    for number, line in text_lines(found, "a list of pictures"):
        words = line.split()
        if len(words) == 1:
            pairs.append((f"JPEGImages/{words[0]}.jpg", f"{folder}/{words[0]}.png"))
        elif len(words) == 2:
            pairs.append((words[0].lstrip("/"), words[1].lstrip("/")))
        else:
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
    """Pixel values of a PNG with a palette or in grey, uint8 (H, W). Raises BrokenFile if it cannot be read or is in
    colour."""
    with decoding(name), Image.open(path) as file:
        if file.mode not in ("P", "L"):
            raise BrokenFile(name, f"expected class numbers (a palette or grey), got mode {file.mode}")
        return torch.from_numpy(np.array(file))
