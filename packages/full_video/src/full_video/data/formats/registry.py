"""Formats of data sets by name. Needs no torch until a data set is opened."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from efficiency_core.errors import UsageError
from efficiency_core.readers import whole

if TYPE_CHECKING:
    from full_video.data.video_set import VideoSet

Format = Literal["ucf101", "hmdb51", "something-v1", "something-v2", "breakfast", "kinetics", "list", "move4mnist"]
FORMATS: tuple[str, ...] = get_args(Format)
_OPENERS = {
    "ucf101": "ucf_hmdb:open_ucf101",
    "hmdb51": "ucf_hmdb:open_hmdb51",
    "something-v1": "something_something:open_something_v1",
    "something-v2": "something_something:open_something_v2",
    "breakfast": "breakfast:open_breakfast",
    "kinetics": "kinetics:open_kinetics",
    "list": "video_lists:open_list",
    "move4mnist": "label_videos:LabelVideos",
}
"""Format -> module of this room and function or class that opens it; options are its keyword arguments."""


def open_videos(path: str | Path, format: str, split: str, **options: Any) -> VideoSet:
    """One split of a data set. Raises UsageError if the format or an option is unknown, or the data cannot be used.

    Args:
        path: its folder or file.
        format: one of :data:`FORMATS`; the module that reads it documents the layout.
        split: name of the split in the data set: ``train``, ``test``, ``validation``.
        options: options of the format; whole numbers may be text."""
    if format not in _OPENERS:
        raise UsageError(f"format must be one of {', '.join(FORMATS)}, got {format!r}")
    module, function = _OPENERS[format].split(":")
    opener = getattr(import_module(f"full_video.data.formats.{module}"), function)
    parameters = inspect.signature(opener).parameters
    known = [name for name, parameter in parameters.items() if parameter.kind is parameter.KEYWORD_ONLY]
    for name, value in options.items():
        if name not in known:
            raise UsageError(f"format {format} has no option {name!r}; it has {', '.join(known) or 'none'}")
        if isinstance(parameters[name].default, int) and isinstance(value, str):
            options[name] = whole(value, f"format {format}", f"option {name}")
    return opener(path, split, **options)
