"""Images that lie in files of their own: what the readers of folders build."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from torch import Tensor

from outlier_matching.errors import UsageError
from outlier_matching.facts import Facts
from outlier_matching.images import read_image

__all__ = ["SPLITS", "Entry", "FileImages", "in_split"]

SPLITS = ("train", "test", "all")
"""Splits that can be made of images in files of their own."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One image of a set."""

    path: Path
    name: str
    """Relative to the root of the set, with ``/``, so that it is the same on every machine."""
    label: int
    domain: int
    outlier: bool = False


class FileImages:
    """Images in files, decoded when they are asked for.

    Args:
        name: name of the set.
        source: folder it was read from, for messages; the facts hold its last part alone.
        entries: the images.
        class_names: name of class 0, 1, ...
        domain_names: name of domain 0, 1, ...

    Attributes:
        facts: what the set says about itself.
        labels: int64 (S,) class, -1 for none.
        domains: int64 (S,).
        outliers: bool (S,).

    Raises:
        UsageError: if there is no image.
    """

    def __init__(
        self,
        name: str,
        source: Path,
        entries: Sequence[Entry],
        class_names: Sequence[str],
        domain_names: Sequence[str],
    ) -> None:
        if not entries:
            raise UsageError(f"{source}: {name} has no image here")
        self.entries = tuple(entries)
        self.labels = np.array([entry.label for entry in entries], dtype=np.int64)
        self.domains = np.array([entry.domain for entry in entries], dtype=np.int64)
        self.outliers = np.array([entry.outlier for entry in entries], dtype=bool)
        self.facts = Facts(
            name, source.name, _digest(entries, class_names, domain_names), tuple(class_names), tuple(domain_names)
        )

    def __len__(self) -> int:
        return len(self.entries)

    def name(self, image: int) -> str:
        """Its path relative to the root."""
        return self.entries[image].name

    def image(self, image: int) -> Tensor:
        """uint8 (3, H, W).

        Raises:
            BrokenImage: if the file cannot be read.
        """
        entry = self.entries[image]
        return read_image(entry.path, entry.name)


def in_split(number: int, split: str, every: int = 5) -> bool:
    """Whether item ``number`` (from 0) of a sorted list is of ``split``: the last of every ``every`` is a test item.

    Raises:
        UsageError: if there is no such split.
    """
    if split not in SPLITS:
        raise UsageError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    return split == "all" or (number % every == every - 1) == (split == "test")


def _digest(entries: Sequence[Entry], class_names: Sequence[str], domain_names: Sequence[str]) -> str:
    state = sha256()
    for name in (*class_names, "", *domain_names, ""):
        state.update(f"{name}\n".encode())
    for entry in entries:
        size = entry.path.stat().st_size if entry.path.is_file() else -1
        state.update(f"{entry.name}\t{size}\t{entry.label}\t{entry.domain}\t{entry.outlier}\n".encode())
    return state.hexdigest()
