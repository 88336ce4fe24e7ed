"""The kinds of tests: which quantities are computed from the values of a test, and what is said of them."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from efficiency_bench.claims.definitions import Check, KindName
from efficiency_bench.claims.intervals import (
    MOST_SEEDS,
    SEEDS,
    Interval,
    Outcome,
    Range,
    deciding_seeds,
    exactly,
    of_rounds,
    of_seeds,
)
from efficiency_bench.claims.values import Value

Quantity = Callable[[Sequence[float]], float]

KINDS: Mapping[KindName, str] = {
    "order": "each value minus the next is",
    "difference": "the first value minus the second is",
    "ratio": "the first value divided by the second is",
    "interval": "each value is",
    "spread": "the largest value minus the smallest is",
    "gap": "the first difference (1st - 2nd value) minus the second (3rd - 4th) is",
}
"""Kind of a test -> what its range is about."""


@dataclass(frozen=True)
class Comparison:
    """One quantity, and whether it is where it must be."""

    text: str
    """Name, number and interval: "traj - sigma -0.02 [-0.6, 0.5]"."""
    outcome: Outcome | None
    """None: a value is missing."""
    reason: str = ""
    """Why it does not hold."""


def state(test: Check) -> str:
    """The test in words: "difference: the first value minus the second is within -1 to 1"."""
    less = "the largest value minus the smallest, less that of the other values, is"
    return f"{test.kind}: {less if test.than else KINDS[test.kind]} {_range(_wanted(test))}"


def compare(test: Check, values: Mapping[str, Value]) -> list[Comparison]:
    """All comparisons of a test; `values` has the value of each place."""
    wanted = _wanted(test)
    return [
        _compare(test, name, quantity, [values[place] for place in places], wanted)
        for name, quantity, places in _quantities(test, values)
    ]


def describe(test: Check, values: Mapping[str, Value], compared: Sequence[Comparison]) -> str:
    """The values of a test and its comparisons as text: "keyframe mAP (%): traj 85.7 ± 0.9, sigma 85.5 ± 1.2; traj - sigma 0.2
    [-0.6, 1.0]"."""
    listed = [values[place] for place in (*test.values, *test.than)]
    headers = list(dict.fromkeys(value.cell.header for value in listed))
    units = list(dict.fromkeys(value.unit for value in listed if value.unit))
    parts = [f"{_named(value, len(headers) > 1)} {_number_of(value)}" for value in listed]
    unit = f" {units[0]}" if len(units) == 1 and units[0] != "1" and f"({units[0]}" not in headers[0] else ""
    start = f"{headers[0]}: " if len(headers) == 1 and headers[0] else ""
    text = f"{start}{', '.join(parts)}{unit}"
    return "; ".join([text, *(one.text for one in compared if one.text and one.text not in text)])


def _wanted(test: Check) -> Range:
    low = -math.inf if test.at_least is None else test.at_least
    high = math.inf if test.at_most is None else test.at_most
    return Range(max(low, 0.0), open=True) if test.kind == "order" else Range(low, high)


def _quantities(test: Check, values: Mapping[str, Value]) -> list[tuple[str, Quantity, Sequence[str]]]:
    """(name, quantity, places of its values) of each comparison."""
    places = test.values
    several = len({values[place].cell.label for place in places}) < len(places)
    labels = [_named(values[place], several) for place in places]
    if test.kind in ("order", "difference"):
        pairs = list(zip(labels, labels[1:], places, places[1:], strict=False))
        return [(f"{a} - {b}", lambda v: v[0] - v[1], (first, second)) for a, b, first, second in pairs]
    if test.kind == "ratio":
        return [(f"{labels[0]} / {labels[1]}", lambda v: v[0] / v[1] if v[1] else math.inf, places)]
    if test.kind == "interval":
        return [(label, lambda v: v[0], (place,)) for label, place in zip(labels, places, strict=True)]
    if test.kind == "gap":
        a, b, c, d = labels
        return [(f"({a} - {b}) - ({c} - {d})", lambda v: (v[0] - v[1]) - (v[2] - v[3]), places)]
    count = len(places)
    name = f"spread of {labels[0]} ... {labels[-1]}" + (" less that of the others" if test.than else "")
    return [(name, lambda v: _spread(v[:count]) - _spread(v[count:]), (*places, *test.than))]


