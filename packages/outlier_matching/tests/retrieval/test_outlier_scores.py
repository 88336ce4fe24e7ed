"""Figures of outlier detection against numbers by hand and scikit-learn."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score

from outlier_matching.retrieval.outlier_scores import area_under_roc, outlier_scores


def test_scores_by_hand() -> None:
    called = torch.tensor([True, True, True, False, False, False, False])
    truth = torch.tensor([True, True, False, True, False, False, False])
    found = outlier_scores(called, truth)
    assert (found.true_positives, found.false_positives, found.false_negatives, found.true_negatives) == (2, 1, 1, 3)
    assert found.precision == found.recall == found.f1 == pytest.approx(2 / 3)
    assert math.isnan(found.auc)
    nothing, something = torch.zeros(3, dtype=torch.bool), torch.tensor([True, False, False])
    assert math.isnan(outlier_scores(nothing, nothing).f1) and math.isnan(outlier_scores(nothing, nothing).recall)
    missed = outlier_scores(nothing, something)
    assert missed.f1 == 0 and missed.recall == 0 and math.isnan(missed.precision)
    assert outlier_scores(something, nothing).f1 == 0
    assert math.isnan(outlier_scores(nothing, nothing, torch.zeros(3)).auc)
    assert area_under_roc(torch.tensor([1.0, 1.0]), torch.tensor([True, False])) == 0.5


@pytest.mark.parametrize("steps", [4, 1000])
def test_scores_are_scikit_learns(steps: int) -> None:
    rng = np.random.default_rng(steps)
    truth = rng.random(300) < 0.1
    probability = (rng.integers(0, steps, 300) / steps + 0.3 * truth).astype(np.float32)
    called = probability > 0.7
    found = outlier_scores(torch.from_numpy(called), torch.from_numpy(truth), torch.from_numpy(probability))
    assert found.precision == pytest.approx(precision_score(truth, called))
    assert found.recall == pytest.approx(recall_score(truth, called))
    assert found.f1 == pytest.approx(f1_score(truth, called))
    assert found.auc == pytest.approx(roc_auc_score(truth, probability))


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match="two bool tensors"):
        outlier_scores(torch.zeros(3), torch.zeros(3, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"\(2,\), \(3,\)"):
        area_under_roc(torch.zeros(2), torch.zeros(3, dtype=torch.bool))
    with pytest.raises(ValueError, match="NaN"):
        area_under_roc(torch.tensor([math.nan, 1.0]), torch.tensor([True, False]))
