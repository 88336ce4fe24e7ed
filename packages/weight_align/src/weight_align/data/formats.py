"""Data sets by the name of their format."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, overload

from efficiency_core.errors import UsageError
from weight_align.data.cifar import open_cifar10, open_cifar100
from weight_align.data.dataset import ImageTensor, MaskSet, first_of_each_class
from weight_align.data.hdf5 import open_hdf5_images, open_hdf5_masks
from weight_align.data.image_folder import open_image_folder
from weight_align.data.imagenet import ImageFiles, open_imagenet
from weight_align.data.office31 import open_office31
from weight_align.data.voc import open_voc2012

ImageSet = ImageTensor | ImageFiles
"""N labelled images: one tensor in memory, or files that are read on demand. Both have ``info``, ``labels`` int64 (N,), ``size``
(height, width), ``chosen`` and ``len``."""

FORMATS: dict[str, Callable[..., ImageSet]] = {
    "image-set": open_hdf5_images, "image-folder": open_image_folder, "cifar10": open_cifar10,
    "cifar100": open_cifar100, "office31": open_office31, "imagenet": open_imagenet,
}  # fmt: skip
"""Formats of labelled images -> the function that opens each; options are its keyword arguments, as text."""

MASK_FORMATS: dict[str, Callable[..., MaskSet]] = {"mask-set": open_hdf5_masks, "voc2012": open_voc2012}
"""Formats of pictures with a class for every pixel."""


def options_of(format: str) -> list[str]:
    """Names of the options of a format. Raises UsageError if the format is unknown."""
    openers: dict[str, Callable[..., Any]] = {**FORMATS, **MASK_FORMATS}
    if format not in openers:
        raise UsageError(f"format must be one of {', '.join(openers)}, got {format!r}")
    parameters = inspect.signature(openers[format]).parameters.items()
    return [name for name, option in parameters if option.kind is option.KEYWORD_ONLY]


@overload
def open_dataset(  # type: ignore[overload-overlap]
    path: str | Path, format: Literal["mask-set", "voc2012"], split: str, **options: Any
) -> MaskSet: ...


@overload
def open_dataset(path: str | Path, format: str, split: str, **options: Any) -> ImageSet: ...


def open_dataset(path: str | Path, format: str, split: str, **options: Any) -> ImageSet | MaskSet:
    """Open one split of a data set. Raises UsageError if the format or an option is unknown, or the data cannot be
    used; BrokenFile if an image that is read at once cannot be read.

    Args:
        format: one of :data:`FORMATS` or :data:`MASK_FORMATS`; the function that opens it documents the layout.
        split: ``train``, ``test``, ``val`` or another split of the format.
        options: options of the format, as text or values."""
    known, opener = options_of(format), {**FORMATS, **MASK_FORMATS}[format]
    for name in options:
        if name not in known:
            raise UsageError(f"format {format} has no option {name!r}; it has {', '.join(known) or 'none'}")
    return opener(path, split, **{name: str(value) for name, value in options.items()})


def first_images(images: ImageSet, count: int) -> ImageSet:
    """The first ``count`` images, the same number of each class (see :func:`first_of_each_class`); 0 is all images.
    Raises UsageError if there are fewer images."""
    if not count:
        return images
    if count > len(images):
        raise UsageError(f"{images.info.name} has {len(images)} images, {count} are asked for")
    return images.chosen(first_of_each_class(images.labels, count, len(images.info.class_names)))
