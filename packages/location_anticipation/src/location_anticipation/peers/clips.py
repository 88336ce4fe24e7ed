"""Training data of detectors of clips: an annotated frame and reference frames, whose annotation is not used."""

import torch

from location_anticipation.data.keyframes import Keyframes, Sample
from location_anticipation.data.videos import Videos
from location_anticipation.peers.config import CLIP_METHODS, PeerConfig


class Clips(Keyframes):
    """Every annotated frame with randomly drawn references, as (1 + R, 3, H, W), and its target.

    References are drawn anew each time a sample is read. They are different frames as long as there are enough; a video of
    one frame is its own reference.

    Args:
        videos: the videos.
        peer: the method, one of :data:`~location_anticipation.peers.config.CLIP_METHODS`.

    Raises:
        ValueError: for a method that is trained on single frames.
        UsageError: if no frame of these videos shows an object.
    """

    def __init__(self, videos: Videos, peer: PeerConfig) -> None:
        if peer.method not in CLIP_METHODS:
            raise ValueError(f"{peer.method} is trained on single frames; clips are for {', '.join(CLIP_METHODS)}")
        super().__init__(videos, horizon=0)
        self.peer = peer

    def draw(self, item: int, generator: torch.Generator) -> list[int]:
        """Numbers of the reference frames.

        DFF: a keyframe up to keyframe_step - 1 frames before, or the frame itself. FGFA: other frames up to ``window`` frames
        before and after. SELSA: other frames of the whole video.
        """
        video, time = self.index[item]
        last = len(self.videos.tracks(video).annotated) - 1
        if self.peer.method == "dff":
            first = max(0, time - self.peer.keyframe_step + 1)
            return [first + int(torch.randint(time + 1 - first, (), generator=generator))]
        window = self.peer.window if self.peer.method == "fgfa" else last
        around = range(max(0, time - window), min(last, time + window) + 1)
        allowed = [index for index in around if index != time] or [time]
        order = torch.randperm(len(allowed), generator=generator).tolist()
        return [allowed[order[i % len(order)]] for i in range(self.peer.train_references)]

    def read(self, item: int, references: list[int]) -> Sample:
        """Clip (1 + R, 3, H, W), the current frame first, and its target: ``boxes`` and ``labels`` (from 1)."""
        image, target = super().read(item, references)
        video, _ = self.index[item]
        return torch.stack((image, *(self.videos.frame(video, index) for index in references))), target
