"""The options that say which labelled videos a command reads. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from efficiency_core.command import Pairs
from efficiency_core.errors import UsageError
from efficiency_core.settings import parse_pairs
from full_video.data.formats.registry import Format, open_videos

if TYPE_CHECKING:
    from full_video.data.video_set import VideoSet

_BY_SUFFIX: dict[str, Format] = {".txt": "list", ".h5": "move4mnist", ".hdf5": "move4mnist"}


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """How a data set is read."""

    format: Literal["auto", Format] = "auto"
    """Layout of the data; ``auto`` is ``list`` for a .txt file and ``move4mnist`` for an .h5 file."""
    option: Pairs = ()
    """Option of the format, for example ``root=videos`` and ``classes=names.txt`` of a list; may be repeated."""


def open_data(path: Path, split: str, options: DataOptions) -> VideoSet:
    """The videos of one split; a ``UsageError`` if they cannot be used."""
    format = _BY_SUFFIX.get(path.suffix.lower()) if options.format == "auto" else options.format
    if format is None:
        raise UsageError(f"{path}: choose its layout by --format: {', '.join(get_args(Format))}")
    return open_videos(path, format, split, **parse_pairs(options.option, "--option"))
