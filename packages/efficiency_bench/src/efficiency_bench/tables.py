"""The thesis's tables as data: one YAML file each, with the printed values and what measures them here.

Numbers that the thesis prints in a section's running text alone are a table too: `text: "5.4"` in place of `table`, in a file
`text5_4.yaml`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from . import experiments
from .documents import load_document
from .errors import UsageError
from .settings import build_settings


@dataclass(frozen=True)
class Column:
    """One metric of a table."""

    name: str
    """The column's name in the CSV, snake_case."""
    header: str
    """The header as the thesis prints it, or what an added column holds."""
    unit: str
    """The unit of the records' values; another unit in a record is refused."""
    printed: bool
    """Whether the thesis prints this column."""
    digits: int
    """Decimals of the measured values in the CSV; printed values keep the thesis's own."""
    higher_is_better: bool


@dataclass(frozen=True)
class Measure:
    """An experiment that measures a part of a row."""

    experiment: str
    settings: Mapping[str, Any]
    """What this row sets, over the preset and the experiment's defaults."""
    metrics: Mapping[str, str]
    """The table's metric -> the record's metric."""
    data: Mapping[str, str] = field(default_factory=dict)
    """Data set the experiment reads -> the one to read in its place; others are read as they are."""


@dataclass(frozen=True)
class Row:
    """One row: what the thesis prints, and what measures it or what is missing for that."""

    id: str
    keys: Mapping[str, str]
    """The identifying cells as the thesis prints them; a key left out is a blank cell."""
    reported: Mapping[str, str]
    """Metric -> the printed digits as text; a printed "-" is left out."""
    reported_std: Mapping[str, str]
    """Metric -> the printed spread as text."""
    measures: tuple[Measure, ...]
    """What measures the row; empty where `missing` says what is needed."""
    missing: str
    """What is needed to measure the row; empty where `measures` does it."""
    note: str


@dataclass(frozen=True)
class Table:
    """One table of the thesis, the numbers in the text of a section, or the points of a figure."""

    kind: Literal["table", "text", "figure"]
    number: str
    """As the thesis numbers it, "2.4"; of a text the section."""
    caption: str
    source: str
    keys: Mapping[str, str]
    """Identifying column -> printed header."""
    metrics: Mapping[str, Column]
    rows: tuple[Row, ...]
    path: Path
    """Where the table was read from, for messages."""

    @property
    def name(self) -> str:
        """The name of its files: "table2_4", "text5_4", "fig2_5"."""
        return file_name(self.kind, self.number)

    @property
    def title(self) -> str:
        """What messages call it: "table 2.4"."""
        return f"{self.kind} {self.number}"

    @property
    def target(self) -> str:
        """The file that Snakemake makes of it: "table2_4.csv", "fig2_5.svg"."""
        return f"{self.name}.svg" if self.kind == "figure" else f"{self.name}.csv"


def file_name(kind: Literal["table", "text", "figure"], number: str) -> str:
    """ "table", "2.4" -> "table2_4"; "figure", "2.5" -> "fig2_5"."""
    return f"{'fig' if kind == 'figure' else kind}{number.replace('.', '_')}"


def load_table(path: Path) -> Table:
    """Read and check one table file.

    Raises:
        UsageError: which file, which row, what was expected and what came.
    """
    document = load_document(path, "table")
    if ("table" in document) == ("text" in document):
        raise UsageError(f"{path}: expected either 'table' (its number) or 'text' (the number of the section)")
    kind: Literal["table", "text"] = "table" if "table" in document else "text"
    number = document[kind]
    expected = f"{file_name(kind, number)}.yaml"
    if path.name != expected:
        raise UsageError(f"{path}: {kind} {number} belongs in a file named {expected}")
    if twice := document["keys"].keys() & document["metrics"].keys():
        raise UsageError(f"{path}: {min(twice)!r} is both a key and a metric; give each column its own name")
    columns = {name: Column(name=name, **values) for name, values in document["metrics"].items()}
    return Table(
        kind=kind,
        number=number,
        caption=document["caption"].strip(),
        source=document["source"],
        keys=document["keys"],
        metrics=columns,
        rows=build_rows(document["rows"], document["keys"], columns, path),
        path=path,
    )


