"""Image matching across domains while outliers are present (thesis chapter 4, ICCV workshops 2019)."""

from outlier_matching.assignment import EntropyLoss, class_probabilities, entropy_loss, inlier_weights, is_outlier
from outlier_matching.checkpoint import load_network, save_network
from outlier_matching.contrastive import ContrastiveLoss, contrastive_loss
from outlier_matching.embedding import embed
from outlier_matching.errors import BrokenImage, UsageError, WorkError
from outlier_matching.mmd import MKMMD, mk_mmd, multi_layer_mk_mmd
from outlier_matching.networks import Features, MatchingNetwork, NetworkConfig, build_network
from outlier_matching.pseudo_sets import PseudoSets, initial_sets, refreshed_sets

__version__ = "0.1.0"

__all__ = [
    "MKMMD",
    "BrokenImage",
    "ContrastiveLoss",
    "EntropyLoss",
    "Features",
    "MatchingNetwork",
    "NetworkConfig",
    "PseudoSets",
    "UsageError",
    "WorkError",
    "build_network",
    "class_probabilities",
    "contrastive_loss",
    "embed",
    "entropy_loss",
    "initial_sets",
    "inlier_weights",
    "is_outlier",
    "load_network",
    "mk_mmd",
    "multi_layer_mk_mmd",
    "refreshed_sets",
    "save_network",
]
