"""Methods that the detector of this package is compared with, on the same backbone, data and training loop."""

from location_anticipation.peers.base import ClipDetector
from location_anticipation.peers.build import build_peer, training_data, video_method
from location_anticipation.peers.clips import Clips
from location_anticipation.peers.config import CLIP_METHODS, KEY_BOX_METHODS, METHODS, PeerConfig

__all__ = [
    "CLIP_METHODS",
    "KEY_BOX_METHODS",
    "METHODS",
    "ClipDetector",
    "Clips",
    "PeerConfig",
    "build_peer",
    "training_data",
    "video_method",
]
