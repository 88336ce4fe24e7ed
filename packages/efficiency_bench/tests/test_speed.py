import time
from collections import Counter
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch

from efficiency_bench.errors import UsageError
from efficiency_bench.speed import SpeedResult, Spread, interleave, protocol, ratio, turn


def result(*seconds: float, units: int = 1) -> SpeedResult:
    return SpeedResult(seconds, units, warmup=2, calls=1, threads=1, device="cpu")


def test_a_candidate_that_is_twice_as_slow() -> None:
    results = interleave({"fast": lambda: time.sleep(0.01), "slow": lambda: time.sleep(0.02)}, rounds=8, warmup=1)
    assert ratio(results, "slow", "fast").median == pytest.approx(2, rel=0.2)
    assert ratio(results, "fast", "slow").median == pytest.approx(0.5, rel=0.2)
    assert 0.02 <= results["slow"].per_call.p10 <= results["slow"].per_call.median < 0.04


def test_a_unit_is_a_share_of_a_call() -> None:
    both = interleave(
        {"frame": lambda: time.sleep(0.01), "group": lambda: time.sleep(0.02)},
        units={"frame": 1, "group": 4},
        rounds=5,
        warmup=0,
    )
    assert ratio(both, "frame", "group").median == pytest.approx(2, rel=0.2)
    assert both["group"].per_unit.median == pytest.approx(both["group"].per_call.median / 4)
    assert both["group"].units_per_second.median == pytest.approx(1 / both["group"].per_unit.median)


def test_the_candidates_really_take_turns() -> None:
    log: list[str] = []
    names = ("a", "b", "c")
    rounds, warmup = 6, 2
    interleave({name: partial(log.append, name) for name in names}, rounds=rounds, warmup=warmup)
    assert log[: warmup * 3] == ["a", "a", "b", "b", "c", "c"]
    timed = log[warmup * 3 :]
    assert len(timed) == rounds * len(names)
    order = timed
    assert [tuple(order[start : start + 3]) for start in range(0, len(order), 3)] == [
        ("a", "b", "c"),
        ("b", "c", "a"),
        ("c", "a", "b"),
        ("c", "b", "a"),
        ("a", "c", "b"),
        ("b", "a", "c"),
    ]


def test_two_candidates_alternate() -> None:
    assert [turn(("a", "b"), number) for number in range(4)] == [("a", "b"), ("b", "a")] * 2
    assert turn(("a",), 5) == ("a",)


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_no_place_and_no_neighbour_is_preferred(count: int) -> None:
    names = tuple("abcde"[:count])
    orders = [turn(names, number) for number in range(2 * count)]
    assert all(sorted(order) == list(names) for order in orders)
    for place in range(count):
        assert set(Counter(order[place] for order in orders).values()) == {2}
    follows = Counter(pair for order in orders for pair in pairwise(order))
    assert all(follows[a, b] == follows[b, a] for a, b in follows)


def test_several_calls_are_averaged() -> None:
    results = interleave({"a": lambda: time.sleep(0.002)}, rounds=3, warmup=0, calls=10)
    assert 0.002 <= results["a"].per_call.median < 0.01  # ten calls take 0.02
    assert results["a"].calls == 10


def test_the_percentiles() -> None:
    sample = tuple(np.random.default_rng(0).lognormal(size=101))
    ordered = sorted(sample)
    assert Spread.of(sample) == Spread(median=ordered[50], p10=ordered[10], p90=ordered[90])
    assert Spread.of((3.0,)) == Spread(3.0, 3.0, 3.0)


def test_the_ratio_is_taken_within_the_round() -> None:
    # The machine is ten times slower in the last two rounds; the ratio does not see it.
    results = {"slow": result(2, 2, 20, 20), "fast": result(1, 1, 10, 10)}
    assert ratio(results, "slow", "fast") == Spread(2, 2, 2)
    assert ratio({"slow": result(6, 6, units=2), "fast": result(1, 1)}, "slow", "fast").median == 3


def test_the_protocol_says_what_was_done() -> None:
    results = interleave({"a": list, "b": dict}, units={"a": 1, "b": 4}, rounds=3, warmup=2, calls=5)
    said = protocol(results, "latency, batch 1")
    assert said["scenario"] == "latency, batch 1"
    assert (said["rounds"], said["warmup"], said["calls"]) == (3, 2, 5)
    assert said["threads"] == torch.get_num_threads()
    assert said["units"] == {"a": 1, "b": 4}
    assert all(len(one.seconds) == 3 for one in results.values())


def test_progress_and_the_number_of_threads() -> None:
    ticks: list[int] = []
    seen: set[int] = set()
    before = torch.get_num_threads()
    interleave({"a": lambda: seen.add(torch.get_num_threads())}, rounds=4, progress=lambda: ticks.append(1))
    assert len(ticks) == 4
    assert seen == {before}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"candidates": {}}, "candidates is empty"),
        ({"rounds": 0}, "rounds must be at least 1, got 0"),
        ({"warmup": -1}, "warmup must be at least 0, got -1"),
        ({"calls": 0}, "calls must be at least 1, got 0"),
        ({"units": {}}, r"units must name the candidates \['a'\], got \[\]"),
        ({"units": {"a": 1, "b": 1}}, r"got \['a', 'b'\]"),
        ({"units": {"a": 0}}, "'a' must cover at least 1 unit, got 0"),
    ],
)
def test_wrong_use(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        interleave(**({"candidates": {"a": list}} | options))  # type: ignore[arg-type]


def test_a_ratio_needs_two_candidates_of_one_run() -> None:
    with pytest.raises(UsageError, match="no candidate 'c' was timed: there are a, b"):
        ratio({"a": result(1), "b": result(1)}, "a", "c")
    with pytest.raises(UsageError, match="timed together"):
        ratio({"a": result(1, 1), "b": result(1)}, "a", "b")
    with pytest.raises(UsageError, match="no results"):
        protocol({}, "latency")


def test_an_error_of_a_candidate_passes_through() -> None:
    def broken() -> None:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        interleave({"a": broken}, rounds=1, warmup=0)
