"""Algorithm 1: the first halves, the refresh by both rules, and sets that would be empty."""

import math
from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import Tensor

from outlier_matching.method.assignment import class_probabilities, inlier_weights
from outlier_matching.method.config import Rule
from outlier_matching.method.pseudo_sets import (
    PseudoSets,
    initial_sets,
    mean_distances,
    nearest_distances,
    reference_features,
    refreshed_sets,
)


def draw(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sets_of(inliers: list[int], outliers: list[int], n: int) -> PseudoSets:
    return PseudoSets(torch.tensor(inliers), torch.tensor(outliers), torch.zeros(n))


def test_initial_sets() -> None:
    target, source = draw(11, 3, 0), draw(7, 3, 1)
    expected = [sum(math.dist(t, s) for s in source.tolist()) / 7 for t in target.tolist()]
    for chunk in (1, 4, 100):
        assert mean_distances(target, source, chunk).tolist() == pytest.approx(expected, rel=1e-12)
    sets = initial_sets(torch.tensor([[1.0], [5.0], [-2.0], [9.0], [4.0]]), torch.zeros(1, 1))
    assert sets.inliers.tolist() == [0, 2, 4]
    assert sets.outliers.tolist() == [1, 3]
    assert sets.weights.tolist() == pytest.approx([0.7, 0.3, 0.7, 0.3, 0.7])
    sets = initial_sets(torch.ones(40, 2), torch.zeros(3, 2))
    assert sets.inliers.tolist() == list(range(20))
    assert sets.outliers.tolist() == list(range(20, 40))


def directions(degrees: list[float]) -> Tensor:
    angles = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack((angles.cos(), angles.sin()), 1)


def test_thesis_rule_sends_each_sample_where_it_is_likeliest() -> None:
    """Source at 0, inliers at 90 and outliers at 200 degrees: a sample goes to the nearest of the three."""
    target, source = directions([10, 80, 100, 190, 215, 30]), directions([0, 0])
    sets = refreshed_sets(target, source, sets_of([1, 2], [3, 4], 6))
    assert sets.inliers.tolist() == [0, 1, 2, 5]
    assert sets.outliers.tolist() == [3, 4]
    p = class_probabilities(target, (source, target[[1, 2]], target[[3, 4]]))
    torch.testing.assert_close(sets.weights, inlier_weights(p).float())
    # The source has p1 + p2, then come p2 of an inlier and p2 of an outlier.
    assert sets.weights[0] > sets.weights[1] > sets.weights[3]


def test_author_rule() -> None:
    target, source = directions([5, 85, 90, 95, 100, 80, 120, 200, 205]), directions([0])
    sets = refreshed_sets(target, source, sets_of([1, 2, 3], [7, 8], 9), "author")
    p = class_probabilities(target, (source, target[[1, 2, 3]], target[[7, 8]]))
    candidates = sorted(range(1, 7), key=lambda i: -float(p[i, 1]))
    assert sets.inliers.tolist() == sorted([0, *candidates[:2]])
    assert sets.outliers.tolist() == [7, 8]
    target, source = directions([*(90.0 + (-1) ** i * 3 * i for i in range(13)), 0.0]), directions([0])
    old = PseudoSets(torch.arange(13), torch.tensor([13]), torch.zeros(14))  # the outlier equals the source: a tie
    p = class_probabilities(target, (source, target[:13], target[13:]))
    order = sorted(range(13), key=lambda i: -float(p[i, 1]))
    sets = refreshed_sets(target, source, old, "author")
    assert sets.inliers.tolist() == sorted([*order[:4], 13])
    assert sets.outliers.tolist() == sorted(order[10:])


@pytest.mark.parametrize("rule", get_args(Rule))
@pytest.mark.parametrize("n", [2, 3, 5, 6, 20])
def test_no_set_is_empty_and_none_is_in_both(rule: Rule, n: int) -> None:
    """Even where all features agree, so that no sample is an outlier, and where one class attracts every sample."""
    same = torch.ones(n, 2)
    half = torch.arange(n)[: n // 2], torch.arange(n)[n // 2 :]
    start = PseudoSets(*half, torch.full((n,), 0.5))
    cases = [(same, same), (draw(n, 2, n), draw(4, 2, 1)), (same, -same), (10 * draw(n, 2, n), -10 * draw(3, 2, 2))]
    for target, source in cases:
        sets = refreshed_sets(target.double(), source.double(), start, rule)
        inliers, outliers = set(sets.inliers.tolist()), set(sets.outliers.tolist())
        assert inliers and outliers and not inliers & outliers
        assert inliers | outliers <= set(range(n))
        assert ((sets.weights >= 0) & (sets.weights <= 1)).all()


def test_references_are_all_samples_or_evenly_spread() -> None:
    target, source = torch.arange(20.0)[:, None], 100 + torch.arange(9.0)[:, None]
    sets = PseudoSets(torch.arange(10), torch.arange(10, 13), torch.zeros(20))
    every = reference_features(target, source, sets)
    assert [len(r) for r in every] == [9, 10, 3]
    spread = reference_features(target, source, sets, 4)
    assert [r.flatten().tolist() for r in spread] == [[100, 102, 104, 106], [0, 2, 5, 7], [10, 10, 11, 12]]


def test_outliers_far_from_both_domains_are_found_and_kept() -> None:
    """A tenth of the target points away from the rest: from the halves of step 1 a few refreshes leave just these."""
    generator = torch.Generator().manual_seed(0)
    inlier = torch.tensor([1.0, 0.3, 0.0]) + 0.15 * torch.randn(90, 3, generator=generator)
    outlier = torch.tensor([-1.0, 0.0, 0.4]) + 0.15 * torch.randn(10, 3, generator=generator)
    source = torch.tensor([1.0, 0.0, 0.0]) + 0.15 * torch.randn(100, 3, generator=generator)
    normal = torch.nn.functional.normalize
    target, source = normal(torch.cat((inlier, outlier))), normal(source)
    sets = initial_sets(target, source)
    for _ in range(4):
        sets = refreshed_sets(target, source, sets)
    assert sets.outliers.tolist() == list(range(90, 100))
    assert sets.weights[:90].min() > sets.weights[90:].max()


TARGET, SOURCE = torch.zeros(4, 2), torch.zeros(3, 2)
SETS = initial_sets(TARGET, SOURCE)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: initial_sets(TARGET[:1], SOURCE), "a target"),
    (lambda: initial_sets(TARGET, SOURCE[:, :1]), "a source"),
    (lambda: initial_sets(TARGET, SOURCE, 0), "chunk"),
    (lambda: refreshed_sets(TARGET, SOURCE, SETS, "other"), "rule must be one of thesis, author"),
    (lambda: refreshed_sets(TARGET[:3], SOURCE, SETS), "do not fit"),
    (lambda: refreshed_sets(TARGET, SOURCE, SETS, references=0), "references must be at least 1"),
    (lambda: PseudoSets(torch.zeros(2), SETS.outliers, SETS.weights), "int64"),
    (lambda: PseudoSets(SETS.inliers, SETS.outliers, torch.zeros(4, dtype=torch.int64)), "weights"),
])  # fmt: skip
def test_what_cannot_be_used_is_refused(call: Callable[[], PseudoSets], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("chunk", [1, 3, 1024])
def test_distances_to_the_nearest_by_a_loop(chunk: int) -> None:
    generator = torch.Generator().manual_seed(0)
    target, source = (torch.randn(n, 4, generator=generator, dtype=torch.float64) for n in (5, 7))
    for count in (1, 3, 7, 20):
        found = nearest_distances(target, source, count, chunk)
        for row, x in zip(found.tolist(), target, strict=True):
            every = sorted((x - y).norm().item() for y in source)[:count]
            assert row == pytest.approx(sum(every) / len(every), abs=1e-6)
    found = nearest_distances(target, source, 7)
    torch.testing.assert_close(found, mean_distances(target, source), atol=1e-6, rtol=1e-6)


def test_the_nearest_tell_an_outlier_where_the_average_tells_a_class() -> None:
    """Two far classes of the source: the average is the same for what lies in one of them and for what lies between them."""
    source = torch.tensor([[-10.0, 0.0]] * 5 + [[10.0, 0.0]] * 5)
    target = torch.tensor([[-10.0, 0.1], [0.0, 0.1], [10.0, 0.1], [0.1, 0.0]])
    assert set(initial_sets(target, source, nearest=2).inliers.tolist()) == {0, 2}
    assert set(initial_sets(target, source).inliers.tolist()) == {1, 3}
