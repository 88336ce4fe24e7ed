"""Keyframes of annotated videos with the trajectories of their objects: what training sees."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from location_anticipation.errors import UsageError
from location_anticipation.motion import MOTIONS, supervise, supervise_sparse
from location_anticipation.track_videos import TrackVideos
from location_anticipation.videos import Tracks, Videos

__all__ = ["Keyframes", "TrackVideos", "collate"]


class Keyframes(Dataset[tuple[Tensor, dict[str, Tensor]]]):
    """Every annotated frame with an object in it, as a keyframe with the trajectories of its objects.

    The motions ``linear``, ``simulated`` and ``random`` stand in for annotation between keyframes. In a video annotated
    in every frame they use the boxes of frames t and t+T alone, as in the thesis's controlled experiments (2.4.1). In a
    video with frames that are not annotated they lead piecewise from one annotated frame to the next, however far
    apart, and are cut after T steps (:func:`location_anticipation.motion.supervise_sparse`). ``annotated`` supervises
    the steps that fall on annotated frames, whichever they are.

    Args:
        videos: the videos, of any length and image size.
        horizon: T; 0 leaves trajectories out.
        motion: supervision between keyframes, one of :data:`location_anticipation.motion.MOTIONS`.
        seed: of the ``random`` motion. A frame's random boxes are drawn once and stay the same in every epoch, as
            annotations would.
        subset: video numbers to use; all when None.
        keyframe_step: only frames 0, keyframe_step, 2 keyframe_step, ... of a video are keyframes.

    Raises:
        ValueError: for an unknown motion, a horizon below 0 or a keyframe step below 1.
        UsageError: if no such frame of these videos shows an object.
    """

    def __init__(
        self,
        videos: Videos,
        *,
        horizon: int,
        motion: str = "annotated",
        seed: int = 0,
        subset: range | None = None,
        keyframe_step: int = 1,
    ) -> None:
        if motion not in MOTIONS:
            raise ValueError(f"motion must be one of {MOTIONS}, got {motion!r}")
        if horizon < 0:
            raise ValueError(f"horizon T must be 0 or more, got {horizon}")
        if keyframe_step < 1:
            raise ValueError(f"keyframe_step must be at least 1, got {keyframe_step}")
        self.videos, self.horizon, self.motion, self.seed = videos, horizon, motion, seed
        self.keyframe_step = keyframe_step
        self.index: list[tuple[int, int]] = []
        for video in range(len(videos)) if subset is None else subset:
            tracks = videos.tracks(video)
            shown = np.flatnonzero(tracks.present.any(axis=1) & tracks.annotated)
            self.index += [(video, int(t)) for t in shown if t % keyframe_step == 0]
        if not self.index:
            every = "" if keyframe_step == 1 else f" among every {keyframe_step}-th one"
            raise UsageError(f"{videos.path}: no frame holds an annotated object{every}")

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, item: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Image (3, H, W) and its target: ``boxes``, ``labels`` (from 1), ``trajectories``, ``trajectory_valid``."""
        video, time = self.index[item]
        tracks = self.videos.tracks(video)
        objects = np.flatnonzero(tracks.present[time])
        target = {
            "boxes": torch.from_numpy(tracks.boxes[time, objects]),
            "labels": torch.from_numpy(tracks.labels[objects] + 1),
        }
        if self.horizon:
            trajectories, valid = self._trajectories(video, time, tracks, objects)
            target["trajectories"] = torch.from_numpy(np.ascontiguousarray(trajectories))
            target["trajectory_valid"] = torch.from_numpy(np.ascontiguousarray(valid))
        return self.videos.frame(video, time), target

    def _trajectories(
        self, video: int, time: int, tracks: Tracks, objects: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Targets at l = 1..T, (N, T, 4) and (N, T); steps past the end of the video are not valid."""
        frames = len(tracks.annotated)
        image_size = self.videos.image_size(video)
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(video, time)))
        if self.motion in ("linear", "simulated", "random") and not tracks.annotated.all():
            return supervise_sparse(
                self.motion,
                tracks.boxes[time:, objects].swapaxes(0, 1),
                tracks.present[time:, objects].swapaxes(0, 1),
                tracks.annotated[time:],
                self.horizon,
                image_size=image_size,
                segment=int(np.count_nonzero(tracks.annotated[:time])),
                rng=rng,
            )
        steps = np.arange(time, time + self.horizon + 1)
        inside = steps < frames
        steps = np.minimum(steps, frames - 1)
        boxes = tracks.boxes[steps][:, objects].transpose(1, 0, 2)
        present = (tracks.present[steps][:, objects] & inside[:, None]).T
        return supervise(self.motion, boxes, present, image_size=image_size, segment=time // self.horizon, rng=rng)


def collate(
    samples: list[tuple[Tensor, dict[str, Tensor]]],
) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Lists of images and of targets, as torchvision's detectors take them."""
    images, targets = zip(*samples, strict=True)
    return list(images), list(targets)
