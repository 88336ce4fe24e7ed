"""A set of videos that are files or folders of images: what the readers of most data sets make."""

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from efficiency_core.errors import UsageError
from full_video.data.frame_folder import FrameFolder, check_names
from full_video.data.video_file import VideoFile
from full_video.data.video_set import VideoSetInfo
from full_video.networks.frames import FrameSource

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """One video of a set."""

    name: str
    """Path relative to the root of the set, with ``/``, so that it is the same on every machine."""
    label: int
    """Class, from 0."""
    count: int | None = None
    """Number of frames if a list declares it: of a folder exactly, of a video file at least."""


class FileVideos:
    """Videos below one folder.

    A missing video is reported as broken when its frames are read, so that one lost file does not end a training. The
    number of missing videos is logged when the set is opened. Raises UsageError if there is no video, none of them exists,
    or the first one is a folder whose frames cannot be told from its other images.

    Args:
        source: origin of the list of videos, for messages; ``info`` holds its last part alone.
        suffix: added to a name to find its file (``.webm``).
        template: names of the images of a folder, see :class:`~full_video.data.frame_folder.FrameFolder`."""

    def __init__(
        self, name: str, source: str, root: Path, entries: Sequence[Entry], class_names: Sequence[str],
        suffix: str = "", template: str | None = None,
    ) -> None:  # fmt: skip
        if not entries:
            raise UsageError(f"{source}: names no video")
        self.root = root
        self.entries = tuple(entries)
        self.missing, first = _missing([root / f"{entry.name}{suffix}" for entry in entries], source)
        if first.is_dir():
            check_names(first, template, source)
        self.info = VideoSetInfo(name, Path(source).name, _digest(self.entries, class_names), tuple(class_names))
        self._suffix, self._template = suffix, template
        self._counts: dict[Path, int] = {}

    def __len__(self) -> int:
        return len(self.entries)

    def label(self, video: int) -> int:
        return self.entries[video].label

    def name(self, video: int) -> str:
        return self.entries[video].name

    def frames(self, video: int) -> FrameSource:
        """Frames of a video; its file is opened when they are read."""
        entry = self.entries[video]
        path = self.root / f"{entry.name}{self._suffix}"
        if path.is_file():
            return VideoFile(path, entry.name, self._counts, entry.count or 0)
        return FrameFolder(path, entry.name, self._template, entry.count)


def open_frames(path: str | Path, template: str | None = None) -> FrameSource:
    """The frames of a video file, or of a folder of images, whose names ``template`` may give; a ``UsageError`` if there is
    nothing at ``path``."""
    path = Path(path)
    if path.is_dir():
        return FrameFolder(path, template=template)
    if not path.exists():
        raise UsageError(f"{path}: no such file; expected a video or a folder of images")
    return VideoFile(path)


def choice(value: object, known: Sequence[object], what: str) -> None:
    """Raise UsageError if ``value`` is not one of ``known``."""
    if value not in known:
        raise UsageError(f"{what} must be one of {', '.join(map(str, known))}, got {value!r}")


def first_folder(candidates: Sequence[Path], holding: Sequence[str], what: str) -> Path:
    """The first of the folders that holds one of the files ``holding``; a UsageError if there is none."""
    for folder in candidates:
        if any((folder / name).is_file() for name in holding):
            return folder
    raise UsageError(f"{what} not found: expected {' or '.join(holding)} in {' or '.join(map(str, candidates))}")


def folder_lister() -> Callable[[Path], frozenset[str]]:
    """A function that returns the names in a folder, none if it does not exist. Each folder is listed once, which is faster
    than asking file by file."""
    return cache(lambda folder: frozenset(os.listdir(folder)) if folder.is_dir() else frozenset())


def _missing(paths: Sequence[Path], source: str) -> tuple[int, Path]:
    """Number of paths that do not exist, and the first that does."""
    names = folder_lister()
    missing = [path for path in paths if path.name not in names(path.parent)]
    if len(missing) == len(paths):
        raise UsageError(f"{source}: none of its {len(paths)} videos exists; the first should be {paths[0]}")
    if missing:
        _log.warning("%s: %d of %d videos are missing, the first is %s", source, len(missing), len(paths), missing[0])
    return len(missing), next(path for path in paths if path.name in names(path.parent))


def _digest(entries: Sequence[Entry], class_names: Sequence[str]) -> str:
    state = sha256("".join(f"{name}\n" for name in class_names).encode())
    for entry in entries:
        state.update(f"{entry.name}\t{entry.label}\t{entry.count}\n".encode())
    return state.hexdigest()
