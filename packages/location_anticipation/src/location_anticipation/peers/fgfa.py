"""Flow-Guided Feature Aggregation (Zhu et al., ICCV 2017, arXiv 1703.10025): neighbours' features, moved and averaged."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

from location_anticipation.inference.stream import FrameDetections
from location_anticipation.model.config import DetectorConfig
from location_anticipation.peers.base import ClipDetector, Features, PeerRunner, Size
from location_anticipation.peers.config import PeerConfig
from location_anticipation.peers.flow import FlowNetS, flow_for, half_size, warp


def aggregate(features: Tensor, embeddings: Tensor, own: Tensor) -> Tensor:
    r"""Weighted mean of neighbours' features (equations 2 and 3): \sum_j w_j(p) f_j(p), w_j(p) ~ exp cos(e_j(p), e_i(p)).

    Args:
        features: (N, B, C, h, w) of the N frames, already moved to the current one.
        embeddings: (N, B, E, h, w) of the same frames, moved along.
        own: (B, E, h, w), the current frame's embedding e_i.

    Returns:
        (B, C, h, w); the weights of a place add up to 1 over the frames.
    """
    likeness = F.cosine_similarity(embeddings.float(), own.float()[None], dim=2)
    weights = likeness.softmax(dim=0)[:, :, None].to(features.dtype)
    return (weights * features).sum(dim=0)


class FlowGuidedAggregation(ClipDetector):
    """Features of a frame are a mean of its own and its neighbours', weighted by likeness at every place.

    A clip is the current frame and any number of neighbours. The current frame takes part unmoved. The embedding is
    computed once per frame and moved together with the features, as in the test network of the released code; the
    paper computes it from the moved features, which is 2K times the work.
    """

    def __init__(self, detector: DetectorConfig, peer: PeerConfig) -> None:
        super().__init__(detector, peer)
        self.flow = FlowNetS(peer.flow_width)
        hidden, out = (max(1, round(peer.embedding_width * channels)) for channels in (512, 2048))
        self.embedding = nn.Sequential(
            nn.Conv2d(detector.channels, hidden, 1), nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, padding=1), nn.ReLU(),
            nn.Conv2d(hidden, out, 1),
        )  # fmt: skip

    def embed(self, features: Features) -> Features:
        """Embeddings (B, E, h, w) of feature maps, by level."""
        return {level: self.embedding(values) for level, values in features.items()}

    def combine(self, features: Features, embeddings: Features, flow: Tensor, own: int, batch: int) -> Features:
        """Feature maps of B current frames from those of N frames each.

        Args:
            features, embeddings: (N B, C or E, h, w) by level, frame by frame.
            flow: (N B, 2, h', w'), from each current frame to each of its frames; not read for ``own``.
            own: which of the N is the current frame itself.
            batch: B.
        """
        combined = {}
        mine = slice(own * batch, (own + 1) * batch)
        for level, values in features.items():
            size = (int(values.shape[-2]), int(values.shape[-1]))
            moved, embedded = (warp(maps, flow_for(flow, size)) for maps in (values, embeddings[level]))
            moved[mine], embedded[mine] = values[mine], embeddings[level][mine]
            combined[level] = aggregate(
                moved.unflatten(0, (-1, batch)), embedded.unflatten(0, (-1, batch)), embeddings[level][mine]
            )
        return combined

    def clip_features(self, current: Tensor, references: list[Tensor]) -> Features:
        frames = torch.cat((current, *references))
        features = self.frame_features(frames)
        if not references:
            return features
        half = half_size(frames)
        batch = len(current)
        flow, _ = self.flow(half[:batch].repeat(len(references), 1, 1, 1), half[batch:])
        flow = torch.cat((torch.zeros_like(flow[:batch]), flow))
        return self.combine(features, self.embed(features), flow, 0, batch)


class _Ring:
    """The last frames of a stream: half-size frames, features and embeddings, each by level, written over in turn."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.kept: list[Features] = []

    def put(self, index: int, *frame: Features) -> None:
        if not self.kept:
            self.kept = [{k: v.new_zeros(self.capacity, *v.shape[1:]) for k, v in maps.items()} for maps in frame]
        for kept, maps in zip(self.kept, frame, strict=True):
            for level, values in maps.items():
                kept[level][index % self.capacity] = values[0]

    def frames(self, wanted: range, own: int) -> tuple[list[Features], int]:
        """Maps of the wanted frames, and the position of ``own`` among them.

        When all slots are wanted they come as they lie, in another order and without a copy.
        """
        if len(wanted) == self.capacity:
            return self.kept, own % self.capacity
        device = next(iter(self.kept[0].values())).device
        slots = torch.tensor([index % self.capacity for index in wanted], device=device)
        return [{level: values[slots] for level, values in maps.items()} for maps in self.kept], own - wanted.start


class FlowGuidedAggregationVideo(PeerRunner[FlowGuidedAggregation]):
    """FGFA in a stream: every frame with the ``window`` K frames before and after it, as far as the video has them.

    The backbone runs once per frame, the flow network 2K times. Results come K frames late. Keeps frames, features and
    embeddings of 2K + 1 frames. Frames of one stream must be of one size.
    """

    def __call__(self, frames: Iterable[Any]) -> Iterator[FrameDetections]:
        """Yield the detections of every frame when the K frames after it have come, or the stream has ended.

        Raises:
            TypeError, ValueError: for frames that are no images, or not all of one size.
        """
        reach, count = self.peer.window, 0
        ring = _Ring(2 * reach + 1)
        for index, frame in enumerate(frames):
            image = self.image(frame)
            if index == 0:
                size = (int(image.shape[-2]), int(image.shape[-1]))
            elif tuple(image.shape[-2:]) != size:
                raise ValueError(f"frame {index} is {tuple(image.shape[-2:])}, the frames before it {size}")
            count = index + 1
            with self.running():
                images = self.model.prepare(image)
                features = self.model.frame_features(images.tensors)
                ring.put(index, {"half": half_size(images.tensors)}, features, self.model.embed(features))
            if index >= reach:
                yield self._frame(ring, index - reach, index, images, size)
        for index in range(max(0, count - reach), count):
            yield self._frame(ring, index, count - 1, images, size)

    def _frame(self, ring: _Ring, index: int, newest: int, images: ImageList, size: Size) -> FrameDetections:
        with self.running():
            maps, own = ring.frames(range(max(0, index - self.peer.window), newest + 1), index)
            half, features, embeddings = maps[0]["half"], maps[1], maps[2]
            if len(half) > 1:
                flow = half.new_zeros(len(half), 2, *(-(-side // 4) for side in half.shape[-2:]), dtype=torch.float32)
                others = torch.arange(len(half), device=half.device) != own
                flow[others], _ = self.model.flow(half[own : own + 1].expand(len(half) - 1, -1, -1, -1), half[others])
                features = self.model.combine(features, embeddings, flow, own, 1)
            detection = self.model.detect(features, images, size)
        return FrameDetections(index, True, 0, **self.found(detection, size))
