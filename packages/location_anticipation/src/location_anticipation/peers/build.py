"""From the name of a method to its network, its training data, and the method itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from location_anticipation.backbones import load_backbone_weights
from location_anticipation.data import Keyframes
from location_anticipation.detector import AnticipationRCNN, build_detector
from location_anticipation.inference import Inference
from location_anticipation.peers.base import ClipDetector
from location_anticipation.peers.clips import Clips
from location_anticipation.peers.config import KEY_BOX_METHODS, PeerConfig
from location_anticipation.peers.dff import DeepFeatureFlow, DeepFeatureFlowVideo
from location_anticipation.peers.fgfa import FlowGuidedAggregation, FlowGuidedAggregationVideo
from location_anticipation.peers.key_boxes import KeyBoxes
from location_anticipation.peers.selsa import SemanticAggregation, SemanticAggregationVideo
from location_anticipation.peers.streaming import ModelRunner
from location_anticipation.video import FrameDetections
from location_anticipation.videos import Videos

__all__ = ["build_peer", "training_data", "video_method"]

VideoMethod = Callable[[Iterable[Any]], Iterator[FrameDetections]]
_MODELS: dict[str, type[ClipDetector]] = {
    "dff": DeepFeatureFlow,
    "fgfa": FlowGuidedAggregation,
    "selsa": SemanticAggregation,
}
_METHODS: dict[str, Any] = {
    "dff": DeepFeatureFlowVideo,
    "fgfa": FlowGuidedAggregationVideo,
    "selsa": SemanticAggregationVideo,
}


def build_peer(config: PeerConfig, backbone_weights: str | None = None) -> AnticipationRCNN:
    """The network of a method, optionally with torchvision's classification weights in its backbone.

    For the key box methods that is the plain detector; one training of it serves all of them.
    """
    if config.method in KEY_BOX_METHODS:
        return build_detector(config.detector, backbone_weights)
    model = _MODELS[config.method](config)
    if backbone_weights is not None:
        load_backbone_weights(model.backbone, config.detector.backbone, backbone_weights)
    return model


def training_data(videos: Videos, config: PeerConfig, *, subset: range | None = None) -> Keyframes:
    """What ``train`` is given for a method: single frames or :class:`Clips`."""
    if config.method in KEY_BOX_METHODS:
        return Keyframes(videos, horizon=0, subset=subset)
    return Clips(videos, config, subset=subset)


def video_method(
    config: PeerConfig,
    model: AnticipationRCNN,
    *,
    to_tensor: Callable[[Any], Tensor] | None = None,
    device: torch.device | str | None = None,
    score_threshold: float = 0.0,
    inference: Inference | None = None,
) -> VideoMethod:
    """The method as a function of a stream of frames: one :class:`FrameDetections` per frame, in order.

    Args:
        config: the method and its rules; those that are no part of the network (keyframe_step, window, references,
            match_iou) may differ from those of the training.
        model: a trained network: any detector for the key box methods, the method's own for the others.
        to_tensor, device, score_threshold, inference: see :class:`~location_anticipation.peers.streaming.ModelRunner`.

    Raises:
        ValueError: if the network is that of another method.
    """
    if config.method in KEY_BOX_METHODS:
        fits, kind = not isinstance(model, ClipDetector), KeyBoxes
    else:
        fits, kind = isinstance(model, _MODELS[config.method]), _METHODS[config.method]
    if not fits:
        own = model.peer.method if isinstance(model, ClipDetector) else "single frames"
        raise ValueError(f"method {config.method!r} cannot run on a network of {own}")
    runner: ModelRunner[Any] = kind(
        model, config, to_tensor=to_tensor, device=device, score_threshold=score_threshold, inference=inference
    )
    method: VideoMethod = runner  # type: ignore[assignment]
    return method
