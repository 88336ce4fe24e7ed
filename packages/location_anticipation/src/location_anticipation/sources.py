"""Where frames come from: a video file, a folder of images, or a camera, all read in the same way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from location_anticipation.camera import open_camera
from location_anticipation.image_folder import ImageFolder
from location_anticipation.video_reader import open_video

__all__ = ["Source", "open_source", "parse_source"]


class Source(Protocol):
    """One pass over frames of one size, converted to RGB only on request."""

    label: str
    """The source in messages."""
    name: str
    """The source in outputs."""
    width: int
    """Of an upright frame, in pixels."""
    height: int
    """Of an upright frame, in pixels."""
    rate: Fraction | None
    """Average frames per second; None where the source does not say."""
    frame_count: int | None
    """How many frames there are as the source declares it; None where it does not."""
    pixel_aspect: Fraction
    """Width of a pixel over its height."""
    damage: str | None
    """None, or why the source ended before its end; known when the iteration is over."""

    def __iter__(self) -> Iterator[Any]:
        """The frames in order, for :meth:`rgb`."""
        ...

    def rgb(self, frame: Any) -> NDArray[np.uint8]:
        """Pixels of a frame, (H, W, 3) uint8."""
        ...

    def file_name(self, index: int) -> str:
        """The image that stands for frame ``index`` in a list of images."""
        ...


def parse_source(text: str) -> Path | int:
    """``0``, ``1``, ... is a camera, unless a file or folder has this name; everything else is a path."""
    return int(text) if text.isdecimal() and not Path(text).exists() else Path(text)


@contextmanager
def open_source(source: str | Path | int) -> Iterator[Source]:
    """Open a video file, a folder of images, or camera number ``source``.

    Raises:
        UsageError: if it cannot be used; the message names it.
    """
    if isinstance(source, int):
        with open_camera(source) as camera:
            yield camera
    elif Path(source).is_dir():
        yield ImageFolder(source)
    else:
        with open_video(source) as video:
            yield video
