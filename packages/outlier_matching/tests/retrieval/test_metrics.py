"""Retrieval metrics against scikit-learn, plain loops and numbers worked out by hand."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor

from outlier_matching.retrieval import ranking
from outlier_matching.retrieval.gallery import Gallery, search
from outlier_matching.retrieval.metrics import (
    AUTHOR,
    RankingProtocol,
    average_precision_at,
    interpolated_precision,
    precision_at,
    retrieve,
)
from outlier_matching.retrieval.ranking import nearest


def drawn(queries: int, gallery: int, classes: int, length: int = 6, seed: int = 0) -> tuple[Tensor, ...]:
    """Features and labels; two classes of the gallery are of no query and the other way round."""
    generator = torch.Generator().manual_seed(seed)
    centers = torch.randn(classes + 2, length, generator=generator)
    query_labels = torch.randint(classes, (queries,), generator=generator)
    gallery_labels = torch.randint(2, classes + 2, (gallery,), generator=generator)
    noise = [torch.randn(count, length, generator=generator) for count in (queries, gallery)]
    return centers[query_labels] + noise[0], centers[gallery_labels] + noise[1], query_labels, gallery_labels


def sklearn_scores(distances: Tensor, matching: Tensor) -> Tensor:
    scores = [
        average_precision_score(hits.numpy(), -row.numpy()) if hits.any() else math.nan
        for row, hits in zip(distances, matching, strict=True)
    ]
    return torch.tensor(scores, dtype=torch.float64)


def plain_precisions(distances: list[float], matching: list[bool]) -> list[float]:
    """Precision down to each relevant item, nearest first, one item at a time."""
    answer = []
    for own, hit in sorted(zip(distances, matching, strict=True)):
        if hit:
            near = [other for distance, other in zip(distances, matching, strict=True) if distance <= own]
            answer.append(sum(near) / len(near))
    return answer


@pytest.mark.parametrize("elements", [1, 800, 2**24])
def test_retrieve_is_scikit_learn_on_all_distances(monkeypatch: pytest.MonkeyPatch, elements: int) -> None:
    """In blocks of one query, of four, and of all."""
    monkeypatch.setattr(ranking, "_ELEMENTS", elements)
    queries, gallery, query_labels, gallery_labels = drawn(30, 200, 8)
    matching = query_labels[:, None] == gallery_labels
    expected = sklearn_scores(torch.cdist(queries.double(), gallery.double()), matching)
    found = retrieve(queries, gallery, query_labels, gallery_labels)
    assert expected.isnan().any() and not expected.isnan().all()
    torch.testing.assert_close(found.average_precision, expected, rtol=0, atol=1e-6, equal_nan=True)
    assert found.mean_average_precision == pytest.approx(float(expected.nanmean()), abs=1e-6)
    assert torch.equal(found.relevant, matching.sum(dim=1))


def test_features_of_float64_are_ranked_in_float64() -> None:
    queries, gallery, query_labels, gallery_labels = drawn(30, 400, 8, length=50, seed=1)
    queries, gallery = queries.double(), gallery.double()
    expected = sklearn_scores(torch.cdist(queries, gallery), query_labels[:, None] == gallery_labels)
    found = retrieve(queries, gallery, query_labels, gallery_labels)
    torch.testing.assert_close(found.average_precision, expected, rtol=0, atol=1e-12, equal_nan=True)


def test_the_query_itself_is_taken_out_of_the_gallery(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "_ELEMENTS", 7 * 40)
    queries, gallery, query_labels, gallery_labels = drawn(40, 40, 5)
    found = retrieve(gallery, gallery, gallery_labels, gallery_labels, exclude=torch.arange(40))
    matching = gallery_labels[:, None] == gallery_labels
    distances = torch.cdist(gallery.double(), gallery.double())
    for query in range(40):
        others = torch.arange(40) != query
        expected = sklearn_scores(distances[query, others][None], matching[query, others][None])
        torch.testing.assert_close(found.average_precision[query, None], expected, rtol=0, atol=1e-6, equal_nan=True)
    # -1 excludes nothing, a row of another class takes no relevant item away.
    none = retrieve(queries, gallery, query_labels, gallery_labels, exclude=torch.full((40,), -1))
    plain = retrieve(queries, gallery, query_labels, gallery_labels)
    assert torch.equal(none.average_precision.nan_to_num(2), plain.average_precision.nan_to_num(2))
    other = (query_labels[:, None] != gallery_labels).int().argmax(dim=1)
    assert torch.equal(retrieve(queries, gallery, query_labels, gallery_labels, exclude=other).relevant, plain.relevant)


def test_copies_of_one_image_are_one_step_in_any_order() -> None:
    gallery = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).repeat(3, 1)
    labels = torch.tensor([0, 1, 1, 1, 0, 1])
    expected = sklearn_scores(torch.cdist(gallery[:1], gallery), labels[None] == 0)
    for order in (torch.arange(6), torch.tensor([5, 2, 4, 0, 3, 1])):
        found = retrieve(gallery[:1], gallery[order], torch.tensor([0]), labels[order])
        torch.testing.assert_close(found.average_precision, expected)


TIED = [
    (0, 2, 12, 1.0, 0.0, torch.float32), (0, 3, 4, 1.0, 0.0, torch.float32), (-128, 128, 2, 1 / 128, 0.0, torch.float32),
    (0, 2, 64, 12**-0.5, 0.0, torch.float32), (0, 3, 3, 1.0, 4096.5, torch.float32), (0, 2, 9, 0.3, 0.0, torch.float64),
    (-2, 3, 3, 1.0, 1e6, torch.float64), (0, 4, 2, 0.25, 1.0, torch.float16),
]  # fmt: skip


def tied(low: int, high: int, length: int, scale: float, offset: float, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Features of queries and of a gallery on a lattice, labels of both, and their squared distances as whole numbers."""
    generator = torch.Generator().manual_seed(0)
    lattice = [torch.randint(low, high, (count, length), generator=generator) for count in (20, 300)]
    labels = [torch.randint(5, (count,), generator=generator) for count in (20, 300)]
    squares = (lattice[0][:, None] - lattice[1]).square().sum(dim=2)
    return *((points * scale + offset).to(dtype) for points in lattice), *labels, squares


