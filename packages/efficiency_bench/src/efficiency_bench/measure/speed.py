"""Wall-clock time of things that are compared, measured interleaved in one process: times drift on a busy machine, so that
only times of the same rounds can be compared.

A time is the median over the rounds, and a ratio is the quotient of two such medians: whoever divides two printed speeds gets
the printed speed-up. The interval of a ratio resamples whole rounds, so that drift, which both share, does not widen it. The
clock is that of `torch.utils.benchmark.Timer`, which synchronises the accelerator; its `timeit` would call each candidate twice
more, untimed, before every timing."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from efficiency_core.errors import UsageError

if TYPE_CHECKING:
    import torch

INTERVAL_ROUNDS = 5
"""Fewest rounds that a ratio has an interval with."""
NARROW = 0.05
"""Half the width of an interval, as a share of its ratio, that needs no further rounds."""


@dataclass(frozen=True)
class Spread:
    """Median of a sample, with the range that holds its middle four fifths."""

    median: float
    p10: float
    p90: float

    @classmethod
    def of(cls, sample: tuple[float, ...]) -> Spread:
        """Percentiles of the sample, interpolated linearly."""
        p10, median, p90 = np.percentile(sample, (10, 50, 90)).tolist()
        return cls(median, p10, p90)

    def named(self, prefix: str, name: str) -> dict[str, float]:
        """`PREFIX_NAME` -> the median, `PREFIX_p10_NAME` and `PREFIX_p90_NAME` -> the percentiles."""
        parts = {"": self.median, "p10_": self.p10, "p90_": self.p90}
        return {f"{prefix}_{part}{name}": value for part, value in parts.items()}


@dataclass(frozen=True)
class Ratio(Spread):
    """Quotient of two medians, with the range of the middle four fifths of the quotients within each round."""

    low: float | None
    """Lower end of the 95 % interval of the quotient; None with fewer than `INTERVAL_ROUNDS` rounds."""
    high: float | None
    """Upper end."""

    @property
    def narrow(self) -> bool:
        """Whether further rounds are not needed: the interval is narrow, or there is none."""
        return self.low is None or self.high is None or self.high - self.low <= 2 * NARROW * self.median

    def named(self, prefix: str, name: str) -> dict[str, float]:
        """As of `Spread`, and `PREFIX_low_NAME` and `PREFIX_high_NAME` -> the ends of the interval where there is one."""
        ends = {"low": self.low, "high": self.high}
        interval = {f"{prefix}_{end}_{name}": value for end, value in ends.items() if value is not None}
        return super().named(prefix, name) | interval


@dataclass(frozen=True)
class SpeedResult:
    """What one candidate took."""

    seconds: tuple[float, ...]
    """One call, in every round in order; the mean over `calls` where there are several."""
    units: int
    """What one call covers, for example the frames of one group of keyframe and anticipated frames."""
    warmup: int
    """Untimed calls before the first round."""
    calls: int
    """Timed calls in every round."""
    threads: int
    """Threads torch used on the CPU."""

    @property
    def per_call(self) -> Spread:
        """Seconds per call."""
        return Spread.of(self.seconds)

    @property
    def units_per_second(self) -> Spread:
        """Units per second (frames per second where a unit is a frame) of the median call; p10 is the slow end."""
        call = self.per_call
        return Spread(self.units / call.median, self.units / call.p90, self.units / call.p10)


def interleave(
    candidates: Mapping[str, Callable[[], object]],
    *,
    units: Mapping[str, int] | None = None,
    rounds: int = 30,
    most_rounds: int = 0,
    warmup: int = 5,
    calls: int = 1,
    device: torch.device | None = None,
) -> dict[str, SpeedResult]:
    """Time every candidate once per round, in an order that changes from round to round (`turn`).

    Args:
        candidates: name to a function without arguments that does the whole work.
        units: name to what one call covers, by default 1 for each.
        rounds: rounds in any case.
        most_rounds: rounds at most, where the interval of a candidate's ratio to the first one is not `narrow` yet.
        warmup, calls: as of :class:`SpeedResult`; several calls are for work below a millisecond.
        device: the device that works, by default the CPU; CUDA is synchronised around every timing.

    Raises:
        UsageError: no candidates, no rounds, a unit missing, not positive or for no candidate.
    """
    import torch

    device = device or torch.device("cpu")
    names = tuple(candidates)
    covered = dict.fromkeys(names, 1) if units is None else dict(units)
    _check(names, covered, rounds, warmup, calls)
    threads = torch.get_num_threads()
    # The clock synchronises the current device only.
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        for name in names:
            for _ in range(warmup):
                candidates[name]()
        seconds: dict[str, list[float]] = {name: [] for name in names}
        results: dict[str, SpeedResult] = {}
        for number in range(max(rounds, most_rounds)):
            if number >= rounds and all(ratio(results, names[0], name).narrow for name in names[1:]):
                break
            for name in turn(names, number):
                seconds[name].append(_timed(candidates[name], calls))
            results = {name: SpeedResult(tuple(seconds[name]), covered[name], warmup, calls, threads) for name in names}
    return results


def _timed(candidate: Callable[[], object], calls: int) -> float:
    """Mean seconds of `calls` calls in a row, the garbage collector off meanwhile, as `timeit` has it."""
    from torch.utils.benchmark import timer as read_clock  # brings compilers, which no other run should wait for

    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        start = read_clock()
        for _ in range(calls):
            candidate()
        return max(read_clock() - start, 1e-9) / calls
    finally:
        if collecting:
            gc.enable()


def turn(names: tuple[str, ...], number: int) -> tuple[str, ...]:
    """The order of round `number`: rotated by one every round, and backwards in every second pass.

    With two names they alternate. Each name comes first, last and after each neighbour equally often.
    """
    start = number % len(names)
    order = names[start:] + names[:start]
    return order[::-1] if (number // len(names)) % 2 and len(names) > 2 else order


def ratio(results: Mapping[str, SpeedResult], slower: str, faster: str) -> Ratio:
    """How many times as long per unit `slower` takes as `faster`: the quotient of their medians.

    The percentiles are of the quotients within each round. The interval is that of 1,000 resamplings of the rounds.
    `UsageError` for a name without result, and for results of different runs (unequal numbers of rounds).
    """
    for name in (slower, faster):
        if name not in results:
            raise UsageError(f"no candidate {name!r} was timed: there are {', '.join(sorted(results))}")
    a, b = results[slower], results[faster]
    if len(a.seconds) != len(b.seconds):
        raise UsageError(
            f"{slower!r} has {len(a.seconds)} rounds and {faster!r} {len(b.seconds)}: "
            "a ratio needs candidates timed together"
        )
    times, others = np.array(a.seconds) / a.units, np.array(b.seconds) / b.units
    p10, p90 = np.percentile(times / others, (10, 90)).tolist()
    low = high = None
    if len(times) >= INTERVAL_ROUNDS:
        chosen = np.random.default_rng(0).integers(len(times), size=(1000, len(times)))
        quotients = np.median(times[chosen], axis=1) / np.median(others[chosen], axis=1)
        low, high = np.percentile(quotients, (2.5, 97.5)).tolist()
    return Ratio(float(np.median(times) / np.median(others)), p10, p90, low, high)


def protocol(results: Mapping[str, SpeedResult], scenario: str) -> dict[str, Any]:
    """How the results of a call of `interleave` were measured, for a run record; `scenario` is for example "latency, batch 1"."""
    if not results:
        raise UsageError("there are no results whose protocol could be described")
    one = next(iter(results.values()))
    return {
        "scenario": scenario,
        "timer": "torch.utils.benchmark.timer, candidates interleaved",
        "warmup": one.warmup,
        "rounds": len(one.seconds),
        "calls": one.calls,
        "threads": one.threads,
        "statistic": "median, p10, p90 over rounds; a ratio is the quotient of two medians, its p10 and p90 are over the ratios "
        "within each round, low and high are its 95 % interval (rounds resampled)",
        "units": {name: result.units for name, result in results.items()},
    }


def _check(names: tuple[str, ...], units: Mapping[str, int], rounds: int, warmup: int, calls: int) -> None:
    if not names:
        raise UsageError("there is nothing to time: candidates is empty")
    for what, value, least in (("rounds", rounds, 1), ("warmup", warmup, 0), ("calls", calls, 1)):
        if value < least:
            raise UsageError(f"{what} must be at least {least}, got {value}")
    if set(units) != set(names):
        raise UsageError(f"units must name the candidates {sorted(names)}, got {sorted(units)}")
    for name, count in units.items():
        if count < 1:
            raise UsageError(f"a call of {name!r} must cover at least 1 unit, got {count}")
