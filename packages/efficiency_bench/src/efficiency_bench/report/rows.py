"""A table of the thesis as a page shows it: every row with its status, its cells and the runs behind them."""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from efficiency_bench.claims.ledger import Verdict
from efficiency_bench.records.run_record import RunRecord
from efficiency_bench.report.builds import THIS_BUILD, Build, Cells
from efficiency_bench.report.matching import Choices
from efficiency_bench.workflow.tables import Column, Row, Table
from efficiency_core.errors import UsageError

STATUSES = {
    "measured": "every value that this project measures was measured",
    "partly measured": "some values were measured, some are missing",
    "not run": "the runs of this row were not made",
    "not built": "this table was not built here",
    "thesis only": "this project does not measure this row; its note says what is missing",
}
"""Status of a row -> what it means."""

FACTS = ("seeds", "dataset", "preset", "device", "scale", "note")
"""Columns of the CSV about the origin of a row that a page shows."""
SPREADS = {"low": ("high", "95 % interval {} to {}"), "p10": ("p90", "p10 {}, p90 {}")}
"""Lower end of the spread of a timing -> upper end, and how both are written."""

Runs = tuple[tuple[str, str], ...]
"""Runs by build and run id."""


@dataclass(frozen=True)
class CellView:
    """One metric of a row."""

    metric: str
    thesis: str
    """Printed value with its printed spread; empty where the thesis has none."""
    measured: str
    """Mean over the runs, as in the CSV; empty where there is none."""
    spread: str
    """Standard deviation over the runs ("± 0.9"), or the interval or percentiles of a timing; empty where there is none."""
    difference: str
    """Measured minus printed value with its sign; empty where one of them is missing."""
    ends: tuple[float, float] | None = None
    """Lower and upper end of the spread."""
    recorded: str = ""
    """Name of the metric in the run records."""
    runs: Runs = ()
    """The runs behind the measured value."""
    doubt: str = ""
    """Why the runs may not be those of the measured value; empty where they give it."""


@dataclass(frozen=True)
class RowView:
    """One row of a table in one build."""

    id: str
    """Name of the row in the table's YAML file."""
    keys: tuple[str, ...]
    cells: tuple[CellView, ...]
    status: str
    """One of `STATUSES`."""
    source: str
    """The build; empty for a row that no build measured."""
    facts: Mapping[str, str]
    """What `FACTS` names, as in the CSV."""
    claims: tuple[Verdict, ...] = ()
    """Claims that its runs judge."""


@dataclass(frozen=True)
class TableView:
    """A table with the rows of all builds."""

    table: Table
    rows: tuple[RowView, ...]
    claims: tuple[Verdict, ...]
    """Claims that rest on the table."""
    built: bool
    """Whether this build has made it."""
    here: Mapping[str, int]
    """Status -> how many of its rows have it in this build."""
    files: Mapping[str, Path]
    """Build -> its CSV file."""

    @property
    def title(self) -> str:
        kinds = {"table": "Table", "text": "Text of section", "figure": "Figure"}
        return f"{kinds[self.table.kind]} {self.table.number}"

    @property
    def columns(self) -> list[tuple[int, Column, dict[str, bool]]]:
        """Position, column and the kinds of numbers that it has, of the metrics with any number."""
        found = []
        for at, column in enumerate(self.table.metrics.values()):
            cells = [row.cells[at] for row in self.rows]
            kinds = {kind: any(getattr(cell, kind) for cell in cells) for kind in ("thesis", "measured", "difference")}
            if any(kinds.values()):
                found.append((at, column, kinds))
        return found


def view_table(table: Table, builds: Sequence[Build], choices: Choices, claims: Sequence[Verdict]) -> TableView:
    """The table with the rows of this build and the measured rows of kept builds.

    Raises:
        UsageError: a CSV file has other rows than the table's YAML file.
    """
    concerned = tuple(claim for claim in claims if table.name in claim.targets)
    found = {build.name: _build_rows(table, build, choices) for build in builds}
    unbuilt = [_unbuilt(table, row) for row in table.rows]
    rows = []
    for at in range(len(table.rows)):
        versions = [found[build.name][at] for build in builds if found[build.name]]
        shown = [view for view in versions if view.source] or versions[:1] or [unbuilt[at]]
        runs = {run for view in shown for cell in view.cells for _, run in cell.runs}
        of_row = tuple(claim for claim in concerned if runs.intersection(run for _, run in claim.runs))
        rows += [RowView(**{**vars(view), "claims": of_row}) for view in shown]
    here = found[THIS_BUILD]
    files = {build.name: build.folder / f"{table.name}.csv" for build in builds if found[build.name]}
    return TableView(table, tuple(rows), concerned, bool(here), Counter(row.status for row in here or unbuilt), files)


