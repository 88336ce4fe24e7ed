"""Sets of labelled videos, which training and evaluation read, independent of the data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from efficiency_core.errors import UsageError

if TYPE_CHECKING:
    from full_video.networks.frames import FrameSource


@dataclass(frozen=True)
class VideoSetInfo:
    """Description of a set of videos."""

    name: str
    """Name of the data set."""
    source: str
    """File or list that it was read from."""
    content_digest: str
    """Changes with names, labels and classes; a training is continued only with the same digest."""
    class_names: tuple[str, ...]
    """Label k, counted from 0, is ``class_names[k]``."""


class VideoSet(Protocol):
    """A set of labelled videos, each with its own length and frame size. Worker processes get a copy of it."""

    @property
    def info(self) -> VideoSetInfo:
        """Description of the set."""

    def __len__(self) -> int:
        """Number of videos."""

    def label(self, video: int, /) -> int:
        """Class of a video, from 0."""

    def name(self, video: int, /) -> str:
        """Name of a video, the same on every machine."""

    def frames(self, video: int, /) -> FrameSource:
        """Frames of a video. If it cannot be read, this or reading the frames raises ``BrokenFile``."""


def with_classes(videos: VideoSet, class_names: Sequence[str], whose: str, where: str) -> VideoSet:
    """``videos`` with labels that number ``class_names``, found by name. Raises UsageError if a video has another class.

    Args:
        whose: what has the ``class_names``, for messages; ``where``: what the videos come from."""
    own, known = videos.info.class_names, tuple(class_names)
    if own == known:
        return videos
    for label in sorted({videos.label(video) for video in range(len(videos))}):
        if own[label] not in known:
            if len(own) == len(known):
                raise UsageError(f"class {label} of {whose} is {known[label]!r}, of {where} {own[label]!r}")
            raise UsageError(
                f"{whose} knows {len(known)} classes, {where} has {len(own)}; {own[label]!r} is not among them"
            )
    return _Renumbered(videos, known)


class _Renumbered:
    def __init__(self, videos: VideoSet, class_names: tuple[str, ...]) -> None:
        self.info = replace(videos.info, class_names=class_names)
        self.name, self.frames = videos.name, videos.frames
        self._videos, self._labels = videos, {name: label for label, name in reversed([*enumerate(class_names)])}

    def __len__(self) -> int:
        return len(self._videos)

    def label(self, video: int) -> int:
        return self._labels[self._videos.info.class_names[self._videos.label(video)]]
