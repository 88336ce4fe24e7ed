"""Images in a folder per class.

::

    ROOT[/SPLIT][/DOMAIN]/CLASS/*.jpg

Classes are numbered in the order of their names over all domains. Where ``ROOT/train`` and ``ROOT/test`` exist the
splits are what lies there; otherwise the last of every five images of a class is a test image.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from outlier_matching.errors import UsageError
from outlier_matching.file_images import Entry, FileImages, in_split
from outlier_matching.images import list_images

__all__ = ["class_entries", "named", "open_tree"]


def open_tree(path: str | Path, split: str, *, domains: str = "", outliers: str = "") -> FileImages:
    """A folder per class, of one domain or of several.

    Args:
        path: the folder.
        split: ``train``, ``test`` or ``all``.
        domains: names of the domains' folders, the source first, for example ``photo,painting``; empty: there is one
            domain and the classes lie right in the folder.
        outliers: classes that the source does not have: their images are outliers wherever they appear.

    Raises:
        UsageError: if a folder is missing or holds no image, or no class is called as ``outliers`` says.
    """
    path = Path(path)
    if not path.is_dir():
        raise UsageError(f"{path}: no such folder; expected a folder of images per class")
    own = [name for name in ("train", "test") if (path / name).is_dir()]
    roots = [path / split] if split in own else [path / name for name in own] if own and split == "all" else [path]
    if own and split not in own and split != "all":
        raise UsageError(f"{path}: has no split {split!r}; it has {', '.join(own)}")
    folders = [
        (root / name, number) for root in roots for number, name in enumerate(domains.split(",") if domains else ["."])
    ]
    names = tuple(domains.split(",")) if domains else (path.name,)
    entries, classes = class_entries(path, folders, "all" if own else split, named(outliers))
    return FileImages(path.name, path, entries, classes, names)


def class_entries(
    root: Path, folders: Sequence[tuple[Path, int]], split: str, outliers: Sequence[str]
) -> tuple[list[Entry], list[str]]:
    """The images of some (folder of classes, number of its domain), and the names of the classes.

    Raises:
        UsageError: if a folder is missing or has no class, or no class is called as ``outliers`` says.
    """
    below = []
    for folder, domain in folders:
        if not folder.is_dir():
            raise UsageError(f"{folder}: no such folder; expected a folder of images per class")
        found = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        if not found:
            raise UsageError(f"{folder}: has no folder of a class")
        below += [(path, domain) for path in found]
    classes = sorted({path.name for path, _ in below})
    for name in outliers:
        if name not in classes:
            raise UsageError(f"{root}: has no class {name!r}, which was to be of outliers; it has {', '.join(classes)}")
    entries = []
    for folder, domain in below:
        label = classes.index(folder.name)
        for number, path in enumerate(list_images(folder)):
            if in_split(number, split):
                name = path.relative_to(root).as_posix()
                entries.append(Entry(path, name, label, domain, folder.name in outliers))
    return entries, classes


def named(text: str) -> tuple[str, ...]:
    """The names in a list with commas; none in an empty one."""
    return tuple(name.strip() for name in text.split(",")) if text else ()
