"""The arguments that say which images a command reads."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from weight_align.errors import UsageError

if TYPE_CHECKING:
    from weight_align.image_sets import ImageSet
    from weight_align.masks import MaskSet

__all__ = ["add_data_arguments", "open_data"]


def add_data_arguments(command: argparse.ArgumentParser, split: str) -> None:
    """``DATA``, ``--format``, ``--split`` (``split`` by default) and ``--option``."""
    command.add_argument("data", metavar="DATA", type=Path, help="folder of a data set, or HDF5 file")
    command.add_argument(
        "--format",
        metavar="NAME",
        help="cifar10, cifar100, image-folder, image-set, office31 or imagenet; voc2012 or mask-set for segmentation "
        "(default: what an .h5 file says it is, or the split's file in a folder)",
    )
    command.add_argument("--split", default=split, metavar="NAME", help=f"as the data set calls it (default: {split})")
    command.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an option of the format, for example domain=amazon of office31 or size=64 of image-folder; may be repeated",
    )


def open_data(options: argparse.Namespace) -> tuple[ImageSet | None, MaskSet | None]:
    """The images that the arguments name: labelled ones, or else pictures with masks.

    Raises:
        UsageError: if they cannot be used.
    """
    from weight_align.image_sets import MASK_FORMATS, open_images

    format = options.format or _format_of(options.data, options.split)
    pairs = {}
    for text in options.option:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"--option {text}: expected KEY=VALUE")
        pairs[key] = value
    opened = open_images(options.data, format, options.split, **pairs)
    return (None, opened) if format in MASK_FORMATS else (opened, None)  # type: ignore[return-value]


def _format_of(path: Path, split: str) -> str:
    file = path / f"{split}.h5" if path.is_dir() else path
    if file.suffix.lower() not in (".h5", ".hdf5") or (path.is_dir() and not file.is_file()):
        raise UsageError(f"{path}: say which layout it has by --format (see --help)")
    if not file.is_file():
        raise UsageError(f"{file}: no such file")
    import h5py

    try:
        with h5py.File(file, "r") as opened:
            return str(opened.attrs.get("format"))
    except OSError as error:
        raise UsageError(f"{file}: not a readable HDF5 file ({error})") from error
