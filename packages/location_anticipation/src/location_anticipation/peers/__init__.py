"""Methods that the detector of this package is compared with, on the same backbone, data and training loop."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from location_anticipation.peers.base import ClipDetector
    from location_anticipation.peers.build import build_peer, training_data, video_method
    from location_anticipation.peers.clips import Clips
    from location_anticipation.peers.config import CLIP_METHODS, KEY_BOX_METHODS, Method, PeerConfig

__all__ = [
    "CLIP_METHODS", "KEY_BOX_METHODS", "ClipDetector", "Clips", "Method", "PeerConfig", "build_peer",
    "training_data", "video_method",
]  # fmt: skip
_MODULES = ("config", "base", "clips", "build")


def __getattr__(name: str) -> Any:
    if name in __all__:
        for module in _MODULES:
            if hasattr(found := import_module(f"{__name__}.{module}"), name):
                return getattr(found, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
