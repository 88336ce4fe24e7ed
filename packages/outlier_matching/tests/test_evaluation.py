"""Scores of features on two domains, worked out by hand on a line of points and against single searches."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from outlier_matching.assignment import class_probabilities, is_outlier
from outlier_matching.embedding import embed
from outlier_matching.errors import UsageError, WorkError
from outlier_matching.evaluation import Detected, EvaluateConfig, Labelled, detector, evaluate, score
from outlier_matching.image_sets import open_images, select
from outlier_matching.networks import NetworkConfig, build_network
from outlier_matching.retrieval import AUTHOR
from outlier_matching.retrieval_scores import retrieve


def line(points: list[float], labels: list[int], outliers: list[int] = []) -> Labelled:  # noqa: B006
    marks = torch.zeros(len(points), dtype=torch.bool)
    marks[outliers] = True
    return Labelled(torch.tensor(points)[:, None], torch.tensor(labels), marks)


SOURCE = line([0.0, 1.0, 2.0, 3.0], [0, 0, 1, 1])
# Two inliers of each class, then an outlier without a label and one of a class that the source does not have.
TARGET = line([-0.2, 3.1, 2.2, 1.9, 10.0, -9.0], [0, 0, 1, 1, -1, 7], [4, 5])
# Rankings of the source: of -0.2 hits at 1, 2; of 3.1 (class 0) at 3, 4; of 2.2 and 1.9 at 1, 2 and at 1, 3.
AP = [1.0, (1 / 3 + 2 / 4) / 2, 1.0, (1 + 2 / 3) / 2]


def calling(*outliers: int) -> Callable[[Tensor], Detected]:
    def detect(features: Tensor) -> Detected:
        called = torch.zeros(len(features), dtype=torch.bool)
        called[list(outliers)] = True
        return Detected(called.float(), called)

    return detect


def test_every_target_image_is_a_query_where_nothing_is_detected() -> None:
    found = score(SOURCE, TARGET)
    assert found.map_ts == pytest.approx(sum(AP) / 4)
    assert found.ts.average_precision[:4].tolist() == pytest.approx(AP)
    assert found.ts.average_precision[4:].isnan().all()
    assert found.outliers is None
    queries = found.queries
    assert (queries.target, queries.outliers, queries.classified_outliers) == (6, 2, 0)
    assert (queries.asked, queries.unanswerable) == (6, 2)


def test_only_classified_inliers_are_queries() -> None:
    """Thesis 4.5.5. One outlier and one inlier, the hard one, are called outliers: the MAP rises for it."""
    found = score(SOURCE, TARGET, detect=calling(1, 4))
    assert found.map_ts == pytest.approx((AP[0] + AP[2] + AP[3]) / 3)
    assert found.ts_inliers.mean_average_precision == pytest.approx(sum(AP) / 4)
    assert found.outliers is not None
    assert found.outliers.precision == found.outliers.recall == found.outliers.f1 == 0.5
    # The outlier that is called so beats three of four inliers and ties with one, the other ties with three.
    assert found.outliers.auc == (3.5 + 1.5) / 8
    assert (found.queries.asked, found.queries.unanswerable, found.queries.classified_outliers) == (4, 1, 2)


@pytest.mark.parametrize(("queries", "count"), [("inliers", 4), ("all", 6), ("classified_inliers", 5)])
def test_which_target_images_are_queries(queries: str, count: int) -> None:
    found = score(SOURCE, TARGET, EvaluateConfig(queries=queries), detect=calling(0))  # type: ignore[arg-type]
    assert found.queries.asked == count


def test_a_query_without_a_match_is_left_out_or_zero() -> None:
    zero = score(SOURCE, TARGET, EvaluateConfig(unanswerable="zero"))
    assert zero.map_ts == pytest.approx(sum(AP) / 6)
    out = score(SOURCE, TARGET)
    assert zero.ts.curve is not None and out.ts.curve is not None
    torch.testing.assert_close(zero.ts.curve.precision, out.ts.curve.precision * 4 / 6)


def test_images_do_not_find_themselves_within_a_domain() -> None:
    """S->S: of 0 and 1 the other is nearest or shares the place with 2; T->T without the outliers."""
    found = score(SOURCE, TARGET)
    assert found.ss.average_precision.tolist() == pytest.approx([1, 1 / 2, 1 / 2, 1])
    # Inliers alone: -0.2 and 3.1 are each other's last; 2.2 and 1.9 each other's first.
    assert found.tt.average_precision.tolist() == pytest.approx([1 / 3, 1 / 3, 1, 1])


def test_the_authors_protocol_counts_outliers_as_zero() -> None:
    for unanswerable in ("left_out", "zero"):
        found = score(SOURCE, TARGET, EvaluateConfig(protocol="author", unanswerable=unanswerable))  # type: ignore[arg-type]
        assert found.map_ts == pytest.approx(sum(2 * p for p in AP) / 5 / 6)
        expected = retrieve(TARGET.features, SOURCE.features, TARGET.labels, SOURCE.labels, protocol=AUTHOR)
        assert torch.equal(found.ts.average_precision, expected.average_precision)


def test_a_share_of_the_queries_is_drawn_evenly_and_again_the_same() -> None:
    generator = torch.Generator().manual_seed(0)
    many = Labelled(torch.randn(500, 3, generator=generator), torch.arange(500) % 7, torch.zeros(500, dtype=torch.bool))
    config = EvaluateConfig(max_queries=120, seed=3)
    first, again = score(many, many, config), score(many, many, config)
    assert first.queries.asked == 120 and len(first.ss.relevant) == 120 and len(first.tt.relevant) == 120
    assert torch.equal(first.ts.average_precision, again.ts.average_precision)
    other = score(many, many, EvaluateConfig(max_queries=120, seed=4))
    assert not torch.equal(first.ts.average_precision, other.ts.average_precision)
    assert first.map_ss == pytest.approx(score(many, many).map_ss, abs=0.02)


def test_a_detector_that_takes_all_for_outliers_leaves_no_query() -> None:
    with pytest.raises(WorkError, match="no query is left: the detector takes all 6 target images for outliers"):
        score(SOURCE, TARGET, detect=calling(*range(6)))
    with pytest.raises(WorkError, match="all 2 target images are outliers"):
        score(SOURCE, line([1.0, 2.0], [-1, -1], [0, 1]), EvaluateConfig(queries="inliers"))


def test_a_target_of_outliers_alone_has_no_numbers() -> None:
    found = score(SOURCE, line([1.0, 2.0], [-1, -1], [0, 1]))
    assert math.isnan(found.map_ts) and math.isnan(found.map_tt) and found.map_ss == pytest.approx(0.75)


def test_the_detector_is_equation_4_7() -> None:
    generator = torch.Generator().manual_seed(0)
    references = tuple(torch.randn(5, 4, generator=generator) for _ in range(3))
    features = torch.randn(30, 4, generator=generator)
    found = detector(references, chunk=7)(features)  # type: ignore[arg-type]
    expected = class_probabilities(features, references)
    torch.testing.assert_close(found.probability, expected[:, 2])
    assert torch.equal(found.outlier, is_outlier(expected)) and 0 < int(found.outlier.sum()) < 30


@pytest.mark.usefixtures("one_thread")
def test_a_network_on_a_set_of_two_domains(write_images: Callable[..., Path]) -> None:
    images = open_images(write_images(), "image-set", "train")
    network = build_network(NetworkConfig("small", embedding=16, width=32, trained="all", size=32))
    source, target = select(images, domain="source"), select(images, domain="target")
    references = tuple(embed(network, part)[:6] for part in (source, target, target))
    found = evaluate(lambda part: embed(network, part), source, target, detect=detector(references))  # type: ignore[arg-type]
    assert found.queries.target == 24 and found.queries.outliers == 4
    assert found.outliers is not None and 0 <= found.map_ts <= 1 and len(found.ss.relevant) == 24
    direct = score(
        Labelled(embed(network, source), torch.from_numpy(source.labels), torch.from_numpy(source.outliers)),
        Labelled(embed(network, target), torch.from_numpy(target.labels), torch.from_numpy(target.outliers)),
        detect=detector(references),  # type: ignore[arg-type]
    )
    assert direct.map_ts == found.map_ts


def test_bad_input_is_named(write_images: Callable[..., Path]) -> None:
    images = open_images(write_images(source=3, target=3, outliers=1), "image-set", "train")
    with pytest.raises(WorkError, match=r"train/000002: its features are not finite"):
        evaluate(lambda part: torch.tensor([[0.0], [1.0], [math.nan], [0], [0], [0]]), images, images)
    with pytest.raises(ValueError, match=r"features \(6, d\), got \(2, 1\)"):
        evaluate(lambda part: torch.zeros(2, 1), images, images)
    with pytest.raises(UsageError, match="no image"):
        select(images, domain=0, outliers=True)
    with pytest.raises(ValueError, match="queries must be one of"):
        EvaluateConfig(queries="some")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_queries"):
        EvaluateConfig(max_queries=-1)
    with pytest.raises(ValueError, match="expected features"):
        Labelled(torch.zeros(3, 1), torch.zeros(2), torch.zeros(3))
