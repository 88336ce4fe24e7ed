"""Office-31 (Saenko et al., ECCV 2010): 31 categories in three domains, 4,110 images.

::

    ROOT/amazon|dslr|webcam/images/<class>/frame_0001.jpg

``images/`` may be missing, as in some copies. The thesis (section 4.5.1) takes dslr as source and amazon as target; its
outliers are the images of two categories, speaker and scissors. It counts 4,652 images; the three domains have 2,817,
498 and 795.
"""

from __future__ import annotations

from pathlib import Path

from outlier_matching.errors import UsageError
from outlier_matching.file_images import FileImages
from outlier_matching.image_tree import class_entries, named

__all__ = ["DOMAINS", "open_office31"]

DOMAINS = ("dslr", "amazon", "webcam")
"""Domain k, from 0: the thesis's source and target first."""


def open_office31(path: str | Path, split: str, *, outliers: str = "speaker,scissors") -> FileImages:
    """Office-31, all three domains.

    Args:
        path: its folder.
        split: ``all``, or ``train`` and ``test``: of every five images of a category in a domain the last is a test
            image. The thesis does not say which images it tested on.
        outliers: categories that the source is to be without; empty for none.

    Raises:
        UsageError: if a domain is missing or empty, or there is no such category.
    """
    path = Path(path)
    folders = []
    for number, name in enumerate(DOMAINS):
        domain = path / name
        if not domain.is_dir():
            raise UsageError(f"{domain}: no such folder; expected Office-31 as {path}/{name}/images/<class>/*.jpg")
        folders.append((domain / "images" if (domain / "images").is_dir() else domain, number))
    entries, classes = class_entries(path, folders, split, named(outliers))
    return FileImages("Office-31", path, entries, classes, DOMAINS)
