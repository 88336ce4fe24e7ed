"""Sequence Level Semantics Aggregation (Wu et al., ICCV 2019, arXiv 1907.06390): proposals learn from like proposals."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

from location_anticipation.inference.stream import FrameDetections
from location_anticipation.model.config import DetectorConfig
from location_anticipation.peers.base import ClipDetector, PeerRunner, Size
from location_anticipation.peers.config import PeerConfig


class SemanticsAggregator(nn.Module):
    r"""Adds to every proposal a mean of the reference proposals, weighted by semantic likeness (equations 1 and 2).

        x_i' = x_i + W_o \sum_j w_ij W_v r_j,    w_ij = softmax_j( phi(x_i)^T psi(r_j) / sqrt(d) )

    in groups of d channels that are compared separately: the paper's phi and psi, with the groups, the value and
    output transforms and the residual of its released code.

    Args:
        width: channels of a proposal.
        heads: number of groups; divides the width.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)

    def keys_values(self, references: Tensor) -> tuple[Tensor, Tensor]:
        """psi(r) and W_v r of reference proposals (S, width); they do not depend on the current frame."""
        return self.key(references), self.value(references)

    def forward(self, proposals: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Proposals (R, width), each with the weighted mean of the references (S, width) added."""
        q, k, v = (
            part.unflatten(1, (self.heads, -1)).transpose(0, 1) for part in (self.query(proposals), keys, values)
        )
        gathered = F.scaled_dot_product_attention(q[None], k[None], v[None])[0]
        return proposals + self.out(gathered.transpose(0, 1).flatten(1))


class _Described(NamedTuple):
    """Proposals as the first FC layer has them, and as references at both stages; (R, width) each."""

    first: Tensor
    key1: Tensor
    value1: Tensor
    key2: Tensor
    value2: Tensor

    def split(self, counts: list[int]) -> "list[_Described]":
        return [_Described(*rows) for rows in zip(*(part.split(counts) for part in self), strict=True)]


class SemanticAggregation(ClipDetector):
    """Proposals of the current frame, enhanced after each of the two FC layers of the box head by those of other frames.

    A clip is the current frame and any number of references from the same video. The current frame's own proposals are
    among the references. References are described by their own frame alone, so that a stream computes them once.
    """

    def __init__(self, detector: DetectorConfig, peer: PeerConfig) -> None:
        super().__init__(detector, peer)
        width = detector.representation
        self.aggregator1 = SemanticsAggregator(width, peer.attention_heads)
        self.aggregator2 = SemanticsAggregator(width, peer.attention_heads)

    def describe(self, pooled: Tensor) -> _Described:
        """Proposals from their pooled features (R, C, 7, 7)."""
        head = self.roi_heads.box_head
        first = head.fc6(pooled.flatten(1))
        second = head.fc7(F.relu(first))
        return _Described(first, *self.aggregator1.keys_values(first), *self.aggregator2.keys_values(second))

    def enhance(self, own: _Described, references: list[_Described]) -> Tensor:
        """The box head's output (R, width) for proposals of a frame, aggregated over ``references``."""
        _, *described = zip(*references, strict=True)
        key1, value1, key2, value2 = (torch.cat(parts) for parts in described)
        x = F.relu(self.aggregator1(own.first, key1, value1))
        return F.relu(self.aggregator2(self.roi_heads.box_head.fc7(x), key2, value2))

    def propose(self, images: ImageList, features: dict[str, Tensor]) -> list[Tensor]:
        """Proposals as in inference, without gradient, whatever the mode."""
        training, self.rpn.training = self.rpn.training, False
        try:
            with torch.no_grad():
                proposals: list[Tensor] = self.rpn(images, features)[0]
        finally:
            self.rpn.training = training
        return proposals

    def _run(
        self,
        current: ImageList,
        references: list[Tensor],
        reference_sizes: list[Size],
        targets: list[dict[str, Tensor]] | None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        batch, roi = len(current.tensors), self.roi_heads
        everything = self.frame_features(torch.cat((current.tensors, *references)))
        features = {level: values[:batch] for level, values in everything.items()}
        proposals, losses = self.rpn(current, features, targets)
        if self.training:
            proposals, _, labels, regression_targets = roi.select_training_samples(proposals, targets)
        pooled = roi.box_roi_pool(features, proposals, current.image_sizes)
        counts = [len(boxes) for boxes in proposals]
        if references:
            others = {level: values[batch:] for level, values in everything.items()}
            found = self.propose(ImageList(torch.cat(references), reference_sizes), others)
            pooled = torch.cat((pooled, roi.box_roi_pool(others, found, reference_sizes)))
            counts += [len(boxes) for boxes in found]
        frames = self.describe(pooled).split(counts)  # of B current frames, then of R times B references
        represented = torch.cat([self.enhance(frames[i], frames[i::batch]) for i in range(batch)])
        class_logits, box_regression = roi.box_predictor(represented)
        if self.training:
            return [], {**roi.box_losses(class_logits, box_regression, labels, regression_targets), **losses}
        return roi.detections(represented, class_logits, box_regression, proposals, current.image_sizes), {}


def spread_references(first: int, last: int, most: int) -> list[int]:
    """At most ``most`` frames, spread evenly over ``first``..``last`` with both ends, in order."""
    count = min(most, last - first + 1)
    return [int(index) for index in np.linspace(first, last, count).round()]


class _Kept(NamedTuple):
    """A frame of a stream, as it is kept."""

    proposals: Tensor
    described: _Described
    prepared: Size
    original: Size


class SemanticAggregationVideo(PeerRunner[SemanticAggregation]):
    """SELSA in a stream: every frame with ``references`` frames spread over the ``window`` K before and after it.

    The paper spreads them over the whole video, which a window as long as the video does here. The network runs once
    per frame. Results come K frames late. Keeps the described proposals of 2K + 1 frames.
    """

    def __call__(self, frames: Iterable[Any]) -> Iterator[FrameDetections]:
        """Yield the detections of every frame when the K frames after it have come, or the stream has ended.

        Raises:
            TypeError, ValueError: for frames that are no images.
        """
        reach, count = self.peer.window, 0
        kept: dict[int, _Kept] = {}
        for index, frame in enumerate(frames):
            kept[index] = self._describe(frame)
            count = index + 1
            if index >= reach:
                yield self._frame(kept, index - reach, index)
                kept.pop(index - 2 * reach, None)
        for index in range(max(0, count - reach), count):
            yield self._frame(kept, index, count - 1)

    def _describe(self, frame: Any) -> _Kept:
        image = self.image(frame)
        with self.running():
            images = self.model.prepare(image)
            features = self.model.frame_features(images.tensors)
            proposals = self.model.propose(images, features)
            pooled = self.model.roi_heads.box_roi_pool(features, proposals, images.image_sizes)
            described = self.model.describe(pooled)
        return _Kept(proposals[0], described, images.image_sizes[0], (int(image.shape[-2]), int(image.shape[-1])))

    def _frame(self, kept: dict[int, _Kept], index: int, newest: int) -> FrameDetections:
        own, roi = kept[index], self.model.roi_heads
        chosen = spread_references(max(0, index - self.peer.window), newest, self.peer.references)
        with self.running():
            references = [own.described, *(kept[i].described for i in chosen if i != index)]
            represented = self.model.enhance(own.described, references)
            logits, regression = roi.box_predictor(represented)
            detections = roi.detections(represented, logits, regression, [own.proposals], [own.prepared])
            (detection,) = self.model.transform.postprocess(detections, [own.prepared], [own.original])
        return FrameDetections(index, True, 0, **self.found(detection, own.original))
