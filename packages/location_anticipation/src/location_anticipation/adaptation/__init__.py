"""A trajectory head for any detector of images, learned from videos without annotation."""

from typing import TYPE_CHECKING

from efficiency_core import lazy_names

if TYPE_CHECKING:
    from location_anticipation.adaptation.anticipating import (
        AnticipatingDetector,
        load_anticipating,
        save_trajectories,
    )
    from location_anticipation.adaptation.config import AdaptConfig, MotionConfig
    from location_anticipation.adaptation.method_agreement import Agreement, agreement, frame_results
    from location_anticipation.adaptation.observation import Observation, observe
    from location_anticipation.adaptation.pooled_features import PooledFeatures, load_backbone
    from location_anticipation.adaptation.training import adapt

__all__ = [
    "AdaptConfig", "Agreement", "AnticipatingDetector", "MotionConfig", "Observation", "PooledFeatures",
    "adapt", "agreement", "frame_results", "load_anticipating", "load_backbone", "observe", "save_trajectories",
]  # fmt: skip
__getattr__ = lazy_names(
    __name__,
    method_agreement="Agreement agreement frame_results",
    anticipating="AnticipatingDetector load_anticipating save_trajectories",
    config="AdaptConfig MotionConfig",
    observation="Observation observe",
    pooled_features="PooledFeatures load_backbone",
    training="adapt",
)
