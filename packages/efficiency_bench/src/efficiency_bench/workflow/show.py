"""A table's CSV for a terminal: the thesis's numbers and the measured ones side by side, and first of all what was measured."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from efficiency_bench.documents import load_document
from efficiency_bench.workflow.origin import WARNINGS
from efficiency_bench.workflow.tables import Table
from efficiency_core.errors import UsageError

Cells = Mapping[str, str]
_HEADER = 17
"""Letters of a metric's header before it continues on the next line."""
_KEY = 30
"""Letters of an identifying column before its cells continue on the next line."""
_ORIGINS = {"dataset": "data", "scale": "scale", "preset": "preset", "seeds": "seeds", "device": "device"}
"""Column about the origin of the numbers -> its name above the table."""
_FIXED = (*_ORIGINS, "status", "note")
_MOST = 3
"""Most different values of such a column that are all listed for a metric."""


@dataclass(frozen=True)
class _Metric:
    """The two columns of one metric."""

    header: str
    thesis: list[str]
    """What the thesis prints, in every row."""
    measured: list[str]
    """What was measured, in every row."""

    def lines(self) -> list[Text]:
        """The header, and a line for every row: both numbers under their names."""
        wide = max(len("thesis"), *map(len, self.thesis)) if any(self.thesis) else 0
        rows = [Text.assemble((left.ljust(wide), ""), "  " if wide else "", (right, "bold"))
                for left, right in zip(self.thesis, self.measured, strict=True)]  # fmt: skip
        names = Text("thesis".ljust(wide) + "  measured" if wide else "measured")
        length = max(_HEADER, len(names), *map(len, rows))
        return [Text(fill(self.header, length)).append("\n").append(names), *rows]


def show_table(path: Path, tables: Path, console: Console) -> None:
    """Print the table in the CSV file `path`, which `effbench tabulate` wrote.

    The folder `tables` has the table's YAML file with its caption and headers, else the names of the columns are printed.

    Raises:
        UsageError: the file cannot be read, is no such table, or lacks columns of its YAML file.
    """
    try:
        rows: list[Cells] = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from error
    names = list(rows[0]) if rows else []
    metrics = [name.removesuffix("_reported") for name in names if name.endswith("_reported")]
    if not metrics or "status" not in names:
        raise UsageError(f"{path}: expected a table that `effbench tabulate` wrote")
    definition = tables / f"{path.stem}.yaml"
    table = load_document(definition, Table)[0] if definition.is_file() else None
    if table and (lacking := [name for name in [*table.keys, *table.metrics, *_FIXED] if name not in names]):
        raise UsageError(f"{path}: lacks the column {lacking[0]!r} of {definition}; remove it and build it again")
    console.print(Text(f"{table.kind.capitalize()} {table.number}" if table else path.stem, "bold"))
    if table:
        console.print(Text(table.caption))
    console.print(_origins(rows, metrics))
    notes = list(dict.fromkeys(row["note"] for row in rows if row["note"]))
    keys = _keys(rows, names[: names.index(f"{metrics[0]}_reported")], table)
    found = [metric for name in metrics if (metric := _metric(rows, name, table))]
    for group in _fitting(rows, keys, found, notes, console):
        console.print(group)
    for number, note in enumerate(notes, 1):
        mark = f"[{number}] "
        grid = Grid.grid()
        grid.add_row(Text(mark), Text(note))
        console.print(grid)
    if any(metric.measured != [cell.partition(" (")[0] for cell in metric.measured] for metric in found):
        console.print(
            Text("(a to b): 95 % interval of a ratio; of other times the middle four fifths of the rounds", "dim")
        )


def _origins(rows: Sequence[Cells], metrics: Sequence[str]) -> Padding:
    """What a reader must know before the numbers: data, scale, preset, seeds and device."""
    grid = Grid.grid(padding=(0, 2))
    for warning in dict.fromkeys(WARNINGS[row["preset"]] for row in rows if row["preset"] in WARNINGS):
        grid.add_row("", Text(warning, "bold red"))
    for column, name in _ORIGINS.items():
        for text in _values(rows, column, metrics):
            grid.add_row(Text(name), Text(text, "yellow" if "stand-in" in text else ""))
            name = ""
    if not any(row["status"] == "measured" for row in rows):
        grid.add_row("", Text("nothing of it was measured", "bold red"))
    return Padding(grid, (1, 0, 0, 0))


def _values(rows: Iterable[Cells], column: str, metrics: Sequence[str]) -> list[str]:
    """The different values of a column; one that is not that of all metrics has the names of its own in brackets."""
    found: dict[str, dict[str, None]] = {}  # metric -> its values
    for row in rows:
        filled = [name for name in metrics if row[name]]
        for part in filter(None, (row.get(f"{column}_by_cell") or row.get(column) or "").split("; ")):
            names, separator, text = part.rpartition(": ")
            for name in names.split(", ") if separator else filled:
                found.setdefault(name, {})[text] = None
    shown: dict[str, list[str]] = {}  # value -> metrics
    for name, texts in found.items():
        for text in _few(list(texts)):
            shown.setdefault(text, []).append(name)
    return [text if len(names) == len(found) else f"{text} ({', '.join(names)})" for text, names in shown.items()]


