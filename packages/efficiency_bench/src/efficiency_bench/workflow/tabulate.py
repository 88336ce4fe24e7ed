"""One table of the thesis as CSV: its printed numbers next to the measured ones of the run records.

Columns, in this order: the identifying columns; for every metric `m` the thesis's `m_reported` (and `m_reported_std` where
it prints a spread), then `m` and `m_std`, mean and sample standard deviation over the seeds; then `seeds`, `dataset`,
`preset` and `device`; then the spreads of timings that the records have, such as `m_p10` (`columns.SPREADS`); then the further
columns of `columns.ORIGIN`, `status` and `note` last. A metric that a run has no number for (`RunRecord.absent`) has the mean
of the other runs, and the note says so.
"""

import statistics
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from efficiency_bench.records.run_record import RunRecord, difference, load_record
from efficiency_bench.workflow.columns import ORIGIN, SPREADS, table_columns, write_csv
from efficiency_bench.workflow.origin import NO_DATA, describe_scale, name_datasets
from efficiency_bench.workflow.plan import RunSpec, measure_runs
from efficiency_bench.workflow.presets import Preset
from efficiency_bench.workflow.tables import Column, Measure, Row, Table
from efficiency_core.errors import UsageError, WorkError


class _Part(NamedTuple):
    measure: Measure
    records: list[RunRecord]
    absent: list[str]
    """Ids of the runs that have no record."""


