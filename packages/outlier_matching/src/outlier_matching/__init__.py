"""Image matching across domains while outliers are present (thesis chapter 4, ICCV workshops 2019)."""

# ruff: noqa: F401

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from outlier_matching.baselines.config import DetectorConfig, FisherConfig, SiftConfig
    from outlier_matching.baselines.fisher import FisherEncoder
    from outlier_matching.baselines.outlier_detectors import OutlierDetector
    from outlier_matching.baselines.sift import fit_sift_fisher, sift_fisher_features
    from outlier_matching.checkpoint import SavedNetwork, load_network, save_network
    from outlier_matching.data.formats import open_images
    from outlier_matching.data.image_set import ImageSet, ImagesInfo, Selection, select
    from outlier_matching.data.pixels import pixel_batches
    from outlier_matching.method.assignment import (
        EntropyLoss,
        class_probabilities,
        entropy_loss,
        inlier_weights,
        is_outlier,
    )
    from outlier_matching.method.config import ObjectiveConfig, ToyConfig
    from outlier_matching.method.contrastive import ContrastiveLoss, contrastive_loss
    from outlier_matching.method.kernels import median_bandwidth
    from outlier_matching.method.mmd import MKMMD, mk_mmd, multi_layer_mk_mmd
    from outlier_matching.method.objective import Features, Losses, Objective
    from outlier_matching.method.pseudo_sets import PseudoSets, initial_sets, reference_features, refreshed_sets
    from outlier_matching.method.toy import Panel, run_toy
    from outlier_matching.networks.config import NetworkConfig
    from outlier_matching.networks.network import MatchingNetwork, embed, resized
    from outlier_matching.networks.weights import build_network, rgb_weights
    from outlier_matching.retrieval.evaluate_config import EvaluateConfig
    from outlier_matching.retrieval.evaluation import (
        Describe,
        Detect,
        Detection,
        LabelledFeatures,
        MatchingScores,
        labelled_features,
        reference_detector,
        score_features,
    )
    from outlier_matching.retrieval.gallery import Gallery
    from outlier_matching.retrieval.lookup import Match, describe_folder, match, open_gallery
    from outlier_matching.retrieval.metrics import RankingProtocol, Retrieval, retrieve
    from outlier_matching.retrieval.outlier_scores import outlier_scores
    from outlier_matching.retrieval.ranking import Nearest, nearest
    from outlier_matching.training.config import TrainConfig
    from outlier_matching.training.pairs import draw_targets
    from outlier_matching.training.train import EpochLosses, Trained, train

__version__ = "0.1.0"

_NAMES = {
    "baselines.config": "DetectorConfig FisherConfig SiftConfig", "baselines.fisher": "FisherEncoder",
    "baselines.outlier_detectors": "OutlierDetector", "baselines.sift": "fit_sift_fisher sift_fisher_features",
    "checkpoint": "SavedNetwork load_network save_network", "data.formats": "open_images",
    "data.image_set": "ImageSet ImagesInfo Selection select", "data.pixels": "pixel_batches",
    "method.assignment": "EntropyLoss class_probabilities entropy_loss inlier_weights is_outlier",
    "method.config": "ObjectiveConfig ToyConfig", "method.contrastive": "ContrastiveLoss contrastive_loss",
    "method.kernels": "median_bandwidth", "method.mmd": "MKMMD mk_mmd multi_layer_mk_mmd",
    "method.objective": "Features Losses Objective",
    "method.pseudo_sets": "PseudoSets initial_sets reference_features refreshed_sets", "method.toy": "Panel run_toy",
    "networks.config": "NetworkConfig", "networks.network": "MatchingNetwork embed resized",
    "networks.weights": "build_network rgb_weights", "retrieval.evaluate_config": "EvaluateConfig",
    "retrieval.evaluation": "Describe Detect Detection LabelledFeatures MatchingScores labelled_features "
    "reference_detector score_features",
    "retrieval.gallery": "Gallery", "retrieval.lookup": "Match describe_folder match open_gallery",
    "retrieval.metrics": "RankingProtocol Retrieval retrieve", "retrieval.outlier_scores": "outlier_scores",
    "retrieval.ranking": "Nearest nearest", "training.config": "TrainConfig", "training.pairs": "draw_targets",
    "training.train": "EpochLosses Trained train",
}  # fmt: skip
_MODULES = {name: f"{__name__}.{module}" for module, names in _NAMES.items() for name in names.split()}
__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
