"""Image sets with one file per image, which the readers of folders build."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from efficiency_core.errors import UsageError
from efficiency_core.readers import read_image
from outlier_matching.data.image_set import ImagesInfo


@dataclass(frozen=True, slots=True)
class ImageEntry:
    """One image of a set."""

    path: Path
    name: str
    """Path relative to the root of the set, with ``/``, so that it is the same on every machine."""
    label: int
    """Class, -1 for none."""
    domain: int
    outlier: bool = False
    """Whether the image matches nothing in the source domain."""


class FileImageSet:
    """An :class:`~outlier_matching.data.image_set.ImageSet` of files, which are decoded when they are read. Raises
    UsageError if there is no image. ``root``: folder it was read from; ``info`` holds only its last part."""

    def __init__(
        self, name: str, root: Path, entries: Sequence[ImageEntry], class_names: Sequence[str],
        domain_names: Sequence[str],
    ) -> None:  # fmt: skip
        if not entries:
            raise UsageError(f"{root}: {name} has no image here")
        self.entries = tuple(entries)
        self.labels = np.array([entry.label for entry in entries], dtype=np.int64)
        self.domains = np.array([entry.domain for entry in entries], dtype=np.int64)
        self.outliers = np.array([entry.outlier for entry in entries], dtype=bool)
        digest = _digest(entries, class_names, domain_names)
        self.info = ImagesInfo(name, root.name, digest, tuple(class_names), tuple(domain_names))

    def __len__(self) -> int:
        return len(self.entries)

    def name(self, image: int) -> str:
        """Path relative to the root."""
        return self.entries[image].name

    def image(self, image: int) -> Tensor:
        """uint8 (3, H, W). Raises BrokenFile if the file cannot be read."""
        entry = self.entries[image]
        return read_tensor(entry.path, entry.name)


def read_tensor(path: str | Path, name: str | None = None) -> Tensor:
    """Pixels of an image file, uint8 (3, H, W); see :func:`efficiency_core.readers.images.read_image`."""
    return torch.from_numpy(read_image(path, name)).permute(2, 0, 1).contiguous()


def in_split(number: int, split: str, every: int = 5) -> bool:
    """Whether item ``number`` (from 0) of a sorted list belongs to a split: the last of every ``every`` items is for
    testing. Raises UsageError if there is no such split."""
    if split not in ("train", "test", "all"):
        raise UsageError(f"split must be one of train, test, all, got {split!r}")
    return split == "all" or (number % every == every - 1) == (split == "test")


def _digest(entries: Sequence[ImageEntry], class_names: Sequence[str], domain_names: Sequence[str]) -> str:
    state = sha256()
    for name in (*class_names, "", *domain_names, ""):
        state.update(f"{name}\n".encode())
    for entry in entries:
        size = entry.path.stat().st_size if entry.path.is_file() else -1
        state.update(f"{entry.name}\t{size}\t{entry.label}\t{entry.domain}\t{entry.outlier}\n".encode())
    return state.hexdigest()
