"""The values of a test: of every seed, with what is missing and why."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from efficiency_bench.claims.cells import Cell
from efficiency_bench.claims.definitions import Check
from efficiency_bench.claims.intervals import ROUNDS, Interval
from efficiency_bench.records.run_record import RunRecord
from efficiency_core.errors import UsageError


@dataclass(frozen=True)
class Value:
    """What was measured at one place."""

    cell: Cell
    unit: str = ""
    by_seed: Mapping[int, float] = field(default_factory=dict)
    """Seed -> number; of a printed value the seed is 0."""
    rounds: Interval | None = None
    """Median and percentiles of a timing; None: there are none."""
    records: tuple[RunRecord, ...] = ()
    missing: str = ""
    """Why there is no number at all; empty: there is one."""
    doubts: tuple[str, ...] = ()
    """Why it cannot be judged yet, or which seeds have no number."""


def read_value(cell: Cell, test: Check, runs: Mapping[int, RunRecord]) -> Value:
    """The numbers of a cell in its records.

    Raises:
        UsageError: a record has another unit than the table says.
    """
    if test.basis == "printed":
        return Value(cell, cell.unit, {0: float(cell.printed)})
    if not runs:
        return Value(cell, missing=cell.missing or "no run")
    found, doubts, unit = {}, [], cell.unit
    for seed, record in runs.items():
        if cell.metric in record.metrics:
            metric = record.metrics[cell.metric]
            if cell.unit and metric.unit != cell.unit:
                units = f"expected the unit {cell.unit!r}, got {metric.unit!r}"
                raise UsageError(f"run {record.run_id}: metric {cell.metric!r}: {units}")
            found[seed], unit = metric.value, metric.unit
        elif cell.metric not in record.absent:
            doubts.append(f"the record of seed {seed} has no {cell.metric}: it is of an older version, run it again")
        elif test.absent_as is not None:
            found[seed] = test.absent_as
            doubts.append(f"seed {seed} counts as {test.absent_as:g}: {record.absent[cell.metric]}")
        else:
            doubts.append(f"seed {seed} has no number: {record.absent[cell.metric]}")
    records = tuple(runs.values())
    if not found:
        return Value(cell, unit, records=records, missing="; ".join(dict.fromkeys(doubts)))
    rounds = None
    if test.basis == "rounds":
        record = next(iter(runs.values()))
        rounds = _rounds(cell.metric, record)
        if rounds is None:
            doubts.append(f"{cell.metric} has no percentiles")
        elif int(record.protocol.get("rounds", 0)) < ROUNDS:
            rounds = None
            doubts.append(f"{record.protocol.get('rounds', 0)} rounds; at least {ROUNDS} are needed")
    return Value(cell, unit, found, rounds, records, doubts=tuple(doubts))


def _rounds(metric: str, record: RunRecord) -> Interval | None:
    """Median and percentiles of a metric that `measure.speed` named: `speedup_step4` has `speedup_p10_step4` beside it."""
    words = metric.split("_")
    for at in range(1, len(words)):
        head, tail = "_".join(words[:at]), "_".join(words[at:])
        low, high = (record.metrics.get(f"{head}_{name}_{tail}") for name in ("p10", "p90"))
        if low and high:
            return Interval(record.metrics[metric].value, low.value, high.value)
    return None
