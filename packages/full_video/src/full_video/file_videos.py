"""A set of videos that lie as files or folders of images: what the readers of all data sets build."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from full_video.errors import UsageError
from full_video.frame_folder import FrameFolder
from full_video.frames import FrameSource
from full_video.video_file import VideoFile

__all__ = ["Entry", "Facts", "FileVideos", "open_frames"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Facts:
    """What a set of videos says about itself."""

    name: str
    source: str
    content_digest: str
    """Changes whenever names, labels or classes do; a training is continued only on the same ones."""
    class_names: tuple[str, ...]
    """Label k, counted from 0, is ``class_names[k]``."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One video of a set."""

    name: str
    """Relative to the root of the set, with ``/``, so that it is the same on every machine."""
    label: int
    count: int | None = None
    """Number of frames where a list declares it: a folder's, or the least that a video file must have."""


class FileVideos:
    """Videos below one folder.

    A video that is missing is found when its frames are read, as a broken one, so that one lost file does not end a
    training; how many are missing is logged when the set is opened.

    Args:
        name: name of the set.
        source: where its list of videos comes from, for messages; the facts hold its last part alone.
        root: folder that the names are relative to.
        entries: the videos.
        class_names: name of class 0, 1, ...
        suffix: what is added to a name to find its file (``.webm``).
        template: names of the images of a folder, see :class:`~full_video.frame_folder.FrameFolder`.

    Raises:
        UsageError: if there is no video, or none of them exists.
    """

    def __init__(
        self,
        name: str,
        source: str,
        root: Path,
        entries: Sequence[Entry],
        class_names: Sequence[str],
        suffix: str = "",
        template: str | None = None,
    ) -> None:
        if not entries:
            raise UsageError(f"{source}: names no video")
        self.root = root
        self.entries = tuple(entries)
        self.missing = _missing([root / f"{entry.name}{suffix}" for entry in entries], source)
        self.facts = Facts(name, Path(source).name, _digest(self.entries, class_names), tuple(class_names))
        self._suffix = suffix
        self._template = template
        self._counts: dict[Path, int] = {}

    def __len__(self) -> int:
        return len(self.entries)

    def label(self, video: int) -> int:
        """Class of a video, from 0."""
        return self.entries[video].label

    def name(self, video: int) -> str:
        """Its path relative to the root."""
        return self.entries[video].name

    def frames(self, video: int) -> FrameSource:
        """Its frames, opened when they are read."""
        entry = self.entries[video]
        path = self.root / f"{entry.name}{self._suffix}"
        if path.is_file():
            return VideoFile(path, entry.name, self._counts, entry.count or 0)
        return FrameFolder(path, entry.name, self._template, entry.count)


def open_frames(path: str | Path, template: str | None = None) -> FrameSource:
    """The frames of a video file, or of a folder of images, by its path.

    Raises:
        UsageError: if there is nothing at ``path``.
    """
    path = Path(path)
    if path.is_dir():
        return FrameFolder(path, template=template)
    if not path.exists():
        raise UsageError(f"{path}: no such file; expected a video or a folder of images")
    return VideoFile(path)


def _missing(paths: Sequence[Path], source: str) -> int:
    """How many of the paths do not exist; each folder is listed once, which is faster than asking file by file."""
    listed: dict[Path, set[str]] = {}
    missing: list[Path] = []
    for path in paths:
        if path.parent not in listed:
            listed[path.parent] = set(os.listdir(path.parent)) if path.parent.is_dir() else set()
        if path.name not in listed[path.parent]:
            missing.append(path)
    if len(missing) == len(paths):
        raise UsageError(f"{source}: none of its {len(paths)} videos exists; the first should be {paths[0]}")
    if missing:
        logger.warning("%s: %d of %d videos are missing, the first is %s", source, len(missing), len(paths), missing[0])
    return len(missing)


def _digest(entries: Sequence[Entry], class_names: Sequence[str]) -> str:
    state = sha256()
    for name in class_names:
        state.update(f"{name}\n".encode())
    for entry in entries:
        state.update(f"{entry.name}\t{entry.label}\t{entry.count}\n".encode())
    return state.hexdigest()
