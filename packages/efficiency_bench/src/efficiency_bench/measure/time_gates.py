"""Gates on times. Two pieces of work that ran in turns are compared by a ratio, which can block. Absolute times are compared
with a baseline of the same machine alone, and are reported.

The fastest round decides: other processes make rounds slower and never faster."""

import os
import platform
from collections.abc import Callable, Mapping
from typing import Any

import torch

from efficiency_bench.measure.devices import describe_device
from efficiency_bench.measure.speed import SpeedResult

TRIES = 3
"""How often a ratio is measured before it counts as too large."""


def fastest_ratio(timed: Mapping[str, SpeedResult], slower: str, faster: str) -> float:
    """How many times as long the fastest round of `slower` took per unit as the fastest round of `faster`."""
    a, b = timed[slower], timed[faster]
    return (min(a.seconds) / a.units) / (min(b.seconds) / b.units)


def smallest_ratio(
    measure: Callable[[], Mapping[str, SpeedResult]], slower: str, faster: str, most: float, tries: int = TRIES
) -> float:
    """The ratio of a new measurement. One above `most` is measured again, `tries` times in all, and the smallest is returned:
    what a busy machine does to a ratio goes away, what the code does to it stays."""
    smallest = float("inf")
    for _ in range(tries):
        smallest = min(smallest, fastest_ratio(measure(), slower, faster))
        if smallest <= most:
            break
    return smallest


def fingerprint(device: torch.device) -> dict[str, Any]:
    """What decides times besides the code: times of two machines are compared only where all of this is equal."""
    described = describe_device(device)
    return {
        "device": described["type"],
        "name": described["name"],
        "cores": os.cpu_count(),
        "python": ".".join(platform.python_version_tuple()[:2]),
        "torch": torch.__version__,
    }


def other_machine(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """In words, in what the machine of a baseline differs from this one; empty if it does not."""
    odd = [name for name in here if there.get(name) != here[name]]
    return ", ".join(f"{name} {there.get(name, 'unknown')} there and {here[name]} here" for name in odd)


def times_over_baseline(now: Mapping[str, float], baseline: Mapping[str, float]) -> dict[str, float]:
    """Benchmark -> its time divided by that of the baseline, the slowest first, of those that both have."""
    ratios = {name: seconds / baseline[name] for name, seconds in now.items() if baseline.get(name)}
    return dict(sorted(ratios.items(), key=lambda pair: -pair[1]))
