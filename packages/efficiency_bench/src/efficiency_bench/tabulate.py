"""One table of the thesis as CSV: what it prints beside what the run records hold.

Columns, in this order: the identifying columns; for every metric `m` the thesis's `m_reported` (and
`m_reported_std` where it prints a spread), then `m` and `m_std`, mean and sample standard deviation over the
seeds; then `seeds`, `dataset`, `preset`, `device`, `status` and `note`. A blank cell means that there is no
number. A run may say of a metric that it has none and why (`RunRecord.absent`): the mean is that of the others, and the note
says so.
"""

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from .errors import UsageError, WorkError
from .files import atomic_write
from .plan import RunSpec, measure_runs
from .presets import Preset
from .records import RunRecord, load_record
from .tables import Column, Measure, Row, Table


@dataclass(frozen=True)
class _Part:
    """One experiment of a row with the records there are and the runs that are missing."""

    measure: Measure
    records: tuple[RunRecord, ...]
    absent: tuple[RunSpec, ...]


def tabulate(
    table: Table,
    preset: Preset,
    runs_dir: Path,
    variants: Mapping[str, str],
    *,
    allow_missing: bool = False,
    mix_devices: bool = False,
) -> pd.DataFrame:
    """The table as text cells, one row per row of the thesis.

    Args:
        runs_dir: folder of the run records, `{run_id}.json` each.
        variants: data set -> the name of its folder, as in the run ids.
        allow_missing: leave the cells of absent runs blank and say so in `note`, instead of refusing.
        mix_devices: list all devices of a row in `device`, instead of refusing a row measured on several.

    Raises:
        WorkError: a needed record is absent; the message lists the runs and says how to make them.
        UsageError: a record that is not the run its name says, lacks a metric, has it in another unit, or was
            measured on other data or another device than the rest of its row.
    """
    parts = {row.id: _parts(table, row, preset, runs_dir, variants) for row in table.rows}
    absent = {spec.run_id: row for row, group in parts.items() for part in group for spec in part.absent}
    if absent and not allow_missing:
        listed = ", ".join(f"{run} (row {row!r})" for run, row in list(absent.items())[:4])
        listed += f" and {len(absent) - 4} more" if len(absent) > 4 else ""
        command = f"snakemake results/{table.target} --config preset={preset.name}"
        raise WorkError(
            f"{table.title} with preset {preset.name} needs runs that {runs_dir} lacks: {listed}\n"
            f"make them with `{command}`, or leave their cells blank with --allow-missing"
        )
    spread = {name for row in table.rows for name in row.reported_std}
    rows = [_cells(table, row, parts[row.id], preset, spread, mix_devices) for row in table.rows]
    return pd.DataFrame(rows, dtype=str)


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write the CSV under a temporary name and rename it. Raises `WorkError` where that fails."""
    with atomic_write(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")


def _parts(table: Table, row: Row, preset: Preset, runs_dir: Path, variants: Mapping[str, str]) -> tuple[_Part, ...]:
    parts = []
    for measure in row.measures:
        records, absent = [], []
        for spec in measure_runs(table, row, measure, preset, variants):
            path = runs_dir / f"{spec.run_id}.json"
            if path.exists():
                records.append(load_run(path, spec))
            else:
                absent.append(spec)
        parts.append(_Part(measure, tuple(records), tuple(absent)))
    return tuple(parts)


def load_run(path: Path, spec: RunSpec) -> RunRecord:
    """The record at `path`, which must be the run that `spec` and its file name say."""
    record = load_record(path)
    for name in ("run_id", "experiment", "kind", "settings", "seed"):
        expected, got = getattr(spec, name), getattr(record, name)
        if expected != got:
            raise UsageError(f"{path}: {name}: expected {expected!r}, got {got!r}; remove the file and run it again")
    if record.data.keys() != spec.data.keys():
        expected, got = ", ".join(spec.data) or "none", ", ".join(record.data) or "none"
        raise UsageError(f"{path}: data: expected {expected}, got {got}; remove the file and run it again")
    return record


def _cells(
    table: Table, row: Row, parts: tuple[_Part, ...], preset: Preset, spread: set[str], mix_devices: bool
) -> dict[str, str]:
    where = f"{table.title}, row {row.id!r}"
    records = [record for part in parts for record in part.records]
    cells = {name: row.keys.get(name, "") for name in table.keys}
    measured = {name: part for part in parts for name in part.measure.metrics}
    for name, column in table.metrics.items():
        cells[f"{name}_reported"] = row.reported.get(name, "")
        if name in spread:
            cells[f"{name}_reported_std"] = row.reported_std.get(name, "")
        values = _values(column, measured[name]) if name in measured else []
        cells[name] = f"{statistics.fmean(values):.{column.digits}f}" if values else ""
        cells[f"{name}_std"] = f"{statistics.stdev(values):.{column.digits}f}" if len(values) > 1 else ""
    seeds = max((len(part.records) for part in parts), default=0)
    cells["seeds"] = str(seeds) if seeds else ""
    cells["dataset"] = name_datasets(records, where)
    cells["preset"] = preset.name if records else ""
    cells["device"] = name_devices(records, where, mix_devices)
    cells["status"] = "measured" if records else "reported_only"
    cells["note"] = "; ".join(_notes(row, parts, seeds))
    return cells


def _values(column: Column, part: _Part) -> list[float]:
    """The metric of every record of the part that has a number for it, in the unit the table declares."""
    name = part.measure.metrics[column.name]
    values = []
    for record in part.records:
        if name in record.absent:
            continue
        if name not in record.metrics:
            known = ", ".join(sorted(record.metrics))
            raise UsageError(f"run {record.run_id}: {column.name} needs its metric {name!r}; it has {known}")
        metric = record.metrics[name]
        if metric.unit != column.unit:
            units = f"expected the unit {column.unit!r}, got {metric.unit!r}"
            raise UsageError(f"run {record.run_id}: metric {name!r}: {units}")
        values.append(metric.value)
    return values


def name_datasets(records: Iterable[RunRecord], where: str) -> str:
    """`MovingDigits (mnist)`: what the row's runs read; a row never mixes two contents of one data set.

    A data set other than the experiment's own adds its name: `MovingDigits (mnist), moving_digits_speeds`.
    """
    texts: dict[str, None] = {}
    contents: dict[str, tuple[str, str]] = {}
    for record in records:
        for name, data in record.data.items():
            chosen = data.get("folder", name).partition("-")[0]
            texts[f"{data['name']} ({data['source']})" + (f", {chosen}" if chosen != name else "")] = None
            first_run, digest = contents.setdefault(chosen, (record.run_id, data["digest"]))
            if digest != data["digest"]:
                raise UsageError(
                    f"{where}: the runs {first_run} and {record.run_id} read different contents of {chosen}; "
                    "remove the older record and run it again"
                )
    return "; ".join(texts)


def name_devices(records: Iterable[RunRecord], where: str, mix_devices: bool) -> str:
    """The device's name, with the number of threads on a CPU."""
    threads: dict[tuple[str, str], set[int]] = {}
    for record in records:
        device = record.device
        threads.setdefault((device["type"], device["name"]), set()).add(device["threads"])
    texts = []
    for (kind, name), counts in threads.items():
        listed = ", ".join(str(count) for count in sorted(counts))
        texts.append(f"{name} ({listed} thread{'s' if counts != {1} else ''})" if kind == "cpu" else name)
    if len(texts) > 1 and not mix_devices:
        raise UsageError(
            f"{where}: its runs were measured on different devices ({'; '.join(texts)}); "
            "run them on one device, or pass --mix-devices to list them all"
        )
    return "; ".join(texts)


