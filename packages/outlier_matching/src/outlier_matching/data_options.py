"""The arguments that say which labelled images of two domains a command reads."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from outlier_matching.errors import UsageError

if TYPE_CHECKING:
    from outlier_matching.image_sets import ImageSet

__all__ = ["add_data_arguments", "open_domains"]


def add_data_arguments(command: argparse.ArgumentParser, split: str) -> None:
    """``DATA``, ``--format``, ``--split`` (``split`` by default), ``--option``, ``--source`` and ``--target``."""
    command.add_argument("data", metavar="DATA", type=Path, help="folder of a data set, or HDF5 file")
    command.add_argument(
        "--format",
        metavar="NAME",
        help="image-set, office31, pittsburgh or folder (default: image-set for an .h5 file or a folder of them)",
    )
    command.add_argument("--split", default=split, metavar="NAME", help=f"as the data set calls it (default: {split})")
    command.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an option of the format, for example domains=photo,painting of folders; may be repeated",
    )
    command.add_argument(
        "--source", default="0", metavar="DOMAIN", help="name or number of the labelled domain (default: 0)"
    )
    command.add_argument(
        "--target", metavar="DOMAIN", help="name or number of the domain to adapt to (default: 1, if there is one)"
    )


def open_domains(options: argparse.Namespace) -> tuple[ImageSet, ImageSet | None]:
    """Source without outliers, and target with them; None where the data has one domain and no other was asked for.

    Raises:
        UsageError: if they cannot be used.
    """
    from outlier_matching.image_sets import open_images, select

    path: Path = options.data
    is_file = path.suffix.lower() in (".h5", ".hdf5") or (path / f"{options.split}.h5").is_file()
    format = options.format or ("image-set" if is_file else None)
    if format is None:
        raise UsageError(f"{path}: say which layout it has by --format (see --help)")
    pairs = {}
    for text in options.option:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"--option {text}: expected KEY=VALUE")
        pairs[key] = value
    images = open_images(path, format, options.split, **pairs)
    source = select(images, domain=options.source, outliers=False)
    if options.target is None and len(images.facts.domain_names) < 2:
        return source, None
    return source, select(images, domain="1" if options.target is None else options.target)
