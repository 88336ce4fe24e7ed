"""Keyframes and their trajectories out of a track-video file (HDF5).

A track-video file holds the videos of one split: ``video`` uint8 (V, L, H, W) grey or (V, L, H, W, 3) RGB, ``boxes``
float32 (V, L, O, 4) as x1 y1 x2 y2 in pixels, ``present`` bool (V, L, O), ``labels`` int64 (V, O) from 0, -1 for
padding, and the attributes ``format`` = "track-video", ``class_names`` (JSON list; numbers stand in where it is left
out), ``name``, ``source``, ``content_digest``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from location_anticipation.errors import UsageError
from location_anticipation.motion import MOTIONS, supervise

__all__ = ["Keyframes", "TrackVideos", "collate"]

_ARRAYS = {"video": "u", "boxes": "f", "present": "b", "labels": "i"}


@dataclass(frozen=True)
class Facts:
    """What a track-video file says about itself."""

    name: str
    source: str
    content_digest: str
    class_names: tuple[str, ...]
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
        self._file: h5py.File | None = None
        if not self.path.is_file():
            raise UsageError(f"{self.path}: no such file; expected a track-video HDF5 file")
        try:
            with h5py.File(self.path, "r") as file:
                _check_arrays(self.path, file)
                self.boxes: np.ndarray = file["boxes"][()].astype(np.float32, copy=False)
                self.present: np.ndarray = file["present"][()]
                self.labels: np.ndarray = file["labels"][()].astype(np.int64, copy=False)
                self.facts = _facts(self.path, file, self.labels)
        except UsageError:
            raise
        except Exception as error:  # HDF5 reports damage as OSError, KeyError, RuntimeError, MemoryError, ...
            raise UsageError(f"{self.path}: not a readable HDF5 file ({error}); build it again") from error
        _check_annotations(self.path, self.boxes, self.present, self.labels, len(self.facts.class_names))

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_file": None}

    def frame(self, video: int, index: int) -> Tensor:
        """Frame ``index`` of ``video`` as float (3, H, W) in [0, 1].

        Raises:
            UsageError: if the stored frames are damaged.
        """
        try:
            if self._file is None:
                self._file = h5py.File(self.path, "r")
            pixels = self._file["video"][video, index]
        except (OSError, KeyError, RuntimeError) as error:
            raise UsageError(
                f"{self.path}: frame {index} of video {video} is damaged ({error}); build it again"
            ) from error
        image = torch.from_numpy(pixels).float().div_(255)
        return image.expand(3, -1, -1) if image.ndim == 2 else image.permute(2, 0, 1)


def _check_arrays(path: Path, file: h5py.File) -> None:
    if file.attrs.get("format") != "track-video":
        raise UsageError(f"{path}: not a track-video file (its attribute 'format' is {file.attrs.get('format')!r})")
    for name, kind in _ARRAYS.items():
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
    }
    for name, shape in shapes.items():
        if file[name].shape != shape:
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


def _facts(path: Path, file: h5py.File, labels: np.ndarray) -> Facts:
    videos, frames, height, width = file["video"].shape[:4]
    try:
        class_names = tuple(str(name) for name in json.loads(file.attrs.get("class_names", "[]")))
    except (ValueError, TypeError) as error:
        raise UsageError(f"{path}: attribute 'class_names' is not a JSON list ({error}); build it again") from error
    return Facts(
        name=str(file.attrs.get("name", path.stem)),
        source=str(file.attrs.get("source", "unknown")),
        content_digest=str(file.attrs.get("content_digest", "")),
        class_names=class_names or tuple(str(k) for k in range(int(labels.max(initial=0)) + 1)),
        videos=videos,
        frames=frames,
        image_size=(height, width),
    )


class Keyframes(Dataset[tuple[Tensor, dict[str, Tensor]]]):
    """Every frame with an object in it, as a keyframe with the trajectories of its objects.

    Args:
        videos: the file.
        horizon: T; 0 leaves trajectories out.
        motion: supervision between keyframes, one of :data:`location_anticipation.motion.MOTIONS`.
        seed: of the ``random`` motion. A frame's random boxes are drawn once and stay the same in every epoch, as
            annotations would.
        subset: video numbers to use; all when None.

    Raises:
        ValueError: for an unknown motion or a horizon below 0.
        UsageError: if no frame of these videos shows an object.
    """

    def __init__(
        self,
        videos: TrackVideos,
        *,
        horizon: int,
        motion: str = "annotated",
        seed: int = 0,
        subset: range | None = None,
    ) -> None:
        if motion not in MOTIONS:
            raise ValueError(f"motion must be one of {MOTIONS}, got {motion!r}")
        if horizon < 0:
            raise ValueError(f"horizon T must be 0 or more, got {horizon}")
        self.videos, self.horizon, self.motion, self.seed = videos, horizon, motion, seed
        self.index = [
            (v, int(t))
            for v in (range(videos.facts.videos) if subset is None else subset)
            for t in np.flatnonzero(videos.present[v].any(axis=1))
        ]
        if not self.index:
            raise UsageError(f"{videos.path}: no frame holds an annotated object")

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, item: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Image (3, H, W) and its target: ``boxes``, ``labels`` (from 1), ``trajectories``, ``trajectory_valid``."""
        video, time = self.index[item]
        objects = np.flatnonzero(self.videos.present[video, time])
        target = {
            "boxes": torch.from_numpy(self.videos.boxes[video, time, objects]),
            "labels": torch.from_numpy(self.videos.labels[video, objects] + 1),
        }
        if self.horizon:
            trajectories, valid = self._trajectories(video, time, objects)
            target["trajectories"] = torch.from_numpy(np.ascontiguousarray(trajectories))
            target["trajectory_valid"] = torch.from_numpy(np.ascontiguousarray(valid))
        return self.videos.frame(video, time), target

    def _trajectories(self, video: int, time: int, objects: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Targets at l = 1..T, (N, T, 4) and (N, T); steps past the end of the video are not valid."""
        steps = np.arange(time, time + self.horizon + 1)
        inside = steps < self.videos.facts.frames
        steps = np.minimum(steps, self.videos.facts.frames - 1)
        boxes = self.videos.boxes[video][steps][:, objects].transpose(1, 0, 2)
        present = (self.videos.present[video][steps][:, objects] & inside[:, None]).T
        return supervise(
            self.motion,
            boxes,
            present,
            image_size=self.videos.facts.image_size,
            segment=time // self.horizon,
            rng=np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(video, time))),
        )


def collate(
    samples: list[tuple[Tensor, dict[str, Tensor]]],
) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Lists of images and of targets, as torchvision's detectors take them."""
    images, targets = zip(*samples, strict=True)
    return list(images), list(targets)
