"""How good detections are: average precision over frames, trajectories and object speeds."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from location_anticipation.metrics.average_precision import AveragePrecision, average_precision
    from location_anticipation.metrics.evaluation import Evaluation, MethodEvaluation, evaluate, evaluate_method
    from location_anticipation.metrics.matching import Rules
    from location_anticipation.metrics.motion_speed import SpeedSplit, average_precision_by_speed, motion_iou
    from location_anticipation.metrics.video_scores import VideoScores, score_videos

__all__ = [
    "AveragePrecision", "Evaluation", "MethodEvaluation", "Rules", "SpeedSplit", "VideoScores", "average_precision",
    "average_precision_by_speed", "evaluate", "evaluate_method", "motion_iou", "score_videos",
]  # fmt: skip
_MODULES = ("matching", "average_precision", "motion_speed", "video_scores", "evaluation")


def __getattr__(name: str) -> Any:
    if name in __all__:
        for module in _MODULES:
            if hasattr(found := import_module(f"{__name__}.{module}"), name):
                return getattr(found, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
