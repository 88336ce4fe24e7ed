"""Action recognition on every frame of a video at the memory of a few (thesis chapter 3, CVPR 2021). Networks and
clustering need torch and torchvision; ``predict`` and ``load_network`` need the ``video`` extra."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from full_video.checkpoint import SavedNetwork, load_network, save_network
    from full_video.clustering import METHODS, Clusters, TemporalAggregation, cluster_frames, cluster_means
    from full_video.clustering.hamming import neighbour_distances
    from full_video.evaluation import Evaluation, evaluate
    from full_video.networks import NetworkConfig, StreamedStem, VideoNetwork, build_network, temporal_shift
    from full_video.prediction import Prediction, predict
    from full_video.train_config import TrainConfig
    from full_video.training import Trained, train

__version__ = "0.1.0"
__all__ = [
    "METHODS", "Clusters", "Evaluation", "NetworkConfig", "Prediction", "SavedNetwork", "StreamedStem",
    "TemporalAggregation", "TrainConfig", "Trained", "VideoNetwork", "build_network", "cluster_frames", "cluster_means",
    "evaluate", "load_network", "neighbour_distances", "predict", "save_network", "temporal_shift", "train",
]  # fmt: skip
_MODULES = ("clustering", "networks", "train_config", "checkpoint", "evaluation", "prediction", "training")


def __getattr__(name: str) -> Any:
    for module in _MODULES if name in __all__ else ():
        if hasattr(found := import_module(f"{__name__}.{module}"), name):
            return getattr(found, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
