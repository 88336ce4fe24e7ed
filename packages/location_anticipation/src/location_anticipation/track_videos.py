"""Track-video files (HDF5): videos of one length and size, as generators write them.

A track-video file holds the videos of one split: ``video`` uint8 (V, L, H, W) grey or (V, L, H, W, 3) RGB, ``boxes``
float32 (V, L, O, 4) as x1 y1 x2 y2 in pixels, ``present`` bool (V, L, O), ``labels`` int64 (V, O) from 0, -1 for
padding, optionally ``annotated`` bool (V, L) (every frame where it is left out), and the attributes ``format`` =
"track-video", ``class_names`` (JSON list; numbers stand in where it is left out), ``name``, ``source``,
``content_digest``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from location_anticipation.errors import UsageError
from location_anticipation.videos import Facts, Tracks

if TYPE_CHECKING:
    import h5py  # at run time where a file is opened: the detector alone does without

__all__ = ["TrackFacts", "TrackVideos"]

_ARRAYS = {"video": "u", "boxes": "f", "present": "b", "labels": "i"}
_OPTIONAL = {"annotated": "b"}


@dataclass(frozen=True)
class TrackFacts(Facts):
    """What a track-video file says about itself, and the shape that all of its videos share."""

    videos: int
    frames: int
    image_size: tuple[int, int]
    """(height, width) in pixels."""


class TrackVideos:
    """A track-video file, opened when first read and once per process, so that it can be handed to loader workers.

    Annotations are kept in memory; frames are read when asked for.

    Raises:
        UsageError: if the file is missing, not HDF5, damaged, or not a track-video file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        import h5py

        self._file: h5py.File | None = None
        if not self.path.is_file():
            raise UsageError(f"{self.path}: no such file; expected a track-video HDF5 file")
        try:
            with h5py.File(self.path, "r") as file:
                _check_arrays(self.path, file)
                self.boxes: np.ndarray = file["boxes"][()].astype(np.float32, copy=False)
                self.present: np.ndarray = file["present"][()]
                self.labels: np.ndarray = file["labels"][()].astype(np.int64, copy=False)
                self.annotated: np.ndarray = (
                    file["annotated"][()] if "annotated" in file else np.ones(self.present.shape[:2], dtype=bool)
                )
                self.facts = _facts(self.path, file, self.labels)
        except UsageError:
            raise
        except Exception as error:  # HDF5 reports damage as OSError, KeyError, RuntimeError, MemoryError, ...
            raise UsageError(f"{self.path}: not a readable HDF5 file ({error}); build it again") from error
        _check_annotations(self.path, self.boxes, self.present, self.labels, len(self.facts.class_names))
        _check_annotated(self.path, self.present, self.annotated)

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_file": None}

    def __len__(self) -> int:
        return self.facts.videos

    def name(self, video: int) -> str:
        """The number of the video; a track-video file names none."""
        return f"{video:06d}"

    def image_size(self, video: int) -> tuple[int, int]:
        """(height, width), the same for all videos of the file."""
        return self.facts.image_size

    def tracks(self, video: int) -> Tracks:
        """Views of the annotations in memory; boxes are what the file holds, also where nothing is present."""
        return Tracks(self.boxes[video], self.present[video], self.labels[video], self.annotated[video])

    def frame(self, video: int, index: int) -> Tensor:
        """Frame ``index`` of ``video`` as float (3, H, W) in [0, 1].

        Raises:
            UsageError: if the stored frames are damaged.
        """
        try:
            if self._file is None:
                import h5py

                self._file = h5py.File(self.path, "r")
            pixels = self._file["video"][video, index]
        except (OSError, KeyError, RuntimeError) as error:
            raise UsageError(
                f"{self.path}: frame {index} of video {video} is damaged ({error}); build it again"
            ) from error
        image = torch.from_numpy(pixels).float().div_(255)
        return image.expand(3, -1, -1) if image.ndim == 2 else image.permute(2, 0, 1)


def _check_arrays(path: Path, file: h5py.File) -> None:
    import h5py

    if file.attrs.get("format") != "track-video":
        raise UsageError(f"{path}: not a track-video file (its attribute 'format' is {file.attrs.get('format')!r})")
    wanted = _ARRAYS | {name: kind for name, kind in _OPTIONAL.items() if name in file}
    for name, kind in wanted.items():
        if name not in file or not isinstance(file[name], h5py.Dataset):
            raise UsageError(f"{path}: array '{name}' is missing; build it again")
        if file[name].dtype.kind != kind or (name == "video" and file[name].dtype != np.uint8):
            raise UsageError(f"{path}: array '{name}' has the wrong type, {file[name].dtype}; build it again")
    video, objects = file["video"].shape, file["labels"].shape[1:]
    if len(video) < 4 or video[4:] not in ((), (3,)) or len(objects) != 1:
        raise UsageError(
            f"{path}: expected video (V, L, H, W) or (V, L, H, W, 3) and labels (V, O), got {video} and "
            f"{file['labels'].shape}; build it again"
        )
    videos, frames = video[:2]
    shapes = {
        "boxes": (videos, frames, *objects, 4),
        "present": (videos, frames, *objects),
        "labels": (videos, *objects),
        "annotated": (videos, frames),
    }
    for name, shape in shapes.items():
        if name in wanted and file[name].shape != shape:
            raise UsageError(
                f"{path}: array '{name}' is {file[name].shape}, beside video {video} it must be {shape}; build it again"
            )


def _check_annotations(path: Path, boxes: np.ndarray, present: np.ndarray, labels: np.ndarray, classes: int) -> None:
    sound = np.isfinite(boxes).all(axis=-1) & (boxes[..., 2:] > boxes[..., :2]).all(axis=-1)
    sound &= ((labels >= 0) & (labels < classes))[:, None]
    wrong = np.argwhere(present & ~sound)
    if len(wrong):
        video, frame, thing = (int(i) for i in wrong[0])
        raise UsageError(
            f"{path}: video {video}, frame {frame}: object {thing} is present with box "
            f"{boxes[video, frame, thing].tolist()} and label {labels[video, thing]}; expected a box with an area and "
            f"a label of 0 to {classes - 1}"
        )


def _check_annotated(path: Path, present: np.ndarray, annotated: np.ndarray) -> None:
    wrong = np.argwhere(present.any(axis=2) & ~annotated)
    if len(wrong):
        video, frame = (int(i) for i in wrong[0])
        raise UsageError(f"{path}: video {video}, frame {frame}: an object is present, but the frame is not annotated")


def _facts(path: Path, file: h5py.File, labels: np.ndarray) -> TrackFacts:
    videos, frames, height, width = file["video"].shape[:4]
    try:
        class_names = tuple(str(name) for name in json.loads(file.attrs.get("class_names", "[]")))
    except (ValueError, TypeError) as error:
        raise UsageError(f"{path}: attribute 'class_names' is not a JSON list ({error}); build it again") from error
    return TrackFacts(
        name=str(file.attrs.get("name", path.stem)),
        source=str(file.attrs.get("source", "unknown")),
        content_digest=str(file.attrs.get("content_digest", "")),
        class_names=class_names or tuple(str(k) for k in range(int(labels.max(initial=0)) + 1)),
        videos=videos,
        frames=frames,
        image_size=(height, width),
    )