def _notes(row: Row, parts: Iterable[_Part], seeds: int) -> list[str]:
    """What is missing, the row's own note, and the columns with fewer runs than the row's `seeds` says."""
    notes = [text for text in (row.missing, row.note) if text]
    for part in parts:
        columns = ", ".join(part.measure.metrics)
        if part.absent:
            runs = ", ".join(spec.run_id for spec in part.absent)
            notes.append(f"{columns}: not run: {runs}")
        if 0 < len(part.records) < seeds:
            notes.append(f"{columns}: {len(part.records)} run{'s' if len(part.records) > 1 else ''}")
        notes += _absences(part)
    return notes


def _absences(part: _Part) -> list[str]:
    """Which columns rest on fewer runs than there are because some have no number, and why: columns and reasons together
    where they are the same."""
    columns: dict[tuple[str, ...], list[str]] = {}
    for column, name in part.measure.metrics.items():
        reasons = tuple(record.absent[name] for record in part.records if name in record.absent)
        if reasons:
            columns.setdefault(reasons, []).append(column)
    total = len(part.records)
    return [
        f"{', '.join(names)}: no number from {len(reasons)} of {total} run{'s' if total > 1 else ''}: "
        + ", ".join(dict.fromkeys(reasons))
        for reasons, names in columns.items()
    ]