def _few(texts: list[str]) -> list[str]:
    """The texts, or what many of them share."""
    if len(texts) <= _MOST:
        return texts
    shared = [word for word in texts[0].split(", ") if all(word in text.split(", ") for text in texts)]
    return [", ".join([*shared, "more differs by row"])]


def _keys(rows: Sequence[Cells], names: Sequence[str], table: Table | None) -> dict[str, list[str]]:
    """Header -> cells of the identifying columns; a reference follows the name in one column."""
    columns = {name: [row[name] for row in rows] for name in names}
    if "reference" in columns and (first := names[names.index("reference") - 1]) in columns:
        pairs = zip(columns[first], columns.pop("reference"), strict=True)
        columns[first] = [f"{name} {reference}".strip() for name, reference in pairs]
    return {table.keys.get(name, name) if table else name: cells for name, cells in columns.items() if any(cells)}


def _metric(rows: Sequence[Cells], name: str, table: Table | None) -> _Metric | None:
    """The thesis's and the measured numbers of one metric; None where there are neither."""
    thesis = [_spread(row, f"{name}_reported", ("reported_std",), name) for row in rows]
    measured = [_spread(row, name, ("std", "low", "p10"), name) for row in rows]
    header = name
    if table and name in table.metrics:
        column = table.metrics[name]
        named = column.unit in column.header or column.unit in ("1", "x")
        header = column.header if named else f"{column.header}, {column.unit}"
    return _Metric(header, thesis, measured) if any(thesis) or any(measured) else None


def _spread(row: Cells, column: str, endings: Iterable[str], name: str) -> str:
    """A number with the first of its spreads that the row has: `62.0 ± 2.0`, `3.95 (3.81 to 4.03)`."""
    other = {"low": "high", "p10": "p90"}
    for ending in endings:
        if spread := row.get(f"{name}_{ending}"):
            if ending in other:
                return f"{row[column]} ({spread} to {row[f'{name}_{other[ending]}']})"
            return f"{row[column]} ± {spread}"
    return row[column]


def _fitting(
    rows: Sequence[Cells], keys: Mapping[str, list[str]], found: Sequence[_Metric], notes: list[str], console: Console
) -> list[Grid]:
    """The table in parts that fit into the width: the first with all rows, the others with the rows that have numbers there."""
    groups: list[list[_Metric]] = [[]]
    for metric in found:
        whole = _grid(rows, keys if len(groups) == 1 else _enough(keys), [*groups[-1], metric], notes)
        if groups[-1] and console.measure(whole, options=console.options.update(width=1000)).maximum > console.width:
            groups.append([])
        groups[-1].append(metric)
    parts = []
    for number, group in enumerate(groups):
        wanted = [
            at for at in range(len(rows)) if not number or any(one.thesis[at] or one.measured[at] for one in group)
        ]
        columns = keys if not number else _enough(keys)
        some = {name: [cells[at] for at in wanted] for name, cells in columns.items()}
        metrics = [
            _Metric(one.header, [one.thesis[at] for at in wanted], [one.measured[at] for at in wanted]) for one in group
        ]
        parts.append(_grid([rows[at] for at in wanted], some, metrics, notes))
    return parts


def _enough(keys: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """The first of the identifying columns, as many as tell the rows apart as well as all of them do."""
    names, different = list(keys), len(set(zip(*keys.values(), strict=True)))
    for count in range(1, len(names)):
        if len(set(zip(*(keys[name] for name in names[:count]), strict=True))) == different:
            return {name: keys[name] for name in names[:count]}
    return dict(keys)


def _grid(rows: Sequence[Cells], keys: Mapping[str, list[str]], group: Sequence[_Metric], notes: list[str]) -> Grid:
    grid = Grid(box=SIMPLE_HEAD, pad_edge=False, header_style="")
    for name in keys:
        grid.add_column(Text(name), max_width=_KEY)
    lines = [metric.lines() for metric in group]
    for header, *_ in lines:
        grid.add_column(header, no_wrap=True)
    grid.add_column(Text("status"), no_wrap=True)
    for at, row in enumerate(rows):
        status = "measured" if row["status"] == "measured" else "thesis only"
        mark = f" [{notes.index(row['note']) + 1}]" if row["note"] else ""
        cells = [Text(column[at]) for column in keys.values()]
        dim = "" if row["status"] == "measured" else "dim"
        grid.add_row(*cells, *(column[at + 1] for column in lines), Text(status + mark), style=dim)
    return grid
