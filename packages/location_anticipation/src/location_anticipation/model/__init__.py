"""The detector that anticipates: network, box offsets along a trajectory, and losses. Needs torch and torchvision alone."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from location_anticipation.model.boxes import best_match, match_boxes, paired_iou
    from location_anticipation.model.config import DetectorConfig
    from location_anticipation.model.criterion import TrajectoryCriterion
    from location_anticipation.model.detector import AnticipationRCNN, build_detector
    from location_anticipation.model.losses import (
        bag_of_boxes_loss,
        bag_of_offsets_loss,
        cumulative_offset_loss,
        trajectory_loss,
    )
    from location_anticipation.model.offsets import CoderSpace, ImageSpace, OffsetSpace, offset_space
    from location_anticipation.model.trajectory_head import TrajectoryHead

__all__ = [
    "AnticipationRCNN", "CoderSpace", "DetectorConfig", "ImageSpace", "OffsetSpace", "TrajectoryCriterion",
    "TrajectoryHead", "bag_of_boxes_loss", "bag_of_offsets_loss", "best_match", "build_detector",
    "cumulative_offset_loss", "match_boxes", "offset_space", "paired_iou", "trajectory_loss",
]  # fmt: skip
_MODULES = ("config", "offsets", "losses", "boxes", "trajectory_head", "criterion", "detector")


def __getattr__(name: str) -> Any:
    if name in __all__:
        for module in _MODULES:
            if hasattr(found := import_module(f"{__name__}.{module}"), name):
                return getattr(found, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
