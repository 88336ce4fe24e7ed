"""Video object detection by anticipating object locations from single keyframes (thesis chapter 2, ICCV 2023)."""

from location_anticipation.checkpoint import load_detector, save_detector
from location_anticipation.criterion import TrajectoryCriterion
from location_anticipation.detector import AnticipationRCNN, DetectorConfig, build_detector
from location_anticipation.errors import UsageError, WorkError
from location_anticipation.trajectory_head import TrajectoryHead

__version__ = "0.1.0"

__all__ = [
    "AnticipationRCNN",
    "DetectorConfig",
    "TrajectoryCriterion",
    "TrajectoryHead",
    "UsageError",
    "WorkError",
    "build_detector",
    "load_detector",
    "save_detector",
]
