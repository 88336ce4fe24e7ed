"""Keyframes to learn from: boxes, how they moved since an earlier keyframe, and where the detector finds them later."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from efficiency_core.errors import UsageError
from location_anticipation.adaptation.config import AdaptConfig, MotionConfig
from location_anticipation.adaptation.linking import Tracks
from location_anticipation.adaptation.motion_head import box_motion
from location_anticipation.adaptation.observation import Observation
from location_anticipation.inference.stream import Earlier


class Batch(NamedTuple):
    """The N boxes of some keyframes."""

    boxes: Tensor
    """(N, 4)."""
    scores: Tensor
    """(N,)."""
    features: Tensor
    """(N, F)."""
    motion: Tensor
    """(N, 7), or (N, G, 7) for G distances to the keyframe before."""
    sizes: Tensor
    """(N, 2), width and height of the image."""
    true_boxes: Tensor
    """(N, T + 1, 4), where the detector finds them at l = 0..T."""
    valid: Tensor
    """(N, T + 1) bool, whether it does."""


class Samples:
    """All keyframes with an object that is found again; computed once, since a training draws each of them often.

    Raises:
        UsageError: if no object is found in two observed frames.
    """

    def __init__(self, videos: Sequence[Observation], motion: MotionConfig, config: AdaptConfig) -> None:
        self._pool, self._flip = motion.pool, config.flip
        parts = []
        for video in videos:
            tracks = Tracks(video, config.link_iou, config.link_gap)
            for time in range(len(video.boxes)):
                true_boxes, valid = tracks.after(time, motion.horizon)
                if valid[:, 1:].any():
                    parts.append(_keyframe(video, time, motion, true_boxes, valid))
        if not parts:
            raise UsageError(
                f"the detector finds no object in two frames at most {motion.horizon} apart (score {config.score} or more)"
            )
        counts = torch.tensor([len(part.boxes) for part in parts])
        self._first = counts.cumsum(0) - counts
        self._counts = counts
        self.whole = Batch(*(torch.cat(values) for values in zip(*parts, strict=True)))
        """All keyframes one after the other."""

    def boxes_of(self, drawn: Tensor) -> Batch:
        """The boxes of keyframes.

        ``drawn`` (K, 3) in [0, 1): which keyframe, the distance to the keyframe before, and whether it is mirrored.
        """
        which = (drawn[:, 0] * len(self._counts)).long()
        counts = self._counts[which]
        within = torch.arange(int(counts.sum())) - (counts.cumsum(0) - counts).repeat_interleave(counts)
        rows = self._first[which].repeat_interleave(counts) + within
        picked = Batch(*(values[rows] for values in self.whole))
        gap = (drawn[:, 1] * picked.motion.shape[1]).long().repeat_interleave(counts)
        picked = picked._replace(motion=picked.motion[torch.arange(len(rows)), gap], features=picked.features.float())
        if not self._flip:
            return picked
        mirrored, other = (drawn[:, 2] < 0.5).repeat_interleave(counts), self._mirrored(picked)
        return Batch(*(
            torch.where(mirrored.view(-1, *[1] * (own.ndim - 1)), turned, own)
            for own, turned in zip(picked, other, strict=True)
        ))  # fmt: skip

    def _mirrored(self, batch: Batch) -> Batch:
        width = batch.sizes[:, 0]
        cells = batch.features.unflatten(1, (-1, self._pool, self._pool)) if batch.features.numel() else batch.features
        return batch._replace(
            boxes=_mirror(batch.boxes, width[:, None]),
            true_boxes=_mirror(batch.true_boxes, width[:, None, None]),
            motion=batch.motion * batch.motion.new_tensor([-1.0, 1, 1, 1, 1, 1, 1]),
            features=cells.flip(-1).flatten(1) if batch.features.numel() else cells,
        )


def _keyframe(video: Observation, time: int, config: MotionConfig, true_boxes: Tensor, valid: Tensor) -> Batch:
    boxes, labels = video.boxes[time], video.labels[time]
    motions = []
    for back in range(1, max((config.horizon + 1) // video.every, 1) + 1):
        earlier = None
        if back <= time:
            earlier = Earlier(video.boxes[time - back], video.labels[time - back], back * video.every)
        motions.append(box_motion(boxes, labels, earlier, config.horizon, config.match_iou))
    height, width = video.size
    sizes = torch.tensor([[width, height]], dtype=torch.float32).expand(len(boxes), 2)
    return Batch(boxes, video.scores[time], video.features[time], torch.stack(motions, dim=1), sizes, true_boxes, valid)


def _mirror(boxes: Tensor, width: Tensor) -> Tensor:
    """Boxes (..., 4) in the image mirrored left to right."""
    return torch.cat((width - boxes[..., 2:3], boxes[..., 1:2], width - boxes[..., :1], boxes[..., 3:]), dim=-1)
