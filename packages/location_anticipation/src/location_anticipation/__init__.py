"""Video object detection by anticipating object locations from single keyframes (thesis chapter 2, ICCV 2023)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from location_anticipation.checkpoint import load_any, load_category_ids, load_detector, load_peer, save_detector
    from location_anticipation.inference.stream import VideoDetector
    from location_anticipation.model.config import DetectorConfig
    from location_anticipation.model.criterion import TrajectoryCriterion
    from location_anticipation.model.detector import AnticipationRCNN, build_detector
    from location_anticipation.model.trajectory_head import TrajectoryHead
    from location_anticipation.train_config import TrainConfig
    from location_anticipation.training import TrainResult, train

__version__ = "0.1.0"

__all__ = [
    "AnticipationRCNN", "DetectorConfig", "TrainConfig", "TrainResult", "TrajectoryCriterion", "TrajectoryHead",
    "VideoDetector", "build_detector", "load_any", "load_category_ids", "load_detector", "load_peer", "save_detector", "train",
]  # fmt: skip
_MODULES = (
    "model.config", "train_config", "model.trajectory_head", "model.criterion", "model.detector",
    "inference.stream", "checkpoint", "training",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in __all__:
        for module in _MODULES:
            if hasattr(found := import_module(f"{__name__}.{module}"), name):
                return getattr(found, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
