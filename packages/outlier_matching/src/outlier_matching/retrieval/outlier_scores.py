"""Scores of outlier detection: precision, recall, F1 (figure 4.5) and the area under the ROC curve."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class OutlierScores:
    """Scores of outlier detection on one set of images; outliers are the positive class."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int
    auc: float
    """Area under the ROC curve: how often an outlier has a higher probability than an inlier. NaN without probabilities,
    outliers or inliers."""

    @property
    def precision(self) -> float:
        """Share of outliers among the images classified as outliers; NaN if there are none."""
        return _share(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """Share of the outliers that are classified as such; NaN without outliers."""
        return _share(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN); NaN without outliers and without images classified as outliers."""
        twice = 2 * self.true_positives
        return _share(twice, twice + self.false_positives + self.false_negatives)


def outlier_scores(called: Tensor, truth: Tensor, probability: Tensor | None = None) -> OutlierScores:
    """Count right and wrong decisions. Raises ValueError if the shapes differ, or ``called`` or ``truth`` is not bool.

    Args:
        called: bool (n,): images classified as outliers.
        truth: bool (n,): images that are outliers.
        probability: (n,): any score that rises with the evidence for an outlier."""
    if called.shape != truth.shape or called.ndim != 1 or called.dtype != torch.bool or truth.dtype != torch.bool:
        raise ValueError(
            f"expected two bool tensors (n,), got {called.dtype} {tuple(called.shape)}, "
            f"{truth.dtype} {tuple(truth.shape)}"
        )
    called, truth = called.cpu(), truth.cpu()
    return OutlierScores(
        true_positives=int((called & truth).sum()), false_positives=int((called & ~truth).sum()),
        false_negatives=int((~called & truth).sum()), true_negatives=int((~called & ~truth).sum()),
        auc=math.nan if probability is None else area_under_roc(probability, truth),
    )  # fmt: skip


def area_under_roc(score: Tensor, truth: Tensor) -> float:
    """Probability that a positive has a higher score than a negative; equal scores count half (Mann-Whitney). Returns
    in [0, 1]; NaN without positives or negatives. Raises ValueError if the shapes differ or a score is NaN. ``score``:
    (n,); ``truth``: bool (n,)."""
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
