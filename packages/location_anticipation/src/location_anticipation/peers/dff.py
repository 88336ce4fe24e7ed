"""Deep Feature Flow (Zhu et al., CVPR 2017, arXiv 1611.07715): keyframe features, moved to the frames in between."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from location_anticipation.inference.stream import FrameDetections
from location_anticipation.model.config import DetectorConfig
from location_anticipation.peers.base import ClipDetector, Features, PeerRunner
from location_anticipation.peers.config import PeerConfig
from location_anticipation.peers.flow import FlowNetS, flow_for, half_size, resize_map, warp


class DeepFeatureFlow(ClipDetector):
    """Features of a frame are those of its keyframe, warped by estimated flow and scaled (equation 4 of the paper).

    A clip is (current frame, keyframe). Where both are the same frame its features are taken as they are, in training
    as in inference. With FPN every level is warped, by the flow brought to its size.
    """

    def __init__(self, detector: DetectorConfig, peer: PeerConfig) -> None:
        super().__init__(detector, peer)
        self.flow = FlowNetS(peer.flow_width)
        self.scale = nn.Conv2d(self.flow.out_channels, detector.channels, 1, bias=False)
        nn.init.zeros_(self.scale.weight)

    def propagate(self, key_features: Features, key_half: Tensor, current_half: Tensor) -> Features:
        """Feature maps of current frames from those of their keyframes.

        Args:
            key_features: (B, C, h, w) by level.
            key_half, current_half: (B, 3, H/2, W/2) prepared frames at half resolution.
        """
        flow, known = self.flow(current_half, key_half)
        scale = 1 + self.scale(known)  # 1 everywhere before training; the paper's constant bias
        moved = {}
        for level, values in key_features.items():
            size = (int(values.shape[-2]), int(values.shape[-1]))
            moved[level] = warp(values, flow_for(flow, size)) * resize_map(scale, size).to(values.dtype)
        return moved

    def clip_features(self, current: Tensor, references: list[Tensor]) -> Features:
        if not references:
            return self.frame_features(current)
        if len(references) != 1:
            raise ValueError(f"a clip of DFF is the current frame and its keyframe, got {1 + len(references)} frames")
        key = references[0]
        features = self.frame_features(key)
        moved = self.propagate(features, half_size(key), half_size(current))
        same = (key == current).flatten(1).all(dim=1)[:, None, None, None]
        return {level: torch.where(same, values, moved[level]) for level, values in features.items()}


class DeepFeatureFlowVideo(PeerRunner[DeepFeatureFlow]):
    """Deep Feature Flow in a stream: the whole network on every ``keyframe_step``-th frame, flow and heads on the others.

    Keeps one frame and its features. Frames of one stream must be of one size.
    """

    def __call__(self, frames: Iterable[Any]) -> Iterator[FrameDetections]:
        """Yield the detections of every frame as soon as it has come.

        Raises:
            TypeError, ValueError: for frames that are no images, or a change of their size between keyframes.
        """
        step = self.peer.keyframe_step
        for index, frame in enumerate(frames):
            image = self.image(frame)
            size = (int(image.shape[-2]), int(image.shape[-1]))
            with self.running():
                images = self.model.prepare(image)
                half = half_size(images.tensors)
                if index % step == 0:
                    features = key_features = self.model.frame_features(images.tensors)
                    key_half, key_size = half, size
                else:
                    if size != key_size:
                        raise ValueError(f"frame {index} is {size}, its keyframe {key_size}")
                    features = self.model.propagate(key_features, key_half, half)
                detection = self.model.detect(features, images, size)
            yield FrameDetections(index, index % step == 0, index % step, **self.found(detection, size))
