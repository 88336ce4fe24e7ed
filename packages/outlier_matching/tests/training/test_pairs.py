"""Pairs and target images of a step: right by their labels, fair in their draws, the same every time."""

import logging

import numpy as np
import pytest

from efficiency_core.errors import UsageError
from outlier_matching.training.pairs import PairSampler, draw_targets, endless, half_and_half

LABELS = np.array([2, 0, -1, 2, 0, 1, 0, -1, 1, 2, 0])


def test_pairs() -> None:
    sampler = PairSampler(LABELS, 8, seed=0)
    assert len(sampler) == 9
    for step in range(200):
        left, right, matching = sampler.pairs(step)
        assert matching.tolist() == [True] * 4 + [False] * 4
        assert (LABELS[left] >= 0).all() and (LABELS[right] >= 0).all()
        assert ((LABELS[left] == LABELS[right]) == matching).all()
        assert (left != right).all()
    sampler = PairSampler(LABELS, 6, seed=0)
    lefts = np.concatenate([sampler.pairs(step).left for step in range(3)])
    labelled = np.flatnonzero(LABELS >= 0)
    assert sorted(lefts[:9]) == sorted(lefts[9:]) == labelled.tolist()
    assert lefts[:9].tolist() != lefts[9:].tolist()
    first, second, other = PairSampler(LABELS, 8, 0), PairSampler(LABELS, 8, 0), PairSampler(LABELS, 8, 1)
    for step in (5, 0, 3):
        first.pairs(step + 1)
        assert all(np.array_equal(a, b) for a, b in zip(first.pairs(step), second.pairs(step), strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first.pairs(0), other.pairs(0), strict=True))


def test_partners_are_uniform() -> None:
    """Of image 1 (class 0): 3 others match and 5 do not; each is drawn equally often."""
    sampler = PairSampler(LABELS, 4, seed=1)
    counts = {True: np.zeros(len(LABELS)), False: np.zeros(len(LABELS))}
    for step in range(3000):
        for left, right, match in zip(*sampler.pairs(step), strict=True):
            if left == 1:
                counts[bool(match)][right] += 1
    for match, wanted in ((True, [4, 6, 10]), (False, [0, 3, 5, 8, 9])):
        assert np.flatnonzero(counts[match]).tolist() == wanted
        drawn = counts[match][wanted]
        expected = drawn.sum() / len(wanted)
        assert (abs(drawn - expected) < 5 * np.sqrt(expected)).all()


def test_classes_of_one_image_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    sampler = PairSampler(np.array([0, 0, 7, 1, 1]), 4, seed=0)
    assert len(sampler) == 4
    assert all(2 not in np.concatenate(sampler.pairs(step)[:2]) for step in range(50))
    assert caplog.messages == ["1 source classes have a single image and are left out, the first is 7"]


@pytest.mark.parametrize("labels", [[], [-1, -1], [3, 3, 3], [0, 1, 2], [0, 0, 1]])
def test_sets_without_pairs(labels: list[int]) -> None:
    with pytest.raises(UsageError, match="pairs need two classes or more with two images or more"):
        PairSampler(np.array(labels, dtype=np.int64), 4, seed=0)


def test_permutations_and_halves() -> None:
    whole = endless(5, 0, 23, seed=0, key=4)
    for turn in range(4):
        assert sorted(whole[5 * turn : 5 * turn + 5]) == [0, 1, 2, 3, 4]
    assert len({tuple(whole[5 * turn : 5 * turn + 5]) for turn in range(4)}) > 1
    for first, count in ((0, 3), (3, 9), (12, 11), (22, 1)):
        assert endless(5, first, count, 0, 4).tolist() == whole[first : first + count].tolist()
    assert endless(5, 0, 23, 0, 5).tolist() != whole.tolist()
    inliers, outliers = np.array([1, 4, 9]), np.array([0])
    rows = np.stack([half_and_half(inliers, outliers, step, 6, seed=0) for step in range(300)])
    assert set(rows[:, :3].flatten()) == {1, 4, 9} and set(rows[:, 3:].flatten()) == {0}
    assert any(len(set(row[:3])) < 3 for row in rows)  # with replacement, as in the release
    assert np.array_equal(rows[7], half_and_half(inliers, outliers, 7, 6, seed=0))


@pytest.mark.parametrize(
    ("inside", "outside", "share", "kept"),
    [
        (90, 90, 0.1, (90, 10)), (90, 90, 0.5, (90, 90)), (80, 10, 0.2, (40, 10)), (90, 10, 0.1, (90, 10)),
        (90, 10, 0.0, (90, 0)), (90, 10, None, (90, 10)), (60, 100, 0.6, (60, 90)), (95, 20, 0.05, (95, 5)),
    ],
)  # fmt: skip
def test_shares_of_outliers_are_exact(inside: int, outside: int, share: float | None, kept: tuple[int, int]) -> None:
    outliers = np.random.default_rng(0).permutation(np.arange(inside + outside) < outside)
    chosen = draw_targets(outliers, share, seed=3)
    assert (np.diff(chosen) > 0).all()
    assert (int((~outliers[chosen]).sum()), int(outliers[chosen].sum())) == kept
    assert np.array_equal(chosen, draw_targets(outliers, share, seed=3))


def test_outliers_that_are_not_there_cannot_be_drawn() -> None:
    with pytest.raises(
        UsageError, match=r"outlier_share=0\.1 was asked for, but the target has no image that is marked"
    ):
        draw_targets(np.zeros(5, dtype=bool), 0.1, seed=0)