def build_rows(
    entries: Iterable[Mapping[str, Any]], keys: Mapping[str, str], columns: Mapping[str, Column], path: Path
) -> tuple[Row, ...]:
    """The rows of a table, or points of a figure, from what its file says; a `UsageError` names the row."""
    rows: dict[str, Row] = {}
    for entry in entries:
        where = f"{path}: row {entry['id']!r}"
        if entry["id"] in rows:
            raise UsageError(f"{where}: the id is used by an earlier row; give each row its own")
        rows[entry["id"]] = _row(entry, keys, columns, where)
    return tuple(rows.values())


def find_tables(folder: Path) -> dict[str, Table]:
    """Every table and text of `folder` by its name ("table2_4"), in the order of the thesis."""
    tables = [load_table(path) for path in folder.glob("*.yaml")]
    tables.sort(key=lambda table: (*(int(part) for part in table.number.split(".")), table.kind))
    return {table.name: table for table in tables}


def _row(entry: Mapping[str, Any], keys: Mapping[str, str], columns: Mapping[str, Column], where: str) -> Row:
    reported, reported_std = entry.get("reported", {}), entry.get("reported_std", {})
    _known(entry["keys"], keys, f"{where}: keys")
    _known(reported, columns, f"{where}: reported")
    _known(reported_std, columns, f"{where}: reported_std")
    if alone := reported_std.keys() - reported.keys():
        raise UsageError(f"{where}: reported_std: {min(alone)!r} has no reported value; expected one beside its spread")
    for name in reported:
        if not columns[name].printed:
            raise UsageError(f"{where}: reported: expected no value of {name!r}, which has printed: false")
    if ("measure" in entry) == ("missing" in entry):
        raise UsageError(f"{where}: expected either 'measure' or 'missing' (what measuring the row needs)")
    measures = []
    measured_by: dict[str, str] = {}
    for part in entry.get("measure", []):
        measure = Measure(part["experiment"], part.get("settings", {}), part["metrics"], part.get("data", {}))
        check_run(measure.experiment, measure.settings, measure.data, where)
        _known(measure.metrics, columns, f"{where}: metrics of {measure.experiment}")
        for name in measure.metrics:
            if name in measured_by:
                both = f"{measured_by[name]} and by {measure.experiment}"
                raise UsageError(f"{where}: {name!r} is measured by {both}; keep one of them")
            measured_by[name] = measure.experiment
        measures.append(measure)
    return Row(
        id=entry["id"],
        keys=entry["keys"],
        reported=reported,
        reported_std=reported_std,
        measures=tuple(measures),
        missing=entry.get("missing", "").strip(),
        note=entry.get("note", "").strip(),
    )


def check_run(experiment: str, settings: Mapping[str, Any], data: Mapping[str, str], where: str) -> None:
    """A `UsageError` that begins with `where` unless there is such an experiment with such settings and data."""
    if experiment not in experiments.names():
        known = ", ".join(sorted(experiments.names()))
        raise UsageError(f"{where}: unknown experiment {experiment!r}; there are {known}")
    found = experiments.get(experiment)
    build_settings(found.settings_type, settings, f"{where}: settings of {experiment}")
    for name in data:
        if name not in found.data:
            raise UsageError(
                f"{where}: data: {experiment} does not read {name!r}; it reads {', '.join(found.data) or 'none'}"
            )


def _known(names: Mapping[str, Any], declared: Mapping[str, Any], where: str) -> None:
    for name in names:
        if name not in declared:
            raise UsageError(f"{where}: {name!r} is not declared; expected one of {', '.join(declared)}")
