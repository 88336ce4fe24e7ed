"""The statistical rule of a comparison: from the values of runs to an interval, and from it to an outcome."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

Outcome = Literal["holds", "reversed", "undecided"]

SEEDS = 3
"""Fewest seeds of a training that a comparison takes."""
MOST_SEEDS = 1000
"""Most seeds that `deciding_seeds` names."""
ROUNDS = 5
"""Fewest rounds of a timing that a comparison takes."""
T_QUANTILES = (
    6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833, 1.812, 1.796, 1.782, 1.771, 1.761, 1.753, 1.746, 1.740,
    1.734, 1.729, 1.725,
)  # fmt: skip
"""95 % quantiles of Student's t with 1, 2, ... degrees of freedom; with more than the last, its value is taken."""
RULES: Mapping[str, str] = {
    "seeds": f"A comparison takes the quantity of each seed that all its runs share (at least {SEEDS}), and the 90 % t-interval "
    "of its mean, so each direction errs in 5 % of cases. Without a correction for several comparisons.",
    "cases": "The value says how many cases of a general statement contradict it: one outside the range refutes it, whatever the "
    f"seed; that it holds takes at least {SEEDS} seeds.",
    "counts": "Counts of operations, bytes or parameters are exact: one record is enough.",
    "rounds": f"Timings of one run, in turn, at least {ROUNDS} rounds: the interval spans what the tenth and ninetieth "
    "percentiles over the rounds allow.",
    "printed": "The numbers that the thesis prints are taken as they are.",
}
"""Basis of a test -> its rule in words."""
COMBINED = (
    "A comparison holds if its interval lies in the range, and is reversed if it lies outside. The claim holds if every "
    "comparison does, does not hold if one is reversed, is not run if a value is missing, and is undecided otherwise."
)
"""How comparisons make a verdict."""


@dataclass(frozen=True)
class Interval:
    """Where a quantity lies."""

    middle: float
    low: float
    high: float


@dataclass(frozen=True)
class Range:
    """Where it must lie for a comparison to hold; `open`: at the ends themselves it does not."""

    low: float = -math.inf
    high: float = math.inf
    open: bool = False

    def judge(self, found: Interval) -> Outcome:
        """holds: the interval lies inside; reversed: outside; undecided: it crosses an end."""
        if self.open:
            if found.low > self.low and found.high < self.high:
                return "holds"
            return "reversed" if found.high <= self.low or found.low >= self.high else "undecided"
        if found.low >= self.low and found.high <= self.high:
            return "holds"
        return "reversed" if found.high < self.low or found.low > self.high else "undecided"


def exactly(value: float) -> Interval:
    """The interval of a number that is known."""
    return Interval(value, value, value)


def of_seeds(values: Sequence[float]) -> Interval:
    """The mean of at least two values and its 90 % t-interval; infinite if a value is."""
    return _expected(statistics.fmean(values), statistics.stdev(values), len(values))


def deciding_seeds(values: Sequence[float], wanted: Range) -> int | None:
    """How many seeds would decide if mean and spread stayed as in these values; None: more than `MOST_SEEDS`."""
    mean, spread = statistics.fmean(values), statistics.stdev(values)
    for count in range(len(values), MOST_SEEDS + 1):
        if wanted.judge(_expected(mean, spread, count)) != "undecided":
            return count
    return None


def _expected(mean: float, spread: float, count: int) -> Interval:
    free = min(count - 1, len(T_QUANTILES))
    half = T_QUANTILES[free - 1] * spread / math.sqrt(count)
    return Interval(mean, mean - half, mean + half)


def of_rounds(quantity: Callable[[Sequence[float]], float], found: Sequence[Interval]) -> Interval:
    """What a quantity, monotone in each value, can be while every value is between its percentiles."""
    corners = [quantity(values) for values in product(*((one.low, one.high) for one in found))]
    return Interval(quantity([one.middle for one in found]), min(corners), max(corners))
