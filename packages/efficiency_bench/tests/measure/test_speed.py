from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch

from efficiency_bench.measure.speed import NARROW, Ratio, SpeedResult, Spread, interleave, protocol, ratio, turn
from efficiency_core.errors import UsageError


def result(*seconds: float, units: int = 1) -> SpeedResult:
    return SpeedResult(seconds, units, warmup=2, calls=1, threads=1)


class Clock:
    """A clock that only its candidates move."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("torch.utils.benchmark.timer", lambda: self.now)

    def takes(self, seconds: float) -> Callable[[], None]:
        def candidate() -> None:
            self.now += seconds

        return candidate


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_a_candidate_that_is_twice_as_slow(clock: Clock) -> None:
    results = interleave({"fast": clock.takes(1), "slow": clock.takes(2)}, rounds=8, warmup=1)
    assert ratio(results, "slow", "fast") == Ratio(2, 2, 2, 2, 2)
    assert ratio(results, "fast", "slow").median == 0.5
    assert results["slow"].seconds == (2,) * 8


def test_a_unit_is_a_share_of_a_call(clock: Clock) -> None:
    both = interleave(
        {"frame": clock.takes(1), "group": clock.takes(2)}, units={"frame": 1, "group": 4}, rounds=5, warmup=0
    )
    assert ratio(both, "frame", "group").median == 2
    assert both["group"].units_per_second.median == 2


def test_the_candidates_really_take_turns() -> None:
    log: list[str] = []
    names = ("a", "b", "c")
    interleave({name: partial(log.append, name) for name in names}, rounds=6, warmup=2)
    assert "".join(log) == "aabbcc" + "abcbcacabcbaacbbac"
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


def test_several_calls_are_averaged(clock: Clock) -> None:
    calls = iter([1, 2, 3, 4] * 3)
    results = interleave({"a": lambda: clock.takes(next(calls))()}, rounds=3, warmup=0, calls=4)
    assert results["a"].seconds == (2.5, 2.5, 2.5)
    assert results["a"].calls == 4


def test_the_percentiles() -> None:
    sample = tuple(np.random.default_rng(0).lognormal(size=101))
    ordered = sorted(sample)
    assert Spread.of(sample) == Spread(median=ordered[50], p10=ordered[10], p90=ordered[90])
    assert Spread.of((3.0,)) == Spread(3.0, 3.0, 3.0)


def test_drift_that_both_share_is_not_in_the_ratio() -> None:
    # The machine is ten times slower in the last two rounds; neither the ratio nor its interval see it.
    results = {"slow": result(2, 2, 2, 20, 20), "fast": result(1, 1, 1, 10, 10)}
    assert ratio(results, "slow", "fast") == Ratio(2, 2, 2, 2, 2)
    assert ratio({"slow": result(6, 6, units=2), "fast": result(1, 1)}, "slow", "fast").median == 3


@pytest.mark.parametrize("rounds", [2, 8, 9])
def test_the_ratio_is_the_quotient_of_the_speeds_that_are_reported(rounds: int) -> None:
    rng = np.random.default_rng(1)
    base, other = (result(*rng.lognormal(sigma=0.3, size=rounds), units=units) for units in (1, 4))
    assert base.units_per_second.median == pytest.approx(1 / np.median(base.seconds))
    assert base.units_per_second.p10 == pytest.approx(1 / np.percentile(base.seconds, 90)), "the slow end"
    results = {"base": base, "other": other}
    found = ratio(results, "base", "other")
    assert found.median == pytest.approx(other.units_per_second.median / base.units_per_second.median)
    within = sorted(4 * x / y for x, y in zip(base.seconds, other.seconds, strict=True))
    assert within[0] <= found.p10 <= within[1] and within[-2] <= found.p90 <= within[-1]


def test_the_interval_holds_the_true_ratio_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(200):
        drift = rng.lognormal(sigma=0.2, size=20)
        times = {"slow": drift * rng.lognormal(1, 0.05, 20), "fast": drift * rng.lognormal(0, 0.05, 20)}
        found = ratio({name: result(*values) for name, values in times.items()}, "slow", "fast")
        assert found.low is not None and found.high is not None
        held += found.low <= np.e <= found.high
    assert 180 <= held <= 200


def test_few_rounds_have_no_interval() -> None:
    few = ratio({"a": result(1, 2, 3, 4), "b": result(1, 1, 1, 1)}, "a", "b")
    assert (few.low, few.high, few.narrow) == (None, None, True)
    assert few.named("speedup", "a").keys() == {"speedup_a", "speedup_p10_a", "speedup_p90_a"}
    more = ratio({"a": result(1, 2, 3, 4, 5), "b": result(1, 1, 1, 1, 1)}, "a", "b")
    assert more.named("speedup", "a").keys() - few.named("speedup", "a").keys() == {"speedup_low_a", "speedup_high_a"}


def test_rounds_are_added_while_a_ratio_is_uncertain(clock: Clock) -> None:
    def rounds(times: list[float]) -> int:
        """Rounds of six to twenty, where the second candidate takes these times in turn and then a second each."""
        left = iter(times)
        candidates = {"even": clock.takes(1), "uneven": lambda: clock.takes(next(left, 1.0))()}
        results = interleave(candidates, rounds=6, most_rounds=20, warmup=0)
        last = ratio(results, "even", "uneven")
        assert last.low is not None and last.high is not None
        assert last.narrow == (last.high - last.low <= 2 * NARROW * last.median)
        return len(results["uneven"].seconds)

    assert rounds([]) == 6
    assert 6 < rounds([1, 2, 1, 2, 1, 2]) < 20, "it settles"
    assert rounds([1, 2] * 20) == 20, "it never does"
    even = interleave({"a": clock.takes(1), "b": clock.takes(2)}, rounds=2, most_rounds=6, warmup=0)
    assert len(even["a"].seconds) == 2, "without an interval there is nothing to narrow"


def test_the_protocol_says_what_was_done() -> None:
    results = interleave({"a": list, "b": dict}, units={"a": 1, "b": 4}, rounds=3, warmup=2, calls=5)
    said = protocol(results, "latency, batch 1")
    assert said["scenario"] == "latency, batch 1" and said["units"] == {"a": 1, "b": 4}
    counts = (said["rounds"], said["warmup"], said["calls"], said["threads"])
    assert counts == (3, 2, 5, torch.get_num_threads())
    assert all(len(one.seconds) == 3 for one in results.values())


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
