"""Track-video files (HDF5): videos of one length and size, as generators write them.

A track-video file holds the videos of one split: ``video`` uint8 (V, L, H, W) grey or (V, L, H, W, 3) RGB, ``boxes``
float32 (V, L, O, 4) as x1 y1 x2 y2 in pixels, ``present`` bool (V, L, O), ``labels`` int64 (V, O) from 0, -1 for
padding, optionally ``annotated`` bool (V, L) (every frame where the array is missing), and the attributes ``format`` =
"track-video", ``class_names`` (JSON list; numbers where it is missing), ``name``, ``source``, ``content_digest``.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from efficiency_core.errors import BrokenFile, UsageError
from efficiency_core.readers import ArraySpec, Hdf5File
from location_anticipation.data.videos import Tracks, VideosInfo

_ARRAYS = {
    "video": ArraySpec("uint8", "V L H W [3]"),
    "boxes": ArraySpec("f", "V L o 4"),
    "present": ArraySpec("b", "V L o"),
    "labels": ArraySpec("i", "V o"),
    "annotated": ArraySpec("b", "V L", optional=True),
}


class TrackVideos:
    """A track-video file. Annotations are kept in memory; frames are read when asked for, by any number of processes.

    Raises:
        UsageError: if the file is missing, not HDF5, damaged, or not a track-video file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file = Hdf5File(path, "track-video", _ARRAYS)
        self.boxes: NDArray[np.float32] = self._file.read("boxes").astype(np.float32, copy=False)
        self.present: NDArray[np.bool_] = self._file.read("present")
        self.labels: NDArray[np.int64] = self._file.read("labels").astype(np.int64, copy=False)
        every = np.ones(self.present.shape[:2], dtype=bool)
        self.annotated = self._file.read("annotated") if "annotated" in self._file.shapes else every
        named = self._file.names("class_names") if "class_names" in self._file.attributes else ()
        numbers = tuple(str(k) for k in range(int(self.labels.max(initial=0)) + 1))
        names = named or numbers
        self.info = VideosInfo(self._file.content_digest, names, tuple(range(1, len(names) + 1)))
        self._check_annotations()

    def __len__(self) -> int:
        return len(self._file)

    def name(self, video: int) -> str:
        """The number of the video; a track-video file names none."""
        return f"{video:06d}"

    def image_size(self, video: int) -> tuple[int, int]:
        """(height, width), the same for all videos of the file."""
        height, width = self._file.shapes["video"][2:4]
        return height, width

    def tracks(self, video: int) -> Tracks:
        """Views of the annotations in memory; boxes are those of the file, also where no object is present."""
        return Tracks(self.boxes[video], self.present[video], self.labels[video], self.annotated[video])

    def check_frames(self, frames: Iterable[tuple[int, int]]) -> None:
        """Nothing: the file holds its frames."""

    def extract(self, frames: Iterable[tuple[int, int]], folder: Path) -> None:
        """Nothing: the file gives its frames in any order."""

    def frame(self, video: int, index: int) -> Tensor:
        """Frame ``index`` of ``video`` as float (3, H, W) in [0, 1]."""
        try:
            pixels = self._file.row("video", video, index)
        except BrokenFile as error:
            raise UsageError(f"frame {index} of video {error}") from error
        image = torch.from_numpy(pixels).float().div_(255)
        return image.expand(3, -1, -1) if image.ndim == 2 else image.permute(2, 0, 1)

    def _check_annotations(self) -> None:
        boxes, present, labels, classes = self.boxes, self.present, self.labels, len(self.info.class_names)
        size = np.array(self.image_size(0)[::-1])
        inside = np.minimum(boxes[..., 2:], size) > np.maximum(boxes[..., :2], 0)
        sound = np.isfinite(boxes).all(axis=-1) & inside.all(axis=-1)
        sound &= ((labels >= 0) & (labels < classes))[:, None]
        for video, frame, thing in np.argwhere(present & ~sound)[:1]:
            raise UsageError(
                f"{self.path}: video {video}, frame {frame}: object {thing} is present with box "
                f"{boxes[video, frame, thing].tolist()} and label {labels[video, thing]}; expected a box with an "
                f"area inside the frame and a label of 0 to {classes - 1}"
            )
        for video, frame in np.argwhere(present.any(axis=2) & ~self.annotated)[:1]:
            where = f"{self.path}: video {video}, frame {frame}"
            raise UsageError(f"{where}: an object is present, but the frame is not annotated")
