"""The thesis's tables as data: one YAML file each, with the printed values and what measures them here. Numbers in a
section's running text are a table too: `text: "5.4"` in place of `table`, in a file `text5_4.yaml`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from efficiency_bench import experiments
from efficiency_bench.documents import (
    Added,
    DataChoice,
    Entry,
    Expected,
    Flag,
    Name,
    Number,
    Settings,
    Source,
    Step,
    Text,
    load_document,
)
from efficiency_core.settings import convert

Cells = Mapping[str, Annotated[str, Expected("text (put it in quotes)")]]
PrintedNumbers = Mapping[
    str,
    Annotated[
        str,
        StringConstraints(pattern=r"^-?[0-9]+(\.[0-9]+)?$"),
        Expected("the printed number in quotes, such as \"87.2\" (leave a '-' out)"),
    ],
]


@dataclass(frozen=True)
class Column(Entry):
    """One metric of a table."""

    header: Text
    """Header as the thesis prints it, or what an added column holds."""
    unit: Annotated[Text, Expected('the unit the records give, such as "%" ("1" for a plain number)')]
    """Unit of the records' values; another unit in a record is refused."""
    printed: Flag
    """Whether the thesis prints this column."""
    digits: Annotated[int, Field(strict=True, ge=0, le=6), Expected("decimals, a whole number from 0 to 6")]
    """Decimals of the measured values in the CSV; printed values keep the thesis's own."""
    higher_is_better: Flag
    """Whether a higher value is the better one."""


ThesisData = Annotated[
    Mapping[Annotated[str, Expected("the folder of a data set, or its beginning, such as cifar10")], Text],
    Expected("FOLDER OF A DATA SET: its name in the thesis"),
]
Columns = Annotated[Mapping[Name, Column], Field(min_length=1), Expected("at least one metric column")]


@dataclass(frozen=True, kw_only=True)
class RunChoice(Entry):
    """The runs that a row, a point or a panel asks for, one per seed."""

    experiment: Annotated[str, Expected("the name of an experiment")]
    """Name of the experiment."""
    settings: Settings = field(default_factory=dict)
    """Settings of the runs, over those of the preset."""
    data: DataChoice = field(default_factory=dict)
    """Data set the experiment reads -> the one to read in its place; others are read as they are."""


@dataclass(frozen=True, kw_only=True)
class Measure(RunChoice):
    """An experiment that measures a part of a row."""

    metrics: Annotated[
        Mapping[str, Annotated[str, Expected("the name of the record's metric")]],
        Field(min_length=1),
        Expected("at least one METRIC OF THE TABLE: METRIC OF THE RECORD"),
    ]
    """The table's metric -> the record's metric."""


@dataclass(frozen=True, kw_only=True)
class Measured(Entry):
    """What the thesis prints for a row of a table or a point of a curve, and what measures it or is missing for that."""

    reported: PrintedNumbers = field(default_factory=dict)
    """Metric -> the printed digits as text; a printed "-" is left out."""
    reported_std: PrintedNumbers = field(default_factory=dict)
    """Metric -> the printed spread as text."""
    measures: Annotated[
        tuple[Measure, ...], Field(alias="measure", min_length=1), Expected("a list of at least one experiment")
    ] = ()
    """Experiments that measure it; none where `missing` says what is needed."""
    missing: Text = ""
    """What is needed to measure it; empty where `measure` does."""
    note: Text = ""
    """Remark for the reader of the CSV."""


@dataclass(frozen=True, kw_only=True)
class Row(Measured):
    """One row of a table."""

    id: Name
    """Name of the row in messages, unique in its table."""
    keys: Cells
    """Identifying cells as the thesis prints them; a key left out is a blank cell."""


@dataclass(frozen=True, kw_only=True)
class Table(Entry):
    """A file of `workflows/tables`: what a table of the thesis, or the text of a section, prints and what measures it. The points
    of a figure are such a table, too."""

    table: Annotated[Number | None, Expected('the table\'s number in quotes, such as "2.4"')] = None
    """Number of the table; or else `text` is given."""
    text: Annotated[Number | None, Expected('the section\'s number in quotes, such as "5.4"')] = None
    """Number of the section whose text prints the numbers."""
    figure: Annotated[str, Added] = ""
    """Number of the figure whose points these are."""
    caption: Text
    """Caption as the thesis prints it."""
    source: Text
    """Where the table is printed."""
    thesis_data: ThesisData = field(default_factory=dict)
    """Data sets that the printed numbers were measured on. Every other one that runs read is marked as a stand-in; the folder of
    a data set is its own where it begins with the name given here ("cifar10": also "cifar10-jpeg")."""
    keys: Annotated[Mapping[Name, Text], Field(min_length=1), Expected("at least one identifying column, NAME: HEADER")]
    """Identifying column -> printed header."""
    metrics: Columns
    """Metric columns, in the order of the CSV."""
    rows: Annotated[tuple[Row, ...], Field(min_length=1), Expected("a list of at least one row")]
    """Rows in the order of the thesis, added ones last."""
    path: Annotated[Path, Added] = Path()
    """File it was read from, for messages."""

    @property
    def kind(self) -> Literal["table", "text", "figure"]:
        return "table" if self.table else "text" if self.text else "figure"

    @property
    def number(self) -> str:
        """Number in the thesis, "2.4"; of a text the section's."""
        return self.table or self.text or self.figure

    @property
    def name(self) -> str:
        """Name of its files: "table2_4", "text5_4", "fig2_5"."""
        return file_name(self.kind, self.number)


