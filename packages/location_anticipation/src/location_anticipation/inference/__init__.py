"""A trained detector on a video: keyframes, the frames between them, and the output files."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from location_anticipation.inference.auto_step import AutoStep
    from location_anticipation.inference.key_boxes import KeyBoxes
    from location_anticipation.inference.runtime import Inference
    from location_anticipation.inference.stream import Earlier, FrameDetections, VideoDetector, VideoMethod
    from location_anticipation.inference.video_detection import DetectSummary, detect_video
    from location_anticipation.inference.video_writer import create_video

__all__ = [
    "AutoStep", "DetectSummary", "Earlier", "FrameDetections", "Inference", "KeyBoxes", "VideoDetector", "VideoMethod",
    "create_video", "detect_video",
]  # fmt: skip
_MODULES = ("auto_step", "key_boxes", "runtime", "stream", "video_detection", "video_writer")


def __getattr__(name: str) -> Any:
    if name in __all__:
        for module in _MODULES:
            if hasattr(found := import_module(f"{__name__}.{module}"), name):
                return getattr(found, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
