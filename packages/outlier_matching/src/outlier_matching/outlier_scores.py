"""How well outliers were found: precision, recall, F1 (figure 4.5) and the area under the ROC curve."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["OutlierScores", "area_under_roc", "outlier_scores"]


@dataclass(frozen=True)
class OutlierScores:
    """Figures of outlier detection on one set of images; the outliers are the positive class."""

    true_positives: int
    """Outliers called outliers."""
    false_positives: int
    """Inliers called outliers."""
    false_negatives: int
    """Outliers called inliers."""
    true_negatives: int
    """Inliers called inliers."""
    auc: float
    """Chance that an outlier has a higher probability of being one than an inlier; NaN without probabilities, outliers
    or inliers."""

    @property
    def precision(self) -> float:
        """Share of true ones among those called outliers; NaN if none was called so."""
        return _share(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """Share of the outliers that was found; NaN if there is none."""
        return _share(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN), NaN if there is no outlier and none was called so."""
        wrong = self.false_positives + self.false_negatives
        return _share(2 * self.true_positives, 2 * self.true_positives + wrong)


def outlier_scores(called: Tensor, truth: Tensor, probability: Tensor | None = None) -> OutlierScores:
    """Count right and wrong decisions.

    Args:
        called: bool (n,): images called outliers.
        truth: bool (n,): images that are outliers.
        probability: (n,): any number that grows with how much of an outlier an image is said to be.

    Raises:
        ValueError: if the shapes differ, or ``called`` or ``truth`` is not bool.
    """
    if called.shape != truth.shape or called.ndim != 1 or called.dtype != torch.bool or truth.dtype != torch.bool:
        raise ValueError(
            f"expected two bool tensors (n,), got {called.dtype} {tuple(called.shape)}, "
            f"{truth.dtype} {tuple(truth.shape)}"
        )
    called, truth = called.cpu(), truth.cpu()
    return OutlierScores(
        true_positives=int((called & truth).sum()),
        false_positives=int((called & ~truth).sum()),
        false_negatives=int((~called & truth).sum()),
        true_negatives=int((~called & ~truth).sum()),
        auc=math.nan if probability is None else area_under_roc(probability, truth),
    )


def area_under_roc(score: Tensor, truth: Tensor) -> float:
    """Chance that a positive has a higher score than a negative, equal scores counting half (Mann-Whitney).

    Args:
        score: (n,).
        truth: bool (n,).

    Returns:
        In [0, 1]; NaN without positives or negatives.

    Raises:
        ValueError: if the shapes differ or a score is NaN.
    """
    if score.shape != truth.shape or score.ndim != 1:
        raise ValueError(f"expected score and truth (n,), got {tuple(score.shape)}, {tuple(truth.shape)}")
    if score.isnan().any():
        raise ValueError("a score is NaN")
    score, truth = score.detach().double().cpu(), truth.cpu()
    positive, negative = score[truth], score[~truth].sort().values
    if len(positive) == 0 or len(negative) == 0:
        return math.nan
    below = torch.searchsorted(negative, positive)
    up_to = torch.searchsorted(negative, positive, right=True)
    return float((below + up_to).double().mean() / (2 * len(negative)))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
