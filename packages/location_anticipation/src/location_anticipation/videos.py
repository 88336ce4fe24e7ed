"""Annotated videos, whatever file they come from: what training, evaluation and the converters agree on."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from location_anticipation.errors import UsageError

__all__ = ["Concatenated", "Facts", "Sparse", "Tracks", "Videos", "open_videos"]


@dataclass(frozen=True)
class Facts:
    """What a set of videos says about itself."""

    name: str
    source: str
    content_digest: str
    """Changes whenever the annotations do; a training is continued only on the same ones."""
    class_names: tuple[str, ...]
    """Label k, counted from 0, is ``class_names[k]``."""


@dataclass(frozen=True)
class Tracks:
    """Annotations of one video of L frames with O tracks."""

    boxes: NDArray[np.float32]
    """(L, O, 4) x1 y1 x2 y2 in pixels; zeros where not present (a track-video file keeps what it holds there)."""
    present: NDArray[np.bool_]
    """(L, O): the object is annotated in that frame."""
    labels: NDArray[np.int64]
    """(O,) classes from 0."""
    annotated: NDArray[np.bool_]
    """(L,): somebody looked at the frame; it may be annotated and empty. The other frames are no ground truth: they are
    neither evaluated nor keyframes in training."""


class Videos(Protocol):
    """A set of annotated videos. Every one has its own length, image size and number of tracks."""

    @property
    def facts(self) -> Facts:
        """What the set says about itself."""

    @property
    def path(self) -> Path:
        """Where it lies, for messages."""

    def __len__(self) -> int:
        """Number of videos."""

    def name(self, video: int) -> str:
        """Name of a video."""

    def image_size(self, video: int) -> tuple[int, int]:
        """(height, width) of its frames in pixels."""

    def tracks(self, video: int) -> Tracks:
        """Its annotations."""

    def frame(self, video: int, index: int) -> Tensor:
        """Frame ``index``, counted from 0, as float (3, H, W) in [0, 1].

        Raises:
            UsageError: if the frame is missing or damaged.
        """


def open_videos(path: str | Path, images: str | Path | None = None) -> Videos:
    """Open a CocoVID JSON file (``.json``) or a track-video HDF5 file (any other name).

    Args:
        path: the file.
        images: folder that the ``file_name`` entries of a CocoVID file are relative to; by default the file's own.

    Raises:
        UsageError: if the file cannot be used, or ``images`` is given for a track-video file, which holds its frames.
    """
    path = Path(path)
    if path.suffix.lower() == ".json":
        from location_anticipation.cocovid import CocoVideos

        return CocoVideos(path, images)
    if images is not None:
        raise UsageError(f"{path}: a track-video file holds its frames; --images goes with CocoVID JSON files")
    from location_anticipation.track_videos import TrackVideos

    return TrackVideos(path)


class Sparse:
    """The same videos with the annotation of every ``label_step``-th frame only: ``offset``, ``offset + label_step``, ...

    Frames in between exist but count as not annotated, as in a set that people annotated sparsely (thesis 2.4.1, A2).

    Raises:
        ValueError: if ``label_step`` is below 1 or ``offset`` is not in 0..label_step-1.
    """

    def __init__(self, videos: Videos, label_step: int, offset: int = 0) -> None:
        if label_step < 1:
            raise ValueError(f"label_step must be at least 1, got {label_step}")
        if not 0 <= offset < label_step:
            raise ValueError(f"offset must be in 0..{label_step - 1}, got {offset}")
        self.videos, self.label_step, self.offset = videos, label_step, offset

    @property
    def facts(self) -> Facts:
        facts = self.videos.facts
        return replace(facts, content_digest=f"{facts.content_digest} every {self.label_step} from {self.offset}")

    @property
    def path(self) -> Path:
        return self.videos.path

    def __len__(self) -> int:
        return len(self.videos)

    def name(self, video: int) -> str:
        return self.videos.name(video)

    def image_size(self, video: int) -> tuple[int, int]:
        return self.videos.image_size(video)

    def tracks(self, video: int) -> Tracks:
        tracks = self.videos.tracks(video)
        keep = np.arange(len(tracks.annotated)) % self.label_step == self.offset
        present = tracks.present & keep[:, None]
        boxes = np.where(present[..., None], tracks.boxes, np.float32(0))
        return Tracks(boxes, present, tracks.labels, tracks.annotated & keep)

    def frame(self, video: int, index: int) -> Tensor:
        return self.videos.frame(video, index)


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
            if part.facts.class_names != parts[0].facts.class_names:
                raise UsageError(
                    f"{part.path} and {parts[0].path} have different classes: {_brief(part.facts.class_names)} and "
                    f"{_brief(parts[0].facts.class_names)}; training on several files needs the same ones in the same order"
                )
        self.parts = parts
        self._ends = list(accumulate(len(part) for part in parts))

    @property
    def facts(self) -> Facts:
        facts = [part.facts for part in self.parts]
        return Facts(
            name=" + ".join(f.name for f in facts),
            source=" + ".join(f.source for f in facts),
            content_digest=sha256("\n".join(f.content_digest for f in facts).encode()).hexdigest(),
            class_names=facts[0].class_names,
        )

    @property
    def path(self) -> Path:
        """The files' paths, joined, for messages."""
        return Path(" + ".join(str(part.path) for part in self.parts))

    def __len__(self) -> int:
        return self._ends[-1]

    def _find(self, video: int) -> tuple[Videos, int]:
        if not 0 <= video < len(self):
            raise IndexError(f"video {video} of {len(self)}")
        part = bisect_right(self._ends, video)
        return self.parts[part], video - (self._ends[part - 1] if part else 0)

    def name(self, video: int) -> str:
        part, number = self._find(video)
        return part.name(number)

    def image_size(self, video: int) -> tuple[int, int]:
        part, number = self._find(video)
        return part.image_size(number)

    def tracks(self, video: int) -> Tracks:
        part, number = self._find(video)
        return part.tracks(number)

    def frame(self, video: int, index: int) -> Tensor:
        part, number = self._find(video)
        return part.frame(number, index)


def _brief(names: tuple[str, ...]) -> str:
    return f"{len(names)} ({', '.join(names[:4])}{', ...' if len(names) > 4 else ''})"
