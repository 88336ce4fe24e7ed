"""The network, the training data and the video method of a peer, by its name."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from location_anticipation.data.keyframes import Keyframes
from location_anticipation.data.videos import Videos
from location_anticipation.inference.key_boxes import KeyBoxes
from location_anticipation.inference.stream import VideoDetector, VideoMethod
from location_anticipation.model.backbones import load_backbone_weights
from location_anticipation.model.config import DetectorConfig
from location_anticipation.model.detector import AnticipationRCNN
from location_anticipation.peers.base import ClipDetector
from location_anticipation.peers.clips import Clips
from location_anticipation.peers.config import PeerConfig, check_peer
from location_anticipation.peers.dff import DeepFeatureFlow, DeepFeatureFlowVideo
from location_anticipation.peers.fgfa import FlowGuidedAggregation, FlowGuidedAggregationVideo
from location_anticipation.peers.selsa import SemanticAggregation, SemanticAggregationVideo

_PEERS: dict[str, tuple[type[ClipDetector], Any]] = {
    "dff": (DeepFeatureFlow, DeepFeatureFlowVideo),
    "fgfa": (FlowGuidedAggregation, FlowGuidedAggregationVideo),
    "selsa": (SemanticAggregation, SemanticAggregationVideo),
}
"""Network and video method of the methods that are trained on clips."""
_BETWEEN: dict[str, Any] = {
    "per_frame": "copied",
    "key_boxes_copied": "copied",
    "constant_velocity": "velocity",
    "interpolation": "interpolation",
}


def build_peer(
    detector: DetectorConfig, peer: PeerConfig, backbone_weights: str | Mapping[str, Tensor] | None = None
) -> AnticipationRCNN:
    """The network of a method, optionally with classification weights in its backbone: torchvision's, by name, or a state.

    For the key box methods that is the plain detector; one training of it serves all of them.

    Raises:
        ValueError: if the method cannot be built on the detector, or torchvision has no such weights.
        ConnectionError: if the weights cannot be downloaded.
    """
    check_peer(peer, detector)
    model = _PEERS[peer.method][0](detector, peer) if peer.method in _PEERS else AnticipationRCNN(detector)
    if backbone_weights is not None:
        load_backbone_weights(model.backbone, detector.backbone, backbone_weights)
    return model


def training_data(videos: Videos, peer: PeerConfig) -> Keyframes:
    """Training data of a peer: single frames, or :class:`Clips`."""
    return Clips(videos, peer) if peer.method in _PEERS else Keyframes(videos, horizon=0)


def video_method(peer: PeerConfig, model: AnticipationRCNN, **options: Any) -> VideoMethod:
    """The method as a function of a stream of frames: one :class:`FrameDetections` per frame, in order.

    Args:
        peer: the method and its rules; those that are no part of the network (keyframe_step, window, references,
            match_iou) may differ from those of the training.
        model: a trained network: any detector for the key box methods, the method's own for the others.
        options: of :class:`~location_anticipation.inference.model_runner.ModelRunner`.

    Raises:
        ValueError: if the network is that of another method.
    """
    own = model.peer.method if isinstance(model, ClipDetector) else "single frames"
    if own != (peer.method if peer.method in _PEERS else "single frames"):
        raise ValueError(f"method {peer.method!r} cannot run on a network of {own}")
    if peer.method == "anticipation":
        return VideoDetector(model, peer.keyframe_step, **options)
    if peer.method in _PEERS:
        method: VideoMethod = _PEERS[peer.method][1](model, peer, **options)
        return method
    step = 1 if peer.method == "per_frame" else peer.keyframe_step
    return KeyBoxes(model, _BETWEEN[peer.method], step, peer.match_iou, **options)