def file_name(kind: Literal["table", "text", "figure"], number: str) -> str:
    """Name of the files of a table, text or figure without their suffix: "table2_4", "text5_4", "fig2_5"."""
    return f"{'fig' if kind == 'figure' else kind}{number.replace('.', '_')}"


def load_table(path: Path) -> Table:
    """Read and check one table file.

    Raises:
        UsageError: file, line and row, what was expected and what came.
    """
    table, source = load_document(path, Table)
    if (table.table is None) == (table.text is None):
        raise source.error((), "expected either 'table' (its number) or 'text' (the number of the section)")
    if path.stem != table.name:
        raise source.error((table.kind,), f"{table.kind} {table.number} belongs in a file named {table.name}.yaml")
    if twice := table.keys.keys() & table.metrics.keys():
        raise source.error(("metrics",), f"{min(twice)!r} is both a key and a metric; give each column its own name")
    for number, row in enumerate(table.rows):
        steps = ("rows", number)
        if row.id in {other.id for other in table.rows[:number]}:
            raise source.error(steps, "an earlier row has the same id; give each row its own")
        check_names(row.keys, table.keys, source, (*steps, "keys"))
        check_measured(row, table.metrics, source, steps)
    return replace(table, path=path)


def find_tables(folder: Path) -> dict[str, Table]:
    """Every table and text of `folder` by its name ("table2_4"), in the order of the thesis."""
    tables = [load_table(path) for path in folder.glob("*.yaml")]
    tables.sort(key=lambda table: (*(int(part) for part in table.number.split(".")), table.kind))
    return {table.name: table for table in tables}


def check_measured(found: Measured, columns: Mapping[str, Column], source: Source, steps: Sequence[Step]) -> None:
    """A `UsageError` unless the row or point at `steps` names columns there are, and experiments as they are."""
    check_names(found.reported, columns, source, (*steps, "reported"))
    check_names(found.reported_std, columns, source, (*steps, "reported_std"))
    if alone := found.reported_std.keys() - found.reported.keys():
        raise source.error((*steps, "reported_std"), f"{min(alone)!r} has a spread, but no value under 'reported'")
    for name in found.reported:
        if not columns[name].printed:
            raise source.error((*steps, "reported", name), f"expected no value of {name!r}, which has printed: false")
    if bool(found.measures) == bool(found.missing):
        raise source.error(steps, "expected either 'measure' or 'missing' (what measuring it needs)")
    measured_by: dict[str, str] = {}
    for number, measure in enumerate(found.measures):
        place = (*steps, "measure", number)
        check_run(measure, source, place)
        check_names(measure.metrics, columns, source, (*place, "metrics"))
        for name in measure.metrics:
            if name in measured_by:
                both = f"{measured_by[name]} and by {measure.experiment}"
                raise source.error((*place, "metrics"), f"{name!r} is measured by {both}; keep one of them", name)
            measured_by[name] = measure.experiment


def check_run(run: RunChoice, source: Source, steps: Sequence[Step]) -> None:
    """A `UsageError` unless there is such an experiment with such settings and data, as the entry at `steps` says."""
    found = find_experiment(run.experiment, source, (*steps, "experiment"))
    convert(found.settings_type, run.settings, source.settings(*steps, "settings"))
    for name in run.data:
        if name not in found.data:
            reads = ", ".join(found.data) or "none"
            raise source.error((*steps, "data"), f"{run.experiment} does not read {name!r}; it reads {reads}", name)


def find_experiment(name: str, source: Source, steps: Sequence[Step]) -> experiments.Experiment:
    """The experiment that the file names at `steps`; a `UsageError` lists those there are."""
    if name not in experiments.names():
        raise source.error(steps, f"unknown experiment {name!r}; there are {', '.join(experiments.names())}")
    return experiments.get(name)


def check_names(names: Mapping[str, Any], declared: Mapping[str, Any], source: Source, steps: Sequence[Step]) -> None:
    """A `UsageError` unless all `names`, which stand at `steps`, are among the `declared` columns."""
    for name in names:
        if name not in declared:
            raise source.error(steps, f"{name!r} is not declared; expected one of {', '.join(declared)}", name)
