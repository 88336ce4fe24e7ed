"""Clips: videos as a network is shown them, sampled, cropped and flipped."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from full_video.data.augmentation import Augmentation, Draw, direction_labels, mirror_labels
from full_video.data.clip_config import ClipConfig
from full_video.data.sampling import motion_scores
from full_video.data.video_set import VideoSet
from full_video.networks.frames import FrameSource, Wanted, frame_chunks, rising_indices

_CHUNK = 32  # frames of a file that are in memory at their full size


class Clip(NamedTuple):
    """One video, ready for a network."""

    frames: Tensor
    """uint8 (T, 3, S, S)."""
    label: int
    """Class of the flipped and turned video."""


class ClipSource:
    """The chosen and augmented frames of one video, read when asked for; a
    :class:`~full_video.networks.frames.FrameSource`. The random decisions are made once, so a frame is the same in
    every pass and in parts of any size. ``indices``, int64 (n,), are the chosen frames of the video."""

    def __init__(self, source: FrameSource, indices: NDArray[np.int64], augmentation: Augmentation, draw: Draw) -> None:
        self.indices = indices
        self._source, self._augmentation, self._draw = source, augmentation, draw

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, wanted: Wanted) -> Tensor:
        """uint8 (n, 3, S, S)."""
        chosen = self.indices[rising_indices(wanted, len(self))]
        return self._augmentation.apply(self._source[chosen], self._draw)


class Clips:
    """A set of videos with the rules that choose, crop and flip their frames. In ``training`` frames and crops are
    drawn; in a test they are the centre ones. The randomness of a clip depends on (``seed``, epoch, video) alone, not
    on the order, the worker processes or the chunks in which a video is read. Raises UsageError if training flips by
    ``directions`` and the classes are not the four directions."""

    def __init__(self, videos: VideoSet, config: ClipConfig, seed: int = 0, training: bool = False) -> None:
        self.videos, self.config, self.seed, self.training = videos, config, seed, training
        self._mirror = mirror_labels(videos.info.class_names)
        if training and config.augmentation.flip == "directions":
            direction_labels(videos.info.class_names, Draw())  # refuses other classes before any worker process starts
        self._motion: dict[int, NDArray[np.float64]] = {}

    def __len__(self) -> int:
        return len(self.videos)

    def clip(self, video: int, epoch: int = 0) -> Clip:
        """All frames of a clip at once; raises as :meth:`source`."""
        if self.config.sampling.frames or self.config.max_frames:
            clip, label = self.source(video, epoch)
            parts = list(frame_chunks(clip, _CHUNK))
        else:  # their number is not needed before, which saves a pass over a video file
            draw, label = self._decide(video, epoch)
            chunks = frame_chunks(self.videos.frames(video), _CHUNK)
            parts = [self.config.augmentation.apply(chunk, draw) for chunk in chunks]
        return Clip(parts[0] if len(parts) == 1 else torch.cat(parts), label)

    def source(self, video: int, epoch: int = 0) -> tuple[ClipSource, int]:
        """The same frames to be read in parts, as a streamed network takes them, and the label. Raises BrokenFile if
        the video cannot be read to its end; IndexError if there is no such video."""
        draw, label = self._decide(video, epoch)
        source = self.videos.frames(video)
        if self.config.sampling.needs_motion and video not in self._motion:
            self._motion[video] = motion_scores(source)  # the same in every epoch
        indices = self.config.indices(len(source), self._rng(video, epoch, 1), self._motion.get(video))
        return ClipSource(source, indices, self.config.augmentation, draw), label

    def _rng(self, video: int, epoch: int, purpose: int) -> np.random.Generator | None:
        if not self.training:
            return None
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(epoch, video, purpose)))

    def _decide(self, video: int, epoch: int) -> tuple[Draw, int]:
        if not 0 <= video < len(self):
            raise IndexError(f"video {video} of {len(self)}")
        augmentation = self.config.augmentation
        # A random stream of its own, so that two ways of sampling are compared on the same crops and flips.
        draw = augmentation.draw(self._rng(video, epoch, 0))
        label = self.videos.label(video)
        if self.training and augmentation.flip == "directions":
            return draw, direction_labels(self.videos.info.class_names, draw)[label]
        if draw.flip and augmentation.flip == "labels":
            if (mirrored := self._mirror[label]) is None:
                return Draw(draw.pair, draw.place), label
            return draw, mirrored
        return draw, label
