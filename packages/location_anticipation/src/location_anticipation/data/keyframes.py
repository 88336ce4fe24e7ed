"""Training samples: keyframes of annotated videos with the trajectories of their objects."""

import numpy as np
import torch
from torch import Tensor

from efficiency_core.errors import UsageError
from location_anticipation.data.motion_supervision import BETWEEN, Supervision, supervise, supervise_sparse
from location_anticipation.data.videos import Sparse, Tracks, Videos

Sample = tuple[Tensor, dict[str, Tensor]]
"""Image (3, H, W) and target of a keyframe."""


class Keyframes:
    """Every annotated frame as a keyframe with the trajectories of its objects, of which it may have none.

    Frames annotated as empty teach the detector what is no object.

    In a video annotated in every frame, the motions ``linear``, ``simulated`` and ``random`` use the boxes of frames t
    and t+T alone, as in the thesis's controlled experiments (2.4.1). In other videos they lead from one annotated frame
    to the next (:func:`~location_anticipation.data.supervise_sparse`). ``annotated`` supervises the steps that fall on
    annotated frames, whichever they are.

    Args:
        videos: the videos, of any length and image size.
        horizon: T; 0 leaves trajectories out.
        supervision: which frames are keyframes, and what supervises the frames between them.
        seed: of the ``random`` motion. A frame's random boxes are drawn once and stay the same in every epoch, as
            annotations would.

    Raises:
        ValueError: for a horizon below 0.
        UsageError: if no such frame of these videos shows an object.
    """

    def __init__(self, videos: Videos, *, horizon: int, supervision: Supervision | None = None, seed: int = 0) -> None:
        if horizon < 0:
            raise ValueError(f"horizon T must be 0 or more, got {horizon}")
        self.supervision = supervision = supervision or Supervision()
        self.videos = Sparse(videos, supervision.label_step) if supervision.label_step > 1 else videos
        self.horizon, self.seed = horizon, seed
        self.index: list[tuple[int, int]] = []
        objects = False
        for video in range(len(videos)):
            tracks = self.videos.tracks(video)
            times = np.flatnonzero(tracks.annotated)
            times = times[times % supervision.keyframe_step == 0]
            self.index += [(video, int(t)) for t in times]
            objects |= bool(tracks.present[times].any())
        if not objects:
            every = f" among every {supervision.keyframe_step}-th one" if supervision.keyframe_step > 1 else ""
            raise UsageError(f"{videos.path}: no frame holds an annotated object{every}")

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, item: int) -> Sample:
        """A sample; random numbers, where any are drawn, are those of torch's global generator."""
        return self.read(item, self.draw(item, torch.default_generator))

    def draw(self, item: int, generator: torch.Generator) -> list[int]:
        """Further frames of a sample that are drawn at random; none here, see :class:`~location_anticipation.peers.Clips`."""
        return []

    def read(self, item: int, references: list[int]) -> Sample:
        """Image (3, H, W) and its target: ``boxes``, ``labels`` (from 1), ``trajectories``, ``trajectory_valid``.

        Args:
            item: number of the keyframe.
            references: what :meth:`draw` drew for it.
        """
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
        motion, image_size = self.supervision.motion, self.videos.image_size(video)
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(video, time)))
        if motion in BETWEEN and not tracks.annotated.all():
            return supervise_sparse(
                motion,
                tracks.boxes[time:, objects].swapaxes(0, 1),
                tracks.present[time:, objects].swapaxes(0, 1),
                tracks.annotated[time:],
                self.horizon,
                image_size=image_size,
                segment=int(np.count_nonzero(tracks.annotated[:time])),
                rng=rng,
            )
        steps = np.arange(time, time + self.horizon + 1)
        inside = steps < len(tracks.annotated)
        steps = np.minimum(steps, len(tracks.annotated) - 1)
        boxes = tracks.boxes[steps][:, objects].transpose(1, 0, 2)
        present = (tracks.present[steps][:, objects] & inside[:, None]).T
        return supervise(motion, boxes, present, image_size=image_size, segment=time // self.horizon, rng=rng)
