"""Labelled videos, whatever data set they come from: what training and evaluation read, and how to open it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from full_video.breakfast import open_breakfast
from full_video.errors import UsageError
from full_video.file_videos import Facts, open_frames
from full_video.frames import FrameSource
from full_video.hmdb51 import open_hmdb51
from full_video.kinetics import open_kinetics
from full_video.label_videos import open_label_videos
from full_video.something_something import open_something_v1, open_something_v2
from full_video.text_tables import choice, whole
from full_video.ucf101 import open_ucf101
from full_video.video_lists import open_list

__all__ = ["FORMATS", "Facts", "VideoSet", "open_frames", "open_videos"]


class VideoSet(Protocol):
    """A set of labelled videos, each with its own length and size of frames. It may be handed to worker processes."""

    @property
    def facts(self) -> Facts:
        """What the set says about itself."""

    def __len__(self) -> int:
        """Number of videos."""

    def label(self, video: int, /) -> int:
        """Class of a video, from 0."""

    def name(self, video: int, /) -> str:
        """Name of a video, the same on every machine."""

    def frames(self, video: int, /) -> FrameSource:
        """Its frames; a video that cannot be read says so when they are asked for."""


FORMATS: dict[str, Callable[..., VideoSet]] = {
    "ucf101": open_ucf101,
    "hmdb51": open_hmdb51,
    "something-v1": open_something_v1,
    "something-v2": open_something_v2,
    "breakfast": open_breakfast,
    "kinetics": open_kinetics,
    "list": open_list,
    "move4mnist": open_label_videos,
}
"""Name of a format -> the function that opens it; options are the function's keyword arguments."""


def open_videos(path: str | Path, format: str, split: str, **options: Any) -> VideoSet:
    """Open one split of a data set.

    Args:
        path: its folder or file.
        format: one of :data:`FORMATS`; the function behind it documents the layout.
        split: as the data set calls it: ``train`` and ``test``, or ``validation``.
        options: of the format; whole numbers may come as text.

    Raises:
        UsageError: if the format or an option is unknown, or the data cannot be used.
    """
    opener = FORMATS[choice(format, tuple(FORMATS), "format")]
    parameters = inspect.signature(opener).parameters
    known = [name for name, parameter in parameters.items() if parameter.kind is parameter.KEYWORD_ONLY]
    for name, value in options.items():
        if name not in known:
            raise UsageError(f"format {format} has no option {name!r}; it has {', '.join(known) or 'none'}")
        if isinstance(parameters[name].default, int) and isinstance(value, str):
            options[name] = whole(value, f"format {format}", f"option {name}")
    return opener(path, split, **options)
