"""Outlier detectors that users would reach for, on any network's features: rows added beside the thesis's method.

They stand *in front of* domain adaptation: fitted to the target's features, outliers among them, they say which images
a SiameseDA training and the query set leave out. scikit-learn does the work (the ``sift`` extra).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from outlier_matching.errors import UsageError

Detector = Literal["isolation_forest", "one_class_svm"]
DETECTORS: tuple[Detector, ...] = ("isolation_forest", "one_class_svm")


@dataclass(frozen=True)
class DetectorConfig:
    """Which detector and what it assumes.

    Attributes:
        detector: ``"isolation_forest"`` (Liu et al., ICDM 2008) or ``"one_class_svm"`` (Schölkopf et al., 2001;
            Gaussian kernel).
        share: of outliers among the features it is fitted to, above 0 and at most one half: these many are called
            outliers. The thesis's method is not told this figure.
        trees: of the forest.
        fitted: at most this many features, drawn at random, are fitted to: the SVM takes time in their square.
        seed: of the trees and of the drawing.
    """

    detector: Detector = "isolation_forest"
    share: float = 0.1
    trees: int = 100
    fitted: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.detector not in DETECTORS:
            raise ValueError(f"detector must be one of {', '.join(DETECTORS)}, got {self.detector!r}")
        if not 0 < self.share <= 0.5:
            raise ValueError(f"share must be above 0 and at most 0.5, got {self.share}")
        if self.trees < 1 or self.fitted < 2:
            raise ValueError(f"trees must be at least 1 and fitted 2, got {self.trees} and {self.fitted}")


class OutlierDetector:
    """A detector and the threshold at which ``share`` of the features it was fitted to are outliers.

    Args:
        features: floating (n, d), n at least 2, of the target domain.
        config: which.

    Raises:
        UsageError: if scikit-learn is not installed.
        ValueError: for other features.
    """

    def __init__(self, features: Tensor, config: DetectorConfig = DetectorConfig()) -> None:
        if features.dim() != 2 or len(features) < 2 or not features.is_floating_point():
            raise ValueError(
                f"features must be floating (n, d), n at least 2, got {features.dtype} {tuple(features.shape)}"
            )
        self.config = config
        self.dimensions = features.shape[1]
        fitted = features
        if len(features) > config.fitted:
            generator = torch.Generator().manual_seed(config.seed)
            fitted = features[torch.randperm(len(features), generator=generator)[: config.fitted].to(features.device)]
        self._model = _model(config).fit(_array(fitted))
        # The detectors' own thresholds are for the samples fitted to (and the SVM's is approximate): one rule for both.
        self.threshold = float(self.scores(fitted).double().quantile(1 - config.share))

    def scores(self, features: Tensor) -> Tensor:
        """features (m, d) -> float32 (m,), higher for likelier outliers; the unit is the detector's own."""
        if features.dim() != 2 or features.shape[1] != self.dimensions:
            raise ValueError(f"features must be (m, {self.dimensions}), got {tuple(features.shape)}")
        return torch.from_numpy(-self._model.score_samples(_array(features))).float()

    def is_outlier(self, features: Tensor) -> Tensor:
        """features (m, d) -> bool (m,), whether the score is above the threshold."""
        return self.scores(features) > self.threshold


def _model(config: DetectorConfig) -> Any:
    try:
        from sklearn.ensemble import IsolationForest
        from sklearn.svm import OneClassSVM
    except ImportError as error:
        raise UsageError(f"{config.detector} needs scikit-learn: install outlier_matching[sift]") from error
    if config.detector == "isolation_forest":
        return IsolationForest(n_estimators=config.trees, random_state=config.seed)
    return OneClassSVM(nu=config.share)


def _array(features: Tensor) -> Any:
    return features.detach().cpu().double().numpy()
