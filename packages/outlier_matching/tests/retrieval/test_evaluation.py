"""Scores of features on two domains, worked out by hand on a line of points and against single searches."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from outlier_matching import (
    Detection,
    EvaluateConfig,
    LabelledFeatures,
    class_probabilities,
    is_outlier,
    labelled_features,
    open_images,
    reference_detector,
    retrieve,
    score_features,
)
from outlier_matching.retrieval.metrics import AUTHOR


def line(points: list[float], labels: list[int], outliers: list[int] = []) -> LabelledFeatures:  # noqa: B006
    marks = torch.zeros(len(points), dtype=torch.bool)
    marks[outliers] = True
    return LabelledFeatures(torch.tensor(points)[:, None], torch.tensor(labels), marks)


SOURCE = line([0.0, 1.0, 2.0, 3.0], [0, 0, 1, 1])
# Two inliers of each class, then an outlier without a label and one of a class that the source does not have.
TARGET = line([-0.2, 3.1, 2.2, 1.9, 10.0, -9.0], [0, 0, 1, 1, -1, 7], [4, 5])
# Rankings of the source: of -0.2 hits at 1, 2; of 3.1 (class 0) at 3, 4; of 2.2 and 1.9 at 1, 2 and at 1, 3.
AP = [1.0, (1 / 3 + 2 / 4) / 2, 1.0, (1 + 2 / 3) / 2]


def calling(*outliers: int) -> Callable[[Tensor], Detection]:
    def detect(features: Tensor) -> Detection:
        called = torch.zeros(len(features), dtype=torch.bool)
        called[list(outliers)] = True
        return Detection(called.float(), called)

    return detect


def test_scores_without_a_detector() -> None:
    found = score_features(SOURCE, TARGET)
    assert found.ts.mean_average_precision == pytest.approx(sum(AP) / 4)
    assert found.ts.average_precision[:4].tolist() == pytest.approx(AP)
    assert found.ts.average_precision[4:].isnan().all()
    assert found.outliers is None
    queries = found.queries
    assert (queries.target, queries.outliers, queries.classified_outliers) == (6, 2, 0)
    assert (queries.asked, queries.unanswerable) == (6, 2)
    found = score_features(SOURCE, TARGET)
    assert found.ss.average_precision.tolist() == pytest.approx([1, 1 / 2, 1 / 2, 1])
    # Inliers alone: -0.2 and 3.1 are each other's last; 2.2 and 1.9 each other's first.
    assert found.tt.average_precision.tolist() == pytest.approx([1 / 3, 1 / 3, 1, 1])
    found = score_features(SOURCE, line([1.0, 2.0], [-1, -1], [0, 1]))
    assert math.isnan(found.ts.mean_average_precision) and math.isnan(found.tt.mean_average_precision)
    assert found.ss.mean_average_precision == pytest.approx(0.75)


def test_only_classified_inliers_are_queries() -> None:
    """Thesis 4.5.5. One outlier and one inlier, the hard one, are called outliers: the MAP rises for it."""
    found = score_features(SOURCE, TARGET, detect=calling(1, 4))
    assert found.ts.mean_average_precision == pytest.approx((AP[0] + AP[2] + AP[3]) / 3)
    assert found.ts_inliers.mean_average_precision == pytest.approx(sum(AP) / 4)
    assert found.outliers is not None
    assert found.outliers.precision == found.outliers.recall == found.outliers.f1 == 0.5
    # The outlier that is called so beats three of four inliers and ties with one, the other ties with three.
    assert found.outliers.auc == (3.5 + 1.5) / 8
    assert (found.queries.asked, found.queries.unanswerable, found.queries.classified_outliers) == (4, 1, 2)


@pytest.mark.parametrize(("queries", "count"), [("inliers", 4), ("all", 6), ("classified_inliers", 5)])
def test_which_target_images_are_queries(queries: str, count: int) -> None:
    found = score_features(SOURCE, TARGET, EvaluateConfig(queries=queries), detect=calling(0))  # type: ignore[arg-type]
    assert found.queries.asked == count


def test_queries_without_a_match() -> None:
    zero = score_features(SOURCE, TARGET, EvaluateConfig(unanswerable="zero"))
    assert zero.ts.mean_average_precision == pytest.approx(sum(AP) / 6)
    out = score_features(SOURCE, TARGET)
    assert zero.ts.curve is not None and out.ts.curve is not None
    torch.testing.assert_close(zero.ts.curve.precision, out.ts.curve.precision * 4 / 6)
    for unanswerable in ("left_out", "zero"):
        found = score_features(SOURCE, TARGET, EvaluateConfig(protocol="author", unanswerable=unanswerable))  # type: ignore[arg-type]
        assert found.ts.mean_average_precision == pytest.approx(sum(2 * p for p in AP) / 5 / 6)
        expected = retrieve(TARGET.features, SOURCE.features, TARGET.labels, SOURCE.labels, protocol=AUTHOR)
        assert torch.equal(found.ts.average_precision, expected.average_precision)


def test_a_share_of_the_queries_is_drawn_evenly_and_again_the_same() -> None:
    generator = torch.Generator().manual_seed(0)
    many = LabelledFeatures(
        torch.randn(500, 3, generator=generator), torch.arange(500) % 7, torch.zeros(500, dtype=torch.bool)
    )
    config = EvaluateConfig(max_queries=120, seed=3)
    first, again = score_features(many, many, config), score_features(many, many, config)
    assert first.queries.asked == 120 and len(first.ss.relevant) == 120 and len(first.tt.relevant) == 120
    assert torch.equal(first.ts.average_precision, again.ts.average_precision)
    other = score_features(many, many, EvaluateConfig(max_queries=120, seed=4))
    assert not torch.equal(first.ts.average_precision, other.ts.average_precision)
    assert first.ss.mean_average_precision == pytest.approx(
        score_features(many, many).ss.mean_average_precision, abs=0.02
    )


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="no query is left: the detector classifies all 6 target images as outliers"):
        score_features(SOURCE, TARGET, detect=calling(*range(6)))
    with pytest.raises(ValueError, match="the data set marks all 2 target images as outliers"):
        score_features(SOURCE, line([1.0, 2.0], [-1, -1], [0, 1]), EvaluateConfig(queries="inliers"))
    with pytest.raises(ValueError, match="queries must be one of"):
        EvaluateConfig(queries="some")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_queries"):
        EvaluateConfig(max_queries=-1)
    with pytest.raises(ValueError, match="expected features"):
        LabelledFeatures(torch.zeros(3, 1), torch.zeros(2), torch.zeros(3))


def test_the_detector_is_equation_4_7() -> None:
    generator = torch.Generator().manual_seed(0)
    references = tuple(torch.randn(5, 4, generator=generator) for _ in range(3))
    features = torch.randn(30, 4, generator=generator)
    found = reference_detector(references)(features)  # type: ignore[arg-type]
    expected = class_probabilities(features, references)
    torch.testing.assert_close(found.probability, expected[:, 2])
    assert torch.equal(found.outlier, is_outlier(expected)) and 0 < int(found.outlier.sum()) < 30


def test_features_of_a_set_come_with_its_labels_and_marks(write_images: Callable[..., Path]) -> None:
    images = open_images(write_images(source=3, target=3, outliers=1), "image-set", "train")
    found = labelled_features(lambda part: torch.ones(len(part), 2), images)
    assert found.labels.tolist() == images.labels.tolist() and found.outliers.tolist() == images.outliers.tolist()
    with pytest.raises(FloatingPointError, match=r"train/000002: its features are not finite"):
        labelled_features(lambda _: torch.tensor([[0.0], [1.0], [math.nan], [0], [0], [0]]), images)
    with pytest.raises(ValueError, match=r"features \(6, d\), got \(2, 1\)"):
        labelled_features(lambda _: torch.zeros(2, 1), images)
