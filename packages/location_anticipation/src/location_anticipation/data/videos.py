"""Annotated videos, whatever file they come from: the interface that training, evaluation and the converters share."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from efficiency_core.errors import UsageError


@dataclass(frozen=True)
class VideosInfo:
    """Facts about a set of videos."""

    content_digest: str
    """Digest of the annotations; a training is continued only on the same ones."""
    class_names: tuple[str, ...]
    """Label k, counted from 0, is ``class_names[k]``."""
    category_ids: tuple[int, ...]
    """Ids of the categories in the file, by label."""


@dataclass(frozen=True)
class Tracks:
    """Annotations of one video of L frames with O tracks."""

    boxes: NDArray[np.float32]
    """(L, O, 4) x1 y1 x2 y2 in pixels; arbitrary where not present."""
    present: NDArray[np.bool_]
    """(L, O): the object is annotated in that frame."""
    labels: NDArray[np.int64]
    """(O,) classes from 0."""
    annotated: NDArray[np.bool_]
    """(L,): the frame is annotated; an annotated frame may be empty. The other frames are no ground truth: they are neither
    evaluated nor keyframes in training."""


class Videos(Protocol):
    """A set of annotated videos. Every one has its own length, image size and number of tracks."""

    @property
    def info(self) -> VideosInfo:
        """Digest and classes of the set."""

    @property
    def path(self) -> Path:
        """The file of the set, for messages."""

    def __len__(self) -> int:
        """Number of videos."""

    def name(self, video: int) -> str:
        """Name of a video."""

    def image_size(self, video: int) -> tuple[int, int]:
        """(height, width) of its frames in pixels."""

    def tracks(self, video: int) -> Tracks:
        """Its annotations."""

    def check_frames(self, frames: Iterable[tuple[int, int]]) -> None:
        """Check cheaply that frames, (video, index), can be read: before hours of work.

        Raises:
            UsageError: if some cannot.
        """

    def extract(self, frames: Iterable[tuple[int, int]], folder: Path) -> None:
        """Write frames, (video, index), of video files as images into ``folder``, so that they are fast to read in any order.

        Nothing is done for sets whose frames are stored one by one, and for images that an earlier call has written.

        Raises:
            UsageError: if a frame cannot be read, or the disk has no room for them.
            WorkError: if they cannot be written.
        """

    def frame(self, video: int, index: int) -> Tensor:
        """Frame ``index``, counted from 0, as float (3, H, W) in [0, 1].

        Raises:
            UsageError: if the frame is missing, damaged or of another size.
        """


class Concatenated:
    """Several sets of videos of the same classes as one, for example ILSVRC VID and DET.

    Raises:
        ValueError: for no set at all.
        UsageError: if their class names differ.
    """

    def __init__(self, *parts: Videos) -> None:
        if not parts:
            raise ValueError("expected at least one set of videos")
        for part in parts[1:]:
            if part.info.class_names != parts[0].info.class_names:
                raise UsageError(
                    f"{part.path} and {parts[0].path} have different classes: {_brief(part.info.class_names)} and "
                    f"{_brief(parts[0].info.class_names)}; training on several files needs the same ones in the same order"
                )
        self.parts = parts
        self._ends = list(accumulate(len(part) for part in parts))

    @property
    def info(self) -> VideosInfo:
        infos = [part.info for part in self.parts]
        digests = "\n".join(info.content_digest for info in infos)
        return replace(infos[0], content_digest=sha256(digests.encode()).hexdigest())

    @property
    def path(self) -> Path:
        """The files' paths, joined, for messages."""
        return Path(" + ".join(str(part.path) for part in self.parts))

    def __len__(self) -> int:
        return self._ends[-1]

    def name(self, video: int) -> str:
        part, number = self._find(video)
        return part.name(number)

    def image_size(self, video: int) -> tuple[int, int]:
        part, number = self._find(video)
        return part.image_size(number)

    def tracks(self, video: int) -> Tracks:
        part, number = self._find(video)
        return part.tracks(number)

    def check_frames(self, frames: Iterable[tuple[int, int]]) -> None:
        chosen = list(frames)
        for part, end in zip(self.parts, self._ends, strict=True):
            own = range(end - len(part), end)
            part.check_frames((video - own.start, index) for video, index in chosen if video in own)

    def extract(self, frames: Iterable[tuple[int, int]], folder: Path) -> None:
        chosen = list(frames)
        for part, end in zip(self.parts, self._ends, strict=True):
            own = range(end - len(part), end)
            part.extract(((video - own.start, index) for video, index in chosen if video in own), folder)

    def frame(self, video: int, index: int) -> Tensor:
        part, number = self._find(video)
        return part.frame(number, index)

    def _find(self, video: int) -> tuple[Videos, int]:
        """The set that holds a video, and its number there."""
        if not 0 <= video < len(self):
            raise IndexError(f"video {video} of {len(self)}")
        part = bisect_right(self._ends, video)
        return self.parts[part], video - (self._ends[part - 1] if part else 0)


class Sparse(Concatenated):
    """One set with the annotation of every ``label_step``-th frame only: ``offset``, ``offset + label_step``, ...

    Frames in between exist but count as not annotated, as in a sparsely annotated set (thesis 2.4.1, A2).

    Raises:
        ValueError: if ``label_step`` is below 1 or ``offset`` is not in 0..label_step-1.
    """

    def __init__(self, videos: Videos, label_step: int, offset: int = 0) -> None:
        if label_step < 1:
            raise ValueError(f"label_step must be at least 1, got {label_step}")
        if not 0 <= offset < label_step:
            raise ValueError(f"offset must be in 0..{label_step - 1}, got {offset}")
        super().__init__(videos)
        self.label_step, self.offset = label_step, offset

    @property
    def info(self) -> VideosInfo:
        info = self.parts[0].info
        return replace(info, content_digest=f"{info.content_digest} every {self.label_step} from {self.offset}")

    def tracks(self, video: int) -> Tracks:
        tracks = super().tracks(video)
        keep = np.arange(len(tracks.annotated)) % self.label_step == self.offset
        present = tracks.present & keep[:, None]
        boxes = np.where(present[..., None], tracks.boxes, np.float32(0))
        return Tracks(boxes, present, tracks.labels, tracks.annotated & keep)


def _brief(names: tuple[str, ...]) -> str:
    return f"{len(names)} ({', '.join(names[:4])}{', ...' if len(names) > 4 else ''})"
