"""Isolation forest and one-class SVM on features: they find far points, at the share they are told, the same every
time."""

import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from outlier_matching.baselines.config import DetectorConfig
from outlier_matching.baselines.outlier_detectors import OutlierDetector


def features(inliers: int, outliers: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    near = torch.randn(inliers, 5, generator=generator)
    far = 12 * torch.nn.functional.normalize(torch.randn(outliers, 5, generator=generator), dim=1)
    return torch.cat((near, far))


@pytest.mark.parametrize("detector", ["isolation_forest", "one_class_svm"])
def test_far_points_are_outliers_and_the_share_is_kept(detector: Any) -> None:
    pytest.importorskip("sklearn")
    fitted, other = features(180, 20, 0), features(90, 10, 1)
    model = OutlierDetector(fitted, DetectorConfig(detector))
    assert int(model.is_outlier(fitted).sum()) == 20
    # A lonely point is its own support vector: the SVM lets half of those pass that it was fitted to.
    assert int(model.is_outlier(fitted)[180:].sum()) >= (20 if detector == "isolation_forest" else 8)
    scores = model.scores(other)
    assert float((scores[90:, None] > scores[:90]).float().mean()) > 0.97
    again = OutlierDetector(fitted, DetectorConfig(detector))
    assert again.scores(other).equal(scores)


@pytest.mark.parametrize("detector", ["isolation_forest", "one_class_svm"])
def test_a_random_part_stands_for_many(detector: Any) -> None:
    pytest.importorskip("sklearn")
    model = OutlierDetector(features(1800, 200, 2), DetectorConfig(detector, fitted=300))
    found = model.is_outlier(features(180, 20, 3))
    assert int(found[180:].sum()) >= 18
    assert int(found[:180].sum()) <= 20


def test_what_cannot_be_used_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"at most 0\.5"):
        DetectorConfig(share=0.6)
    with pytest.raises(ValueError, match="detector must be one of"):
        DetectorConfig("lof")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="n at least 2"):
        OutlierDetector(torch.zeros(1, 3), DetectorConfig())
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "sklearn.ensemble", None)
        with pytest.raises(ModuleNotFoundError, match=r"outlier_matching\[sift\]"):
            OutlierDetector(torch.zeros(4, 3), DetectorConfig())
    pytest.importorskip("sklearn")
    with pytest.raises(ValueError, match=r"features must be \(m, 5\)"):
        OutlierDetector(features(20, 2, 4), DetectorConfig()).scores(torch.zeros(3, 4))
