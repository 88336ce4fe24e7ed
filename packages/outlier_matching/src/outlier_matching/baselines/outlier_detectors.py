"""Outlier detectors of scikit-learn (extra ``sift``) on the features of a network, for comparison with the thesis's
method: fitted to the target's features, outliers included, *before* domain adaptation; they remove outliers from the
target images of a SiameseDA training and from the queries."""

from typing import Any

import torch
from torch import Tensor

from outlier_matching.baselines.config import DetectorConfig


class OutlierDetector:
    """A detector with a threshold that makes ``share`` of the features of the fit outliers. Raises ModuleNotFoundError
    if scikit-learn is not installed; ValueError for other features. ``features``: floating (n, d), n at least 2, of the
    target domain."""

    def __init__(self, features: Tensor, config: DetectorConfig) -> None:
        if features.dim() != 2 or len(features) < 2 or not features.is_floating_point():
            raise ValueError(
                f"features must be floating (n, d), n at least 2, got {features.dtype} {tuple(features.shape)}"
            )
        self.config = config
        self.dimensions = features.shape[1]
        fitted = features
        if len(features) > config.fitted:
            order = torch.randperm(len(features), generator=torch.Generator().manual_seed(config.seed))
            fitted = features[order[: config.fitted].to(features.device)]
        self._model = _model(config).fit(_array(fitted))
        # One rule for both detectors; the SVM's own threshold is approximate.
        self.threshold = float(self.scores(fitted).double().quantile(1 - config.share))

    def scores(self, features: Tensor) -> Tensor:
        """features (m, d) -> float32 (m,): rises with the evidence for an outlier, in the unit of the detector."""
        if features.dim() != 2 or features.shape[1] != self.dimensions:
            raise ValueError(f"features must be (m, {self.dimensions}), got {tuple(features.shape)}")
        return torch.from_numpy(-self._model.score_samples(_array(features))).float()

    def is_outlier(self, features: Tensor) -> Tensor:
        """features (m, d) -> bool (m,): whether the score is above the threshold."""
        return self.scores(features) > self.threshold


def _model(config: DetectorConfig) -> Any:
    try:
        from sklearn.ensemble import IsolationForest
        from sklearn.svm import OneClassSVM
    except ImportError as error:
        said = f'{config.detector} needs scikit-learn: pip install "outlier_matching[sift]"'
        raise ModuleNotFoundError(said, name="sklearn") from error
    if config.detector == "isolation_forest":
        return IsolationForest(n_estimators=config.trees, random_state=config.seed)
    return OneClassSVM(nu=config.share)


def _array(features: Tensor) -> Any:
    return features.detach().cpu().double().numpy()
