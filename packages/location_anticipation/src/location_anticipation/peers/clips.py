"""Training data of detectors of clips: an annotated frame and unannotated ones that help it."""

from __future__ import annotations

import torch
from torch import Tensor

from location_anticipation.data import Keyframes
from location_anticipation.peers.config import CLIP_METHODS, PeerConfig
from location_anticipation.videos import Videos

__all__ = ["Clips", "reference_range"]


def reference_range(config: PeerConfig, time: int, frames: int) -> range:
    """Frames that the references of frame ``time`` are drawn from, in a video of ``frames`` frames.

    DFF: a keyframe up to keyframe_step - 1 frames before, the frame itself included. FGFA: up to ``window`` frames before
    and after. SELSA: the whole video. (FGFA and SELSA leave the frame itself out when they draw.)
    """
    if config.method == "dff":
        return range(max(0, time - config.keyframe_step + 1), time + 1)
    if config.method == "fgfa":
        return range(max(0, time - config.window), min(frames, time + config.window + 1))
    return range(frames)


class Clips(Keyframes):
    """Every annotated frame with an object, with randomly drawn references, as (1 + R, 3, H, W), and its target.

    References are drawn anew each time an item is read, from torch's global generator, which the training loop seeds at
    every step: other references in every epoch, and the same ones in a run that is continued. They are different frames
    as long as there are enough; a video of one frame is its own reference.

    Args:
        videos: the videos.
        config: the method, one of :data:`~location_anticipation.peers.config.CLIP_METHODS`.
        subset: video numbers to use; all when None.

    Raises:
        ValueError: for a method that is trained on single frames.
        UsageError: if no frame of these videos shows an object.
    """

    def __init__(self, videos: Videos, config: PeerConfig, *, subset: range | None = None) -> None:
        if config.method not in CLIP_METHODS:
            raise ValueError(f"{config.method} is trained on single frames; clips are for {', '.join(CLIP_METHODS)}")
        super().__init__(videos, horizon=0, subset=subset)
        self.peer = config

    def __getitem__(self, item: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Clip (1 + R, 3, H, W), the current frame first, and its target: ``boxes`` and ``labels`` (from 1)."""
        image, target = super().__getitem__(item)
        video, time = self.index[item]
        references = self.references(video, time)
        return torch.stack((image, *(self.videos.frame(video, index) for index in references))), target

    def references(self, video: int, time: int) -> list[int]:
        """Frames drawn for frame ``time`` of ``video``."""
        config = self.peer
        allowed = list(reference_range(config, time, len(self.videos.tracks(video).annotated)))
        if config.method == "dff":
            return [allowed[int(torch.randint(len(allowed), ()))]]
        allowed = [index for index in allowed if index != time] or [time]
        order = torch.randperm(len(allowed)).tolist()
        return [allowed[order[i % len(order)]] for i in range(config.train_references)]
