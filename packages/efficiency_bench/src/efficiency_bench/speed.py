"""Wall-clock time of things that are compared, measured interleaved in one process.

On a busy or throttling machine absolute times drift by tens of percent within minutes. Candidates measured in
turn, round after round, drift together, and the ratio of two times of the same round is far steadier than
either time: both are reported. The clock is the one of `torch.utils.benchmark.Timer`, which synchronises the
accelerator before it is read. `Timer.timeit` itself calls the candidate twice, untimed, before every timing; with
calls that last seconds and rounds that are the warm-up of each other this would triple the work, so only the
clock is taken from there.
"""

import gc
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .errors import UsageError


@dataclass(frozen=True)
class Spread:
    """Median of a sample, with the range that holds its middle four fifths."""

    median: float
    """50th percentile."""
    p10: float
    """10th percentile."""
    p90: float
    """90th percentile."""

    @classmethod
    def of(cls, sample: tuple[float, ...]) -> "Spread":
        """Percentiles of the sample, interpolated linearly."""
        p10, median, p90 = np.percentile(sample, (10, 50, 90)).tolist()
        return cls(median, p10, p90)


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
    device: str
    """Type of the device that worked."""

    @property
    def per_call(self) -> Spread:
        """Seconds per call."""
        return Spread.of(self.seconds)

    @property
    def per_unit(self) -> Spread:
        """Seconds per unit: the time of a call over the units it covers."""
        return Spread.of(tuple(seconds / self.units for seconds in self.seconds))

    @property
    def units_per_second(self) -> Spread:
        """Units per second (frames per second where a unit is a frame); p10 is the slow end."""
        return Spread.of(tuple(self.units / seconds for seconds in self.seconds))


def interleave(
    candidates: Mapping[str, Callable[[], object]],
    *,
    units: Mapping[str, int] | None = None,
    rounds: int = 30,
    warmup: int = 5,
    calls: int = 1,
    device: torch.device | None = None,
    progress: Callable[[], object] | None = None,
) -> dict[str, SpeedResult]:
    """Time every candidate once per round, in an order that changes from round to round (`turn`).

    Args:
        candidates: name to a function without arguments that does the whole work.
        units: name to what one call covers, by default 1 for each.
        rounds: rounds; every candidate is timed once in each.
        warmup: untimed calls of every candidate before the first round.
        calls: timed calls per candidate and round, averaged; more than 1 for work below a millisecond.
        device: the device that works, by default the CPU; CUDA is synchronised around every timing.
        progress: called after every round.

    Raises:
        UsageError: no candidates, no rounds, a unit missing, not positive or for no candidate.
    """
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
        for number in range(rounds):
            for name in turn(names, number):
                seconds[name].append(_timed(candidates[name], calls))
            if progress is not None:
                progress()
    return {
        name: SpeedResult(tuple(seconds[name]), covered[name], warmup, calls, threads, device.type) for name in names
    }


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


def ratio(results: Mapping[str, SpeedResult], slower: str, faster: str) -> Spread:
    """How many times as long per unit `slower` takes as `faster`, that is the speed-up of `faster`.

    The ratio is taken within each round, then the percentiles over the rounds.

    Raises:
        UsageError: a name without result, or results of different runs (unequal numbers of rounds).
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
    return Spread.of(tuple((x / a.units) / (y / b.units) for x, y in zip(a.seconds, b.seconds, strict=True)))


def protocol(results: Mapping[str, SpeedResult], scenario: str) -> dict[str, Any]:
    """How the results were measured, for a run record.

    Args:
        results: of one call of `interleave`.
        scenario: what was asked of the device, for example "latency, batch 1" or "throughput, batch 64".
    """
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
        "statistic": "median, p10, p90 over rounds",
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
