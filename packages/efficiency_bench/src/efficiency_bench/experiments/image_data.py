"""Labelled images and masks as chapter 5's experiments read them: generated, or real in their own layout."""

from __future__ import annotations

from typing import Any

from ..data_files import split_files
from ..index import load_index, open_fold
from .base import Context


def open_split(
    context: Context, data: str, split: str, *, fold: int = 0, generated: str = "image-set", **options: str
) -> Any:
    """The images of a split, as `weight_align` opens them.

    Args:
        context: where the data lie.
        data: name of the data set.
        split: "train" or "test".
        fold: which fold of a real set; domains are folds.
        generated: format of a generated file.
        options: of the generated format.

    Raises:
        UsageError: if there is no such file, or it holds something else.
    """
    from weight_align.image_sets import open_images

    (file,) = split_files(context.data[data], split)
    if file.suffix == ".h5":
        return open_images(file, generated, split, **options)
    folder = context.image_folder(data, file)
    return open_fold(load_index(file), file.parent if folder is None else folder, fold)
