"""Data sets by the name of their format."""

import inspect
from collections.abc import Callable
from pathlib import Path

from efficiency_core.errors import UsageError
from outlier_matching.data.class_folders import open_class_folders, open_office31
from outlier_matching.data.hdf5_set import HDF5ImageSet
from outlier_matching.data.image_set import ImageSet
from outlier_matching.data.pittsburgh import open_pittsburgh

FORMATS: dict[str, Callable[..., ImageSet]] = {
    "image-set": HDF5ImageSet, "office31": open_office31, "pittsburgh": open_pittsburgh, "folder": open_class_folders,
}  # fmt: skip
"""Name of a format -> function that opens it. Options of the format are the function's keyword arguments."""


def open_images(path: str | Path, format: str, split: str, **options: str) -> ImageSet:
    """Open one split of a data set. Raises UsageError if the format or an option is unknown, or the data cannot be
    used.

    Args:
        format: one of :data:`FORMATS`; its function documents the layout.
        split: ``train`` or ``test``, or ``all`` for formats with one file per image.
        options: options of the format, as text."""
    if format not in FORMATS:
        raise UsageError(f"format must be one of {', '.join(FORMATS)}, got {format!r}")
    parameters = inspect.signature(FORMATS[format]).parameters
    known = [name for name, option in parameters.items() if option.kind is option.KEYWORD_ONLY]
    for name in options:
        if name not in known:
            raise UsageError(f"format {format} has no option {name!r}; it has {', '.join(known) or 'none'}")
    return FORMATS[format](path, split, **options)
