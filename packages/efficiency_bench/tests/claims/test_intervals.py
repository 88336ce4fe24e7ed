"""Intervals and what they say, against numbers computed by hand."""

import math

import pytest

from efficiency_bench.claims.intervals import (
    MOST_SEEDS,
    T_QUANTILES,
    Interval,
    Range,
    deciding_seeds,
    of_rounds,
    of_seeds,
)


def test_the_interval_of_three_seeds_is_that_of_students_t() -> None:
    found = of_seeds([1.0, 2.0, 3.0])
    half = 2.920 * 1.0 / math.sqrt(3)  # t with 2 degrees of freedom at 95 %, standard deviation 1
    assert (found.middle, found.low, found.high) == pytest.approx((2.0, 2.0 - half, 2.0 + half))
    assert of_seeds([5.0, 5.0, 5.0]) == Interval(5.0, 5.0, 5.0)


def test_the_quantiles_are_those_of_the_distribution() -> None:
    stats = pytest.importorskip("scipy.stats")
    for free, quantile in enumerate(T_QUANTILES, start=1):
        assert stats.t.ppf(0.95, free) == pytest.approx(quantile, abs=5e-4)
    many = of_seeds([float(seed % 2) for seed in range(60)])
    assert many.high - many.middle == pytest.approx(T_QUANTILES[-1] * math.sqrt(15 / 59) / math.sqrt(60))


@pytest.mark.parametrize(
    ("values", "wanted", "count"),
    [
        ([1.0, 2.0, 3.0], Range(0), 3),  # decided already
        (
            [-1.0, 1.0, 3.0],
            Range(0),
            13,
        ),  # 2 t(n - 1) < sqrt(n): 1.796 * 2 / sqrt(12) = 1.04, 1.782 * 2 / sqrt(13) = 0.99
        ([-1.0, 1.0, 3.0], Range(0, 4), 13),
        ([-1.0, 1.0, 3.0], Range(2), 13),
        ([-1.0, 1.0, 0.03], Range(0), None),
    ],
)
def test_the_number_of_seeds_that_would_decide(values: list[float], wanted: Range, count: int | None) -> None:
    assert deciding_seeds(values, wanted) == count
    assert count is None or count <= MOST_SEEDS


@pytest.mark.parametrize(
    ("found", "wanted", "outcome"),
    [
        (Interval(2, 1, 3), Range(0), "holds"),
        (Interval(0.5, -1, 2), Range(0), "undecided"),
        (Interval(-2, -3, -1), Range(0), "reversed"),
        (Interval(0, 0, 0), Range(0), "holds"),
        (Interval(0, 0, 0), Range(0, open=True), "reversed"),
        (Interval(1, 0, 2), Range(0, open=True), "undecided"),
        (Interval(0, -0.5, 0.5), Range(-1, 1), "holds"),
        (Interval(0, -2, 2), Range(-1, 1), "undecided"),
        (Interval(2, 1.5, 2.5), Range(-1, 1), "reversed"),
        (Interval(1, 1, 1), Range(high=1), "holds"),
    ],
)
def test_an_interval_holds_inside_is_reversed_outside_and_undecided_across(
    found: Interval, wanted: Range, outcome: str
) -> None:
    assert wanted.judge(found) == outcome


def test_rounds_span_what_their_percentiles_allow() -> None:
    a, b = Interval(6.0, 5.0, 8.0), Interval(2.0, 1.0, 4.0)
    assert of_rounds(lambda v: v[0] / v[1], [a, b]) == Interval(3.0, 5 / 4, 8.0)
    assert of_rounds(lambda v: v[0] - v[1], [a, b]) == Interval(4.0, 1.0, 7.0)