@pytest.mark.parametrize("case", TIED)
def test_equal_distances_are_one_step(case: tuple[Any, ...]) -> None:
    queries, gallery, query_labels, gallery_labels, squares = tied(*case)
    matching = query_labels[:, None] == gallery_labels
    found = retrieve(queries, gallery, query_labels, gallery_labels)
    torch.testing.assert_close(found.average_precision, sklearn_scores(squares, matching), rtol=0, atol=1e-12)
    plain = [plain_precisions(row, hits) for row, hits in zip(squares.tolist(), matching.tolist(), strict=True)]
    expected = np.mean([[max(p[max(0, math.ceil(r * len(p) / 10) - 1) :]) for r in range(11)] for p in plain], axis=0)
    assert found.curve is not None
    np.testing.assert_allclose(found.curve.precision.numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("case", TIED)
def test_of_equal_distances_the_first_rows_are_the_matches(case: tuple[Any, ...]) -> None:
    """In every search. More rows are equally far than a search has places."""
    queries, gallery, query_labels, gallery_labels, squares = tied(*case)
    order = [sorted(range(300), key=row.__getitem__)[:7] for row in squares.tolist()]
    assert nearest(queries, gallery, 7).indices.tolist() == order
    hits = query_labels[:, None] == gallery_labels[torch.tensor(order)]
    found = retrieve(queries, gallery, query_labels, gallery_labels, protocol=RankingProtocol(7, "possible"))
    relevant = (query_labels[:, None] == gallery_labels).sum(dim=1)
    assert torch.equal(found.average_precision, average_precision_at(hits, relevant, "possible"))
    own = squares.argmin(dim=1)
    without = [[place for place in row if place != mine][:6] for row, mine in zip(order, own.tolist(), strict=True)]
    assert nearest(queries, gallery, 6, exclude=own).indices.tolist() == without
    if case[-1] == torch.float32:
        kept = Gallery(gallery, tuple(map(str, range(300))), "", "", torch.zeros(300, 2, dtype=torch.int64))
        assert search(kept, queries, 7).indices.tolist() == order


def test_nothing_to_find() -> None:
    found = retrieve(torch.zeros(2, 1), torch.zeros(3, 1), torch.tensor([-1, 0]), torch.tensor([-1, -1, 0]))
    assert found.relevant.tolist() == [0, 1]
    assert found.average_precision[0].isnan()
    found = retrieve(torch.zeros(2, 1), torch.zeros(3, 1), torch.tensor([4, 5]), torch.tensor([0, 1, 2]))
    assert math.isnan(found.mean_average_precision) and found.curve is None
    hits = torch.zeros(2, 3, dtype=torch.bool)
    relevant = torch.tensor([4, 0])
    for denominator in ("relevant", "possible", "found"):
        scores = average_precision_at(hits, relevant, denominator)  # type: ignore[arg-type]
        assert scores[0] == 0 and scores[1].isnan()
    assert average_precision_at(hits, relevant, "constant", 5.0).tolist() == [0, 0]


# Hits at places 1 and 4 of five matches; three relevant items in the gallery, one of them below.
HITS = torch.tensor([[True, False, False, True, False]])
SUM = 1 / 1 + 2 / 4


@pytest.mark.parametrize(("denominator", "constant", "relevant", "expected"), [
    ("relevant", None, 3, SUM / 3), ("relevant", None, 100, SUM / 100), ("possible", None, 3, SUM / 3),
    ("possible", None, 100, SUM / 5), ("found", None, 100, SUM / 2), ("constant", 251.0, 3, SUM / 251),
])  # fmt: skip
def test_the_four_denominators_by_hand(denominator, constant, relevant, expected) -> None:  # type: ignore[no-untyped-def]
    ours = average_precision_at(HITS, torch.tensor([relevant]), denominator, constant)
    assert ours.item() == pytest.approx(expected, abs=1e-15)


def test_a_list_of_the_whole_gallery_is_the_whole_ranking() -> None:
    data = drawn(25, 60, 4, seed=3)
    whole = retrieve(*data)
    for denominator in ("relevant", "possible", "found"):
        cut = retrieve(*data, protocol=RankingProtocol(60, denominator))  # type: ignore[arg-type]
        torch.testing.assert_close(cut.average_precision, whole.average_precision, equal_nan=True)


def test_the_authors_protocol_is_fifty_matches_over_five() -> None:
    queries, gallery, query_labels, gallery_labels = drawn(12, 90, 4, seed=4)
    found = retrieve(queries, gallery, query_labels, gallery_labels, protocol=AUTHOR)
    order = torch.cdist(queries.double(), gallery.double()).argsort(dim=1)[:, :50]
    precision = np.zeros(50)
    for query in range(12):
        hits, total = 0, 0.0
        for place, item in enumerate(order[query].tolist(), start=1):
            if gallery_labels[item] == query_labels[query]:
                hits += 1
                total += hits / place
            precision[place - 1] += hits / place / 12
        assert found.average_precision[query].item() == pytest.approx(total / 5)
    assert found.average_precision.isfinite().all(), "the script counts queries without a match as 0"
    assert found.curve is not None
    np.testing.assert_allclose(found.curve.precision.numpy(), precision, atol=1e-12)


def test_precision_and_recall_by_hand() -> None:
    assert precision_at(HITS).tolist() == [[1, 1 / 2, 1 / 3, 2 / 4, 2 / 5]]
    # Matches of classes 0, 1, 1, 0, 1, and two more of class 0 after them.
    gallery, labels = torch.arange(7.0)[:, None], torch.tensor([0, 1, 1, 0, 1, 0, 0])
    cut = retrieve(torch.zeros(1, 1), gallery, torch.tensor([0]), labels, protocol=RankingProtocol(5)).curve
    assert cut is not None and cut.recall.tolist() == [0.25, 0.25, 0.25, 0.5, 0.5]
    precision = torch.tensor([[1 / 2, 2 / 3, 3 / 9, 4 / 8]], dtype=torch.float64)
    recalls = torch.tensor([0.0, 0.25, 0.3, 0.5, 0.75, 0.9, 1.0], dtype=torch.float64)
    ours = interpolated_precision(precision, torch.tensor([4]), recalls)
    torch.testing.assert_close(ours[0], torch.tensor([2 / 3, 2 / 3, 2 / 3, 2 / 3, 0.5, 0.5, 0.5], dtype=torch.float64))
    labels = torch.arange(4).repeat_interleave(5)
    features = torch.nn.functional.one_hot(labels).float()
    found = retrieve(features, features, labels, labels, exclude=torch.arange(20))
    assert found.mean_average_precision == 1 and found.relevant.tolist() == [4] * 20
    assert found.curve is not None and found.curve.precision.tolist() == [1.0] * 11


@pytest.mark.parametrize("recalls", ["eleven", "all"])
def test_the_curve_is_the_plain_mean_over_queries(recalls) -> None:  # type: ignore[no-untyped-def]
    queries, gallery, query_labels, gallery_labels = drawn(20, 80, 6, seed=5)
    matching = query_labels[:, None] == gallery_labels
    distances = torch.cdist(queries.double(), gallery.double())
    found = retrieve(queries, gallery, query_labels, gallery_labels, recalls=recalls).curve
    assert found is not None and (found.recall.diff() > 0).all()
    total, counted = np.zeros(len(found.recall)), 0
    for row, hits in zip(distances.tolist(), matching.tolist(), strict=True):
        precisions = plain_precisions(row, hits)
        if not precisions:
            continue
        counted += 1
        for place, recall in enumerate(found.recall.tolist()):
            reached = [p for k, p in enumerate(precisions, start=1) if k / len(precisions) >= recall - 1e-12]
            total[place] += max(reached)
    np.testing.assert_allclose(found.precision.numpy(), total / counted, atol=1e-6)
    if recalls == "eleven":
        assert found.recall.tolist() == [k / 10 for k in range(11)]
    if recalls == "all":
        reached = {k / r for r in matching.sum(dim=1).tolist() for k in range(1, r + 1)}
        assert found.recall.tolist() == sorted(reached | {0.0})


@pytest.mark.parametrize(("arguments", "message"), [
    ({"k": 0}, "k must be at least 1"), ({"denominator": "found"}, "cut at k"),
    ({"k": 5, "denominator": "constant"}, "constant None"),
    ({"k": 5, "constant": 5.0}, "does not go with"),
    ({"k": 5, "denominator": "constant", "constant": 0.0}, "above 0"),
    ({"k": 5, "denominator": "all"}, "one of|must be"),
])  # fmt: skip
def test_protocols_that_make_no_sense_are_refused(arguments, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        RankingProtocol(**arguments)


def test_what_does_not_fit_is_named() -> None:
    queries, gallery, query_labels, gallery_labels = drawn(3, 5, 2)
    with pytest.raises(ValueError, match=r"one label a query, \(3,\), got \(2,\)"):
        retrieve(queries, gallery, query_labels[:2], gallery_labels)
    with pytest.raises(ValueError, match="gallery features are not finite"):
        retrieve(queries, gallery * torch.nan, query_labels, gallery_labels)
    with pytest.raises(ValueError, match="recalls must be one of eleven, all"):
        retrieve(queries, gallery, query_labels, gallery_labels, recalls="ten")
    with pytest.raises(ValueError, match="gallery is empty"):
        retrieve(queries, gallery[:0], query_labels, gallery_labels[:0])
