"""Gates on times, from times that are given: nothing here looks at a clock."""

import pytest
import torch

from efficiency_bench.measure.speed import SpeedResult
from efficiency_bench.measure.time_gates import (
    fastest_ratio,
    fingerprint,
    other_machine,
    smallest_ratio,
    times_over_baseline,
)


def timed(first: list[float], second: list[float], units: int = 1) -> dict[str, SpeedResult]:
    return {"first": SpeedResult(tuple(first), units, 0, 1, 1), "second": SpeedResult(tuple(second), 1, 0, 1, 1)}


def test_the_fastest_rounds_are_compared():
    assert fastest_ratio(timed([9, 2, 3], [1, 8, 7]), "first", "second") == 2
    assert fastest_ratio(timed([9, 2, 3], [1, 8, 7], units=4), "first", "second") == 0.5


def measurements(*ratios: float):
    """A function that gives these ratios one after the other, and the number of its calls."""
    left = list(ratios)
    return lambda: timed([left.pop(0)], [1.0])


def test_a_ratio_within_the_limit_is_measured_once():
    assert smallest_ratio(measurements(1.2), "first", "second", 1.5) == 1.2


def test_a_disturbed_measurement_is_repeated():
    assert smallest_ratio(measurements(3.0, 1.2, 9.0), "first", "second", 1.5) == 1.2


def test_a_ratio_that_stays_above_the_limit_is_returned():
    assert smallest_ratio(measurements(2.4, 2.1, 2.2), "first", "second", 1.5) == 2.1


def test_a_doubled_time_of_work_far_from_its_limit_is_above_it():
    """Limits of like work (a head and its matrix products) are below twice the usual ratio."""
    usual, limit = 1.1, 1.7
    assert smallest_ratio(measurements(*[2 * usual] * 3), "first", "second", limit) > limit > usual


def test_this_machine_is_itself():
    here = fingerprint(torch.device("cpu"))
    assert other_machine(dict(here), here) == ""
    assert here["device"] == "cpu" and here["cores"] >= 1 and here["torch"] == torch.__version__


@pytest.mark.parametrize("there", [{"name": "Other CPU @ 100%"}, {"cores": 4096}, {"torch": "1.0.0"}])
def test_another_machine_is_named(there):
    here = fingerprint(torch.device("cpu"))
    ((name, value),) = there.items()
    assert other_machine(here | there, here) == f"{name} {value} there and {here[name]} here"


def test_a_baseline_without_a_fingerprint_is_another_machine():
    assert "device unknown there and cpu here" in other_machine({"node": "x"}, fingerprint(torch.device("cpu")))


def test_times_are_divided_by_those_of_the_same_benchmark():
    now, baseline = {"a": 3.0, "b": 1.0, "new": 5.0}, {"a": 2.0, "b": 0.5, "gone": 1.0}
    assert list(times_over_baseline(now, baseline).items()) == [("b", 2.0), ("a", 1.5)]
    assert times_over_baseline({}, baseline) == {}
