"""Videos as a network is shown them: sampled, cropped, flipped, and padded into batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from full_video.augmentation import Augmentation, Draw, direction_labels, mirror_labels
from full_video.frames import FrameSource, Wanted, frame_chunks, rising_indices
from full_video.motion_sampling import motion_scores
from full_video.sampling import Sampling
from full_video.video_sets import VideoSet

__all__ = ["Clip", "ClipSource", "Clips", "collate"]

_CHUNK = 32
"""Frames of a file that are in memory at their full size."""


class Clip(TypedDict):
    """One video, ready for a network."""

    frames: Tensor
    """uint8 (T, 3, S, S)."""
    label: int
    """Its class, that of the flipped and turned video."""
    index: int
    """Which video of the set it is."""


class ClipSource:
    """The chosen and augmented frames of one video, read when asked for; itself a :class:`~full_video.frames.FrameSource`.

    Whatever parts it is read in, and however often, a frame is the same: the draw was made once.
    """

    def __init__(self, source: FrameSource, indices: NDArray[np.int64], augmentation: Augmentation, draw: Draw) -> None:
        self.indices = indices
        self._source, self._augmentation, self._draw = source, augmentation, draw

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, wanted: Wanted) -> Tensor:
        """uint8 (n, 3, S, S)."""
        chosen = self.indices[rising_indices(wanted, len(self))]
        return self._augmentation.apply(self._source[chosen], self._draw)


class Clips(Dataset[Clip]):
    """A set of videos with the rule that picks their frames and the augmentation that crops them.

    The randomness of a clip comes from (``seed``, epoch, index) alone: neither the order, nor the number of worker
    processes, nor the chunks a video is read in change it.

    Args:
        videos: the set.
        sampling: which frames.
        augmentation: size, crop and flip.
        seed: of all randomness.
        training: whether frames and crops are drawn; in test they are the centre ones.
        max_frames: the most frames of a clip; where ``sampling`` gives more, this many at equal steps of them are kept
            (the centres of equal segments). 0 means no limit.

    Raises:
        ValueError: if ``max_frames`` is negative.
        UsageError: if training is to flip by ``directions`` and the classes are not the four directions.
    """

    def __init__(
        self,
        videos: VideoSet,
        sampling: Sampling,
        augmentation: Augmentation,
        seed: int = 0,
        training: bool = False,
        max_frames: int = 0,
    ) -> None:
        if max_frames < 0:
            raise ValueError(f"max_frames must be 0 (no limit) or more, got {max_frames}")
        self.videos, self.sampling, self.augmentation = videos, sampling, augmentation
        self.seed, self.training, self.max_frames = seed, training, max_frames
        self._mirror = mirror_labels(videos.facts.class_names)
        if training and augmentation.flip == "directions":
            direction_labels(videos.facts.class_names, Draw())  # refuses other classes before any worker process
        self._motion: dict[int, NDArray[np.float64]] = {}

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, key: int | tuple[int, int]) -> Clip:
        """:meth:`item` of (index, epoch), or of an index in epoch 0."""
        index, epoch = key if isinstance(key, tuple) else (key, 0)
        return self.item(index, epoch)

    def item(self, index: int, epoch: int = 0) -> Clip:
        """All frames of a clip at once.

        Raises:
            BrokenVideo: if the video cannot be read to its end.
            IndexError: if there is no such video.
        """
        draw, label = self._decide(index, epoch)
        source = self.videos.frames(index)
        if not self.sampling.frames and not self.max_frames:
            # Their number is not needed before, which saves a pass over a video file.
            parts = [self.augmentation.apply(chunk, draw) for chunk in frame_chunks(source, _CHUNK)]
        else:
            clip = ClipSource(source, self._indices(source, index, epoch), self.augmentation, draw)
            parts = [clip[start : start + _CHUNK] for start in range(0, len(clip), _CHUNK)]
        return Clip(frames=parts[0] if len(parts) == 1 else torch.cat(parts), label=label, index=index)

    def source(self, index: int, epoch: int = 0) -> tuple[ClipSource, int]:
        """The same frames to be read in parts, and the label: what a streamed network takes.

        Raises:
            BrokenVideo: if the video cannot be read to its end.
            IndexError: if there is no such video.
        """
        draw, label = self._decide(index, epoch)
        source = self.videos.frames(index)
        return ClipSource(source, self._indices(source, index, epoch), self.augmentation, draw), label

    def _rng(self, index: int, epoch: int, purpose: int) -> np.random.Generator | None:
        if not self.training:
            return None
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(epoch, index, purpose)))

    def _decide(self, index: int, epoch: int) -> tuple[Draw, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"video {index} of {len(self)}")
        # Of its own stream, so that two ways of sampling are compared on the same crops and flips.
        draw = self.augmentation.draw(self._rng(index, epoch, 0))
        label = self.videos.label(index)
        if self.training and self.augmentation.flip == "directions":
            return draw, direction_labels(self.videos.facts.class_names, draw)[label]
        if draw.flip and self.augmentation.flip == "labels":
            mirrored = self._mirror[label]
            if mirrored is None:
                return Draw(draw.pair, draw.place), label
            label = mirrored
        return draw, label

    def _indices(self, source: FrameSource, index: int, epoch: int) -> NDArray[np.int64]:
        motion = None
        if self.sampling.frames and self.sampling.rule == "motion":
            if index not in self._motion:  # the frames do not change: one look in a process, not one in every epoch
                self._motion[index] = motion_scores(source)
            motion = self._motion[index]
        indices = self.sampling.indices(len(source), self._rng(index, epoch, 1), source, motion)
        if self.max_frames and len(indices) > self.max_frames:
            indices = indices[Sampling(self.max_frames, "uniform").indices(len(indices))]
        return indices


def collate(items: Sequence[Clip]) -> tuple[Tensor, Tensor, Tensor]:
    """Clips as a batch of V videos, T being the length of the longest.

    Returns:
        frames: uint8 (V, T, 3, S, S), shorter ones padded by repeating their last frame; of a single clip a view.
        lengths: int64 (V,), frames that are not padding.
        labels: int64 (V,).

    Raises:
        ValueError: if there is no clip, or their frames differ in size.
    """
    if not items:
        raise ValueError("a batch holds at least one clip")
    sizes = {tuple(item["frames"].shape[1:]) for item in items}
    if len(sizes) > 1:
        raise ValueError(f"the clips of a batch must have frames of one size, got {sorted(sizes)}")
    lengths = [len(item["frames"]) for item in items]
    labels = torch.tensor([item["label"] for item in items])
    if len(items) == 1:
        return items[0]["frames"][None], torch.tensor(lengths), labels
    frames = items[0]["frames"].new_empty((len(items), max(lengths), *next(iter(sizes))))
    for row, item, length in zip(frames, items, lengths, strict=True):
        row[:length] = item["frames"]
        row[length:] = item["frames"][-1]
    return frames, torch.tensor(lengths), labels
