"""Frames of annotated videos that are still in their video files, by number, counted as ``detect`` counts them.

Every frame that FFmpeg decodes has the next number, whenever it is shown, and is upright by the file's display matrix.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from efficiency_core.command import reporting
from efficiency_core.errors import BrokenFile, UsageError, WorkError
from efficiency_core.files import atomic_path

if TYPE_CHECKING:
    from efficiency_core.readers.video import VideoFile

_QUALITY = 95  # of JPEG, without subsampling of colours
_MARGIN = 1.2  # frames of a video differ in size


def find_video(place: Path, name: str, file_name: str | None) -> Path | None:
    """The file of a video: ``place`` itself, or in that folder ``file_name`` or the video file called ``name``.

    Raises:
        UsageError: if several files are called so.
    """
    if place.is_file():
        return place
    if file_name is not None and (place / file_name).is_file():
        return place / file_name
    wanted = place / name
    beside = sorted(wanted.parent.iterdir()) if wanted.parent.is_dir() else []
    files = [path for path in beside if path.stem == wanted.name and path.is_file()]
    if files:
        from efficiency_core.readers.video import VIDEO_SUFFIXES  # says how to install PyAV

        files = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
    if len(files) > 1:
        raise UsageError(f"{files[0]} and {files[1]}: either may be video {name!r}; name the file of it")
    return files[0] if files else None


class VideoFrames:
    """Reads frames of video files, one file at a time and in one thread.

    Reading a file in rising order costs one pass; for other orders see :func:`extract_frames`. The object can be pickled.
    """

    def __init__(self) -> None:
        self._file: VideoFile | None = None

    def size(self, path: Path) -> tuple[int, int]:
        """(height, width) of an upright frame; BrokenFile if the video cannot be read."""
        from efficiency_core.readers.video import open_video

        with open_video(path) as video:
            return video.height, video.width

    def read(self, path: Path, index: int) -> NDArray[np.uint8]:
        """Pixels of a frame, uint8 (H, W, 3); BrokenFile if the video has no such frame."""
        from efficiency_core.readers.video import VideoFile

        if self._file is None or self._file.path != path:
            self._file = VideoFile(path, damaged=True)
        return next(self._file.at([index]))


def extract_frames(wanted: Mapping[Path, Iterable[int]], folder: Path) -> dict[Path, Path]:
    """Write frames of video files as images, each once, so that they are fast to read in any order.

    Frames of an earlier call are left as they are, also of one that was stopped; a file that has changed is another one.

    Args:
        wanted: numbers of frames, by video file.
        folder: each file gets a folder in it.

    Returns:
        the folder of each file; :func:`image_name` is the name of a frame in it.

    Raises:
        UsageError: if a file has no such frame.
        WorkError: if the frames cannot be written, or the disk has no room for them.
    """
    folders = {path: folder / _folder_name(path) for path in wanted}
    missing = {}
    for path, indices in wanted.items():
        there = set(os.listdir(folders[path])) if folders[path].is_dir() else set()
        missing[path] = [index for index in sorted(set(indices)) if image_name(index) not in there]
    left = sum(map(len, missing.values()))
    if not left:
        return folders
    frames = VideoFrames()
    with reporting(left, "frame", f"writing as images into {folder}:") as advance:
        for path, indices in missing.items():
            for index in indices:
                try:
                    pixels = frames.read(path, index)
                except BrokenFile as error:
                    raise UsageError(str(error)) from error
                with atomic_path(folders[path] / image_name(index)) as temporary:
                    Image.fromarray(pixels).save(temporary, quality=_QUALITY, subsampling=0)
                    size = temporary.stat().st_size
                if index == indices[0]:
                    _check_room(folder, left * size * _MARGIN)
                left -= 1
                advance(1)
    return folders


def image_name(index: int) -> str:
    """The file of a frame in the folder of its video."""
    return f"{index:06d}.jpg"


def _folder_name(path: Path) -> str:
    """Tells files of one name apart, and a file from what it was before it changed."""
    state = path.stat()
    known = f"{path.resolve()} {state.st_size} {state.st_mtime_ns}"
    return f"{path.stem}-{hashlib.sha256(known.encode()).hexdigest()[:8]}"


def _check_room(folder: Path, wanted: float) -> None:
    free = shutil.disk_usage(folder).free
    if wanted > free:
        raise WorkError(
            f"{folder}: the frames of the videos need about {wanted / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; "
            "make room, take fewer keyframes (--supervision.keyframe-step), or choose another folder"
        )
