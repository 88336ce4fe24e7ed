"""Keyframes and their trajectories out of a track-video file (HDF5).

A track-video file holds the videos of one split: ``video`` uint8 (V, L, H, W) grey or (V, L, H, W, 3) RGB, ``boxes``
float32 (V, L, O, 4) as x1 y1 x2 y2 in pixels, ``present`` bool (V, L, O), ``labels`` int64 (V, O) from 0, -1 for
padding, and the attributes ``format`` = "track-video", ``class_names`` (JSON), ``name``, ``source``, ``content_digest``.
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

_ARRAYS = {"video": (4, 5), "boxes": (4,), "present": (3,), "labels": (2,)}


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
                self.facts = _facts(self.path, file)
                self.boxes: np.ndarray = file["boxes"][()]
                self.present: np.ndarray = file["present"][()]
                self.labels: np.ndarray = file["labels"][()]
        except OSError as error:
            raise UsageError(f"{self.path}: not a readable HDF5 file ({error}); build it again") from error

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_file": None}

    def frame(self, video: int, index: int) -> Tensor:
        """Frame ``index`` of ``video`` as float (3, H, W) in [0, 1].

        Raises:
            UsageError: if the stored frames are damaged.
        """
        if self._file is None:
            self._file = h5py.File(self.path, "r")
        try:
            pixels = self._file["video"][video, index]
        except OSError as error:
            raise UsageError(
                f"{self.path}: frame {index} of video {video} is damaged ({error}); build it again"
            ) from error
        image = torch.from_numpy(pixels).float().div_(255)
        return image.expand(3, -1, -1) if image.ndim == 2 else image.permute(2, 0, 1)


def _facts(path: Path, file: h5py.File) -> Facts:
    if file.attrs.get("format") != "track-video":
        raise UsageError(f"{path}: not a track-video file (its attribute 'format' is {file.attrs.get('format')!r})")
    for name, dimensions in _ARRAYS.items():
        if name not in file or file[name].ndim not in dimensions:
            raise UsageError(f"{path}: array '{name}' is missing or has the wrong number of dimensions; build it again")
    videos, frames, height, width = file["video"].shape[:4]
    if file["boxes"].shape[:2] != (videos, frames) or file["labels"].shape[0] != videos:
        raise UsageError(f"{path}: arrays disagree on the number of videos or frames; build it again")
    return Facts(
        name=str(file.attrs.get("name", path.stem)),
        source=str(file.attrs.get("source", "unknown")),
        content_digest=str(file.attrs.get("content_digest", "")),
        class_names=tuple(json.loads(file.attrs.get("class_names", "[]"))),
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
            for v in (subset or range(videos.facts.videos))
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