def tabulate(
    table: Table,
    preset: Preset,
    runs_dir: Path,
    variants: Mapping[str, str],
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
        WorkError: a needed record is absent.
        UsageError: a record is not the run its name says, or was measured on other data or devices than the rest of its row.
    """
    if taken := sorted({*table.keys, *table.metrics} & ORIGIN.keys()):
        raise UsageError(f"{table.path}: every table has a column {taken[0]!r} of its own; give yours another name")
    parts = {row.id: _parts(table, row, preset, runs_dir, variants) for row in table.rows}
    absent = {run: row for row, group in parts.items() for part in group for run in part.absent}
    if absent and not allow_missing:
        listed = ", ".join(f"{run} (row {row!r})" for run, row in list(absent.items())[:4])
        listed += f" and {len(absent) - 4} more" if len(absent) > 4 else ""
        target = f"{table.name}.{'svg' if table.kind == 'figure' else 'csv'}"
        raise WorkError(
            f"{table.kind} {table.number} with preset {preset.name} needs runs that {runs_dir} lacks: {listed}\n"
            f"make them with `snakemake results/{target} --config preset={preset.name}`, or leave their cells blank with "
            "--allow-missing"
        )
    spread = {name for row in table.rows for name in row.reported_std}
    timed = _timed(table, parts.values())
    rows = [_cells(table, row, parts[row.id], preset, spread, timed, mix_devices) for row in table.rows]
    return pd.DataFrame(rows, dtype=str)


def write_table(table: Table, frame: pd.DataFrame, path: Path) -> list[Path]:
    """Write the table's CSV, with its description beside it; returns what was written."""
    title = {"title": f"{table.kind.capitalize()} {table.number}", "description": table.caption, "source": table.source}
    return write_csv(frame, path, table_columns(table, map(str, frame)), title)


def _parts(table: Table, row: Row, preset: Preset, runs_dir: Path, variants: Mapping[str, str]) -> list[_Part]:
    parts = [_Part(measure, [], []) for measure in row.measures]
    for part in parts:
        for spec in measure_runs(table, row, part.measure, preset, variants):
            path = runs_dir / f"{spec.run_id}.json"
            if path.exists():
                part.records.append(load_run(path, spec))
            else:
                part.absent.append(spec.run_id)
    return parts


def load_run(path: Path, spec: RunSpec) -> RunRecord:
    """The record at `path`, which must be the run that `spec` and its file name say."""
    record = load_record(path)
    for name in ("run_id", "experiment", "kind", "seed"):
        expected, got = getattr(spec, name), getattr(record, name)
        if expected != got:
            raise UsageError(f"{path}: {name}: expected {expected!r}, got {got!r}; remove the file and run it again")
    if odd := difference(spec.settings, record.settings):
        raise UsageError(f"{path}: settings.{odd}; remove the file and run it again")
    if record.data.keys() != spec.data.keys():
        expected, got = ", ".join(spec.data) or "none", ", ".join(record.data) or "none"
        raise UsageError(f"{path}: data: expected {expected}, got {got}; remove the file and run it again")
    return record


def _timed(table: Table, rows: Iterable[list[_Part]]) -> list[tuple[str, str]]:
    """Metrics of the table and the ends of their spreads that a record has: ("fps", "p10"), ..."""
    found = {
        (name, end)
        for parts in rows
        for part in parts
        for name, metric in part.measure.metrics.items()
        for end in SPREADS
        if any(_spread_metric(record, metric, end) for record in part.records)
    }
    return [(name, end) for name in table.metrics for end in SPREADS if (name, end) in found]


def _spread_metric(record: RunRecord, metric: str, end: str) -> str:
    """The record's metric that is an end of the spread of `metric`: `fps_p10_step4` of `fps_step4`; empty if it has none."""
    words = metric.split("_")
    names = ("_".join([*words[:at], end, *words[at:]]) for at in range(1, len(words)))
    return next((name for name in names if name in record.metrics), "")


def _cells(
    table: Table,
    row: Row,
    parts: list[_Part],
    preset: Preset,
    spread: set[str],
    timed: list[tuple[str, str]],
    mix_devices: bool,
) -> dict[str, str]:
    where = f"{table.kind} {table.number}, row {row.id!r}"
    runs = [(part.measure, record) for part in parts for record in part.records]
    records = [record for _, record in runs]
    cells = {name: row.keys.get(name, "") for name in table.keys}
    measured = {name: part for part in parts for name in part.measure.metrics}
    values = {name: _values(name, table.metrics[name], part) for name, part in measured.items()}
    for name, column in table.metrics.items():
        cells[f"{name}_reported"] = row.reported.get(name, "")
        if name in spread:
            cells[f"{name}_reported_std"] = row.reported_std.get(name, "")
        found = values.get(name, [])
        cells[name] = f"{statistics.fmean(found):.{column.digits}f}" if found else ""
        cells[f"{name}_std"] = f"{statistics.stdev(found):.{column.digits}f}" if len(found) > 1 else ""
    seeds = max((len(part.records) for part in parts), default=0)
    cells |= {
        "seeds": str(seeds) if seeds else "",
        "dataset": name_datasets(runs, table.thesis_data, where),
        "preset": preset.name if records else "",
        "device": name_devices(records, where, mix_devices),
    }
    for name, end in timed:
        ends = []
        if name in measured:
            metric = measured[name].measure.metrics[name]
            of_runs = [(record, _spread_metric(record, metric, end)) for record in measured[name].records]
            ends = [record.metrics[one].value for record, one in of_runs if one]
        cells[f"{name}_{end}"] = f"{statistics.fmean(ends):.{table.metrics[name].digits}f}" if ends else ""

    def of_data(name: str) -> str:
        part = measured[name]
        read = [(part.measure, record) for record in part.records]
        return name_datasets(read, table.thesis_data, where) or NO_DATA

    filled = [name for name in table.metrics if values.get(name)]
    numbers = [name for name in table.metrics if cells[name] or cells[f"{name}_reported"]]
    return cells | {
        "seeds_by_cell": _by_cell(filled, lambda name: str(len(values[name]))),
        "dataset_by_cell": _by_cell(filled, of_data),
        "scale": _by_cell(filled, lambda name: describe_scale(measured[name].records[0]), always=True),
        "units": "; ".join(f"{name}: {table.metrics[name].unit}" for name in numbers),
        "status": "measured" if records else "reported_only",
        "note": "; ".join(_notes(row, parts, seeds)),
    }


def _by_cell(names: Iterable[str], describe: Callable[[str], str], always: bool = False) -> str:
    """`map: 3; fps, flops_g: 1`: what `describe` says of the cells; where it says the same of all, nothing or (`always`) this."""
    texts: dict[str, list[str]] = {}
    for name in names:
        texts.setdefault(describe(name), []).append(name)
    if len(texts) > 1:
        return "; ".join(f"{', '.join(group)}: {text}" for text, group in texts.items() if text)
    return next(iter(texts), "") if always else ""


def _values(column_name: str, column: Column, part: _Part) -> list[float]:
    """The column's metric in every record of the part that has a number for it, in the unit the table declares."""
    name = part.measure.metrics[column_name]
    values = []
    for record in part.records:
        if name in record.absent:
            continue
        if name not in record.metrics:
            known = ", ".join(sorted(record.metrics))
            raise UsageError(f"run {record.run_id}: {column_name} needs its metric {name!r}; it has {known}")
        metric = record.metrics[name]
        if metric.unit != column.unit:
            units = f"expected the unit {column.unit!r}, got {metric.unit!r}"
            raise UsageError(f"run {record.run_id}: metric {name!r}: {units}")
        values.append(metric.value)
    return values


def name_devices(records: Iterable[RunRecord], where: str, mix_devices: bool) -> str:
    """The device's name, with the number of threads on a CPU, and of devices where trainings were divided; a `UsageError` where
    there are several and they may not mix."""
    threads: dict[tuple[str, str], set[int]] = {}
    divided: dict[tuple[str, str], int] = {}
    for record in records:
        device = record.device
        key = device["type"], device["name"]
        threads.setdefault(key, set()).add(device["threads"])
        divided[key] = max(divided.get(key, 1), device.get("devices", 1))
    texts = []
    for (kind, name), counts in threads.items():
        listed = ", ".join(str(count) for count in sorted(counts))
        text = f"{name} ({listed} thread{'s' if counts != {1} else ''})" if kind == "cpu" else name
        most = divided[kind, name]
        texts.append(text if most == 1 else f"{text}, trained on {most} devices")
    if len(texts) > 1 and not mix_devices:
        raise UsageError(
            f"{where}: its runs were measured on different devices ({'; '.join(texts)}); "
            "run them on one device, or pass --mix-devices to list them all"
        )
    return "; ".join(texts)


def _notes(row: Row, parts: Iterable[_Part], seeds: int) -> list[str]:
    notes = [text for text in (row.missing, row.note) if text]
    for part in parts:
        columns, total = ", ".join(part.measure.metrics), len(part.records)
        if part.absent:
            notes.append(f"{columns}: not run: {', '.join(part.absent)}")
        if 0 < total < seeds:
            notes.append(f"{columns}: {total} run{'s' if total > 1 else ''}")
        blank: dict[tuple[str, ...], list[str]] = {}  # why runs have no number -> columns that lack it
        for column, name in part.measure.metrics.items():
            if reasons := tuple(record.absent[name] for record in part.records if name in record.absent):
                blank.setdefault(reasons, []).append(column)
        for reasons, names in blank.items():
            of_runs = f"{len(reasons)} of {total} run{'s' if total > 1 else ''}"
            notes.append(f"{', '.join(names)}: no number from {of_runs}: {', '.join(dict.fromkeys(reasons))}")
    return notes
