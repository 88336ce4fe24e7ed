"""The arguments that say which labelled videos a command reads."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from full_video.errors import UsageError

if TYPE_CHECKING:
    from full_video.video_sets import VideoSet

__all__ = ["add_data_arguments", "open_data"]


def add_data_arguments(command: argparse.ArgumentParser, split: str) -> None:
    """``DATA``, ``--format``, ``--split`` (``split`` by default) and ``--option``."""
    command.add_argument("data", metavar="DATA", type=Path, help="folder of a data set, list of videos, or HDF5 file")
    command.add_argument(
        "--format",
        metavar="NAME",
        help="ucf101, hmdb51, something-v1, something-v2, breakfast, kinetics, list or move4mnist (default: list for a "
        ".txt file, move4mnist for an .h5 file)",
    )
    command.add_argument("--split", default=split, metavar="NAME", help=f"as the data set calls it (default: {split})")
    command.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an option of the format, for example root=videos and classes=names.txt of a list; may be repeated",
    )


def open_data(options: argparse.Namespace) -> VideoSet:
    """The videos that the arguments name.

    Raises:
        UsageError: if they cannot be used.
    """
    from full_video.video_sets import open_videos

    by_suffix = {".txt": "list", ".h5": "move4mnist", ".hdf5": "move4mnist"}
    format = options.format or by_suffix.get(options.data.suffix.lower())
    if format is None:
        raise UsageError(f"{options.data}: say which layout it has by --format (see --help)")
    pairs = {}
    for text in options.option:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"--option {text}: expected KEY=VALUE")
        pairs[key] = value
    return open_videos(options.data, format, options.split, **pairs)