def _compare(test: Check, name: str, quantity: Quantity, values: Sequence[Value], wanted: Range) -> Comparison:
    absent = [value for value in values if value.missing]
    if absent:
        return Comparison("", None, "; ".join(f"{value.cell.label}: {value.missing}" for value in absent))
    doubts = list(dict.fromkeys(f"{value.cell.label}: {doubt}" for value in values for doubt in value.doubts))
    if test.basis == "rounds":
        rounds = [value.rounds for value in values if value.rounds is not None]
        if len(rounds) < len(values):
            return Comparison("", "undecided", "; ".join(doubts))
        return _outcome(name, of_rounds(quantity, rounds), wanted, doubts)
    if test.basis in ("counts", "printed"):
        exact = quantity([next(iter(value.by_seed.values())) for value in values])
        return _outcome(name, exactly(exact), wanted, doubts)
    shared = sorted(set.intersection(*(set(value.by_seed) for value in values)))
    by_seed = [quantity([value.by_seed[seed] for value in values]) for seed in shared]
    if test.basis == "cases":
        for found in by_seed:
            if wanted.judge(exactly(found)) == "reversed":
                return _outcome(name, exactly(found), wanted, doubts)
    if len(by_seed) < SEEDS:
        seeds = f"{len(by_seed)} seed{'' if len(by_seed) == 1 else 's'}"
        text = f"{name} {_number(statistics.fmean(by_seed))} ({seeds})" if by_seed else ""
        return Comparison(
            text, "undecided", "; ".join([f"{seeds}; at least {SEEDS} are needed (preset cpu has them)", *doubts])
        )
    judged = _outcome(name, of_seeds(by_seed), wanted, doubts)
    if judged.outcome == "undecided":
        count = deciding_seeds(by_seed, wanted)
        enough = f"about {count} seeds" if count else f"more than {MOST_SEEDS} seeds"
        judged = replace(judged, reason=f"{judged.reason} ({enough} of this mean and spread would decide)")
    return judged


def _outcome(name: str, found: Interval, wanted: Range, doubts: Sequence[str]) -> Comparison:
    outcome = wanted.judge(found)
    span = "" if found.low == found.high else f" [{_number(found.low)}, {_number(found.high)}]"
    text = f"{name} {_number(found.middle)}{span}"
    if outcome == "holds":
        return Comparison(text, outcome)
    place = _range(wanted)
    says = f"{text} is not {place}" if outcome == "reversed" else f"{text} may be {place} or not"
    return Comparison(text, outcome, "; ".join([says, *doubts]))


def _named(value: Value, with_header: bool) -> str:
    """The value's row, and its metric where rows alone do not tell values apart."""
    cell = value.cell
    return f"{cell.label}, {cell.header}" if with_header and cell.header else cell.label


def _number_of(value: Value) -> str:
    if value.missing:
        return "(none)"
    numbers = list(value.by_seed.values())
    if value.rounds is not None:
        return f"{_number(value.rounds.middle)} [{_number(value.rounds.low)}, {_number(value.rounds.high)}]"
    spread = f" ± {statistics.stdev(numbers):.2g}" if len(numbers) > 1 else ""
    return f"{_number(statistics.fmean(numbers))}{spread}"


def _number(value: float) -> str:
    return f"{value:.4g}"


def _range(wanted: Range) -> str:
    if math.isinf(wanted.high):
        return f"{'more than' if wanted.open else 'at least'} {wanted.low:g}"
    if math.isinf(wanted.low):
        return f"at most {wanted.high:g}"
    return f"within {wanted.low:g} to {wanted.high:g}" if wanted.low < wanted.high else f"{wanted.low:g}"


def _spread(values: Sequence[float]) -> float:
    return max(values) - min(values) if values else 0.0
