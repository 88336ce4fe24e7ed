"""Training and evaluation of classifiers and segmentation networks."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weight_align.training.augmentation import crops, epoch_plan, padded
    from weight_align.training.classification import train, train_seeds
    from weight_align.training.config import SegmentationConfig, TrainConfig
    from weight_align.training.evaluation import ErrorRates, SegmentationScores, evaluate, evaluate_segmentation
    from weight_align.training.normalisation import IMAGENET, Normalisation
    from weight_align.training.segmentation import train_segmentation
    from weight_align.training.sgd import Trained

__all__ = [
    "IMAGENET", "ErrorRates", "Normalisation", "SegmentationConfig", "SegmentationScores", "TrainConfig", "Trained", "crops",
    "epoch_plan", "evaluate", "evaluate_segmentation", "padded", "train", "train_seeds", "train_segmentation",
]  # fmt: skip
_MODULES = ("config", "normalisation", "augmentation", "evaluation", "sgd", "classification", "segmentation")


def __getattr__(name: str) -> Any:
    for module in _MODULES if name in __all__ else ():
        if hasattr(found := import_module(f"{__name__}.{module}"), name):
            return getattr(found, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