def _build_rows(table: Table, build: Build, choices: Choices) -> list[RowView]:
    """The rows of the table in one build, in order; none where it has not made the table."""
    lines = build.table(table.name)
    if lines is None:
        return []
    path = build.folder / f"{table.name}.csv"
    keys = [tuple(row.keys.get(name, "") for name in table.keys) for row in table.rows]
    if [tuple(line.get(name) for name in table.keys) for line in lines] != keys:
        raise UsageError(f"{path}: its rows are not those of {table.path}; delete the file and build it again")
    return [_view(table, row, line, build, choices) for row, line in zip(table.rows, lines, strict=True)]


def _view(table: Table, row: Row, line: Cells, build: Build, choices: Choices) -> RowView:
    runs = {
        name: (choices.runs(build, measure, table, line, row.id), metric)
        for measure in row.measures
        for name, metric in measure.metrics.items()
    }
    cells = tuple(
        _cell(name, column, line, build.name, *runs.get(name, ([], ""))) for name, column in table.metrics.items()
    )
    wanted = [cell for cell in cells if cell.metric in runs]
    if line["status"] != "measured":
        status = "not run" if row.measures else "thesis only"
    else:
        status = "measured" if all(cell.measured for cell in wanted) else "partly measured"
    facts = {name: line.get(name, "") for name in FACTS}
    return RowView(row.id, tuple(line[name] for name in table.keys), cells, status, _source(build, status), facts)


def _source(build: Build, status: str) -> str:
    return build.name if status in ("measured", "partly measured") else ""


def _unbuilt(table: Table, row: Row) -> RowView:
    """A row of a table that no build has made."""
    cells = tuple(
        CellView(name, _plus_minus(row.reported.get(name, ""), row.reported_std.get(name, "")), "", "", "")
        for name in table.metrics
    )
    facts = dict.fromkeys(FACTS, "")
    facts["note"] = "; ".join(text for text in (row.missing, row.note) if text)
    keys = tuple(row.keys.get(name, "") for name in table.keys)
    return RowView(row.id, keys, cells, "not built" if row.measures else "thesis only", "", facts)


def _cell(name: str, column: Column, line: Cells, build: str, records: Sequence[RunRecord], metric: str) -> CellView:
    """`metric` is the column's name in the records."""
    thesis, measured = line[f"{name}_reported"], line[name]
    doubt = ""
    if measured:
        values = [record.metrics[metric].value for record in records if metric in record.metrics]
        again = f"{statistics.fmean(values):.{column.digits}f}" if values else ""
        if not again:
            doubt = "the run records behind this value are not there any more"
        elif again != measured:
            doubt = f"the run records give {again} now: build the table again"
    spread, ends = _spread(name, line)
    return CellView(
        metric=name,
        thesis=_plus_minus(thesis, line.get(f"{name}_reported_std", "")),
        measured=measured,
        spread=spread,
        difference=_difference(measured, thesis),
        ends=ends,
        recorded=metric,
        runs=tuple((build, record.run_id) for record in records),
        doubt=doubt,
    )


def _spread(name: str, line: Cells) -> tuple[str, tuple[float, float] | None]:
    """The spread of a measured value in words, and its ends."""
    if std := line[f"{name}_std"]:
        value = float(line[name])
        return f"± {std}", (value - float(std), value + float(std))
    for low, (high, text) in SPREADS.items():
        ends = line.get(f"{name}_{low}"), line.get(f"{name}_{high}")
        if ends[0] and ends[1]:
            return text.format(*ends), (float(ends[0]), float(ends[1]))
    return "", None


def _plus_minus(value: str, spread: str) -> str:
    return f"{value} ± {spread}" if spread else value


def _difference(measured: str, thesis: str) -> str:
    """`measured - thesis` with a sign, with the decimals of the one that has fewer."""
    if not (measured and thesis):
        return ""
    digits = min(len(text.partition(".")[2]) for text in (measured, thesis))
    return f"{float(measured) - float(thesis):+.{digits}f}".replace("-", "−")
