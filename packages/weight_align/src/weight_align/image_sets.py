"""Data sets by the name of their format: what training and evaluation read."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, overload

from weight_align.cifar import open_cifar10, open_cifar100
from weight_align.errors import UsageError
from weight_align.facts import Facts
from weight_align.hdf5_images import open_hdf5_images
from weight_align.hdf5_masks import open_hdf5_masks
from weight_align.image_folder import open_image_folder
from weight_align.image_tensor import ImageTensor
from weight_align.imagenet import ImageFiles, open_imagenet
from weight_align.masks import MaskSet
from weight_align.office31 import open_office31
from weight_align.voc import open_voc2012

__all__ = ["FORMATS", "MASK_FORMATS", "Facts", "ImageFiles", "ImageSet", "ImageTensor", "MaskSet", "open_images"]

ImageSet = ImageTensor | ImageFiles
"""N labelled images: one tensor in memory, or files that are read when they are asked for. Both have ``facts``, ``labels``
int64 (N,), ``size`` (height, width) and ``len``."""

FORMATS: dict[str, Callable[..., ImageSet]] = {
    "image-set": open_hdf5_images,
    "image-folder": open_image_folder,
    "cifar10": open_cifar10,
    "cifar100": open_cifar100,
    "office31": open_office31,
    "imagenet": open_imagenet,
}
"""Formats of labelled images -> the function that opens each; options are the function's keyword arguments, as text."""

MASK_FORMATS: dict[str, Callable[..., MaskSet]] = {"mask-set": open_hdf5_masks, "voc2012": open_voc2012}
"""Formats of pictures with a class for every pixel."""


@overload
def open_images(  # type: ignore[overload-overlap]
    path: str | Path, format: Literal["mask-set", "voc2012"], split: str, **options: Any
) -> MaskSet: ...


@overload
def open_images(path: str | Path, format: str, split: str, **options: Any) -> ImageSet: ...


def open_images(path: str | Path, format: str, split: str, **options: Any) -> ImageSet | MaskSet:
    """Open one split of a data set.

    Args:
        path: its folder or file.
        format: one of :data:`FORMATS` or :data:`MASK_FORMATS`; the function behind it documents the layout.
        split: ``train``, ``test``, ``val`` or what else the format has.
        options: of the format, as text or as what prints so.

    Raises:
        UsageError: if the format or an option is unknown, or the data cannot be used.
        BrokenImage: if an image that is read at once cannot be.
    """
    openers: dict[str, Callable[..., Any]] = {**FORMATS, **MASK_FORMATS}
    if format not in openers:
        raise UsageError(f"format must be one of {', '.join(openers)}, got {format!r}")
    opener = openers[format]
    known = [
        name for name, option in inspect.signature(opener).parameters.items() if option.kind is option.KEYWORD_ONLY
    ]
    for name in options:
        if name not in known:
            raise UsageError(f"format {format} has no option {name!r}; it has {', '.join(known) or 'none'}")
    opened: ImageSet | MaskSet = opener(path, split, **{name: str(value) for name, value in options.items()})
    return opened
