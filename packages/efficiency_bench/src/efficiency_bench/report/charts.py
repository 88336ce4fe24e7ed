"""Charts of accuracy against cost, from `workflows/report.yaml`: places on a canvas that the page draws as SVG.

The page draws them itself, because its reader opens a point with the keyboard, a screen reader names it, colours follow the
page's light or dark mode, and a method keeps its colour when others are hidden. Vega (altair) and plotly draw points that no
key reaches; the package's documentation compares them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log10
from pathlib import Path
from typing import Annotated, NamedTuple

from matplotlib.ticker import LogLocator, MaxNLocator
from pydantic import Field

from efficiency_bench.documents import Entry, Expected, Flag, Name, Text, load_document
from efficiency_bench.report.rows import CellView, RowView, TableView


class Canvas(NamedTuple):
    """Where a chart is drawn, in units of its SVG."""

    width: int = 720
    height: int = 420
    left: int = 64
    right: int = 700
    top: int = 16
    bottom: int = 364
    """Ends of the axes."""
    turn: int = 540
    """Labels of points further to the right stand to the left of them."""
    letter: float = 6.2
    """Width of a letter of a label."""
    colours: int = 8
    markers: int = 5
    """Colours and markers that the page has; as they share no divisor, 40 methods look different."""


CANVAS = Canvas()
FEWEST_TICKS = 3
"""Fewer powers of ten and their doubles do not make an axis readable; round numbers then do."""


@dataclass(frozen=True)
class Coordinate(Entry):
    """A metric of a table."""

    table: Name
    """Table, or figure of kind `curve`."""
    metric: Name
    """One of its metrics."""


@dataclass(frozen=True, kw_only=True)
class ChartChoice(Entry):
    """Two metrics that are drawn against each other, a point for each row that has both."""

    chapter: Text
    """Chapter of the thesis under which it stands, in quotes."""
    title: Text
    """What it shows."""
    x: Coordinate
    """Cost: the horizontal axis."""
    y: Coordinate
    """Accuracy: the vertical axis. Its table names the rows; a row of another table is that with the same id."""
    method: Name
    """Identifying column that gives a point its colour."""
    label: Annotated[tuple[Name, ...], Expected("a list of identifying columns")] = ()
    """Identifying columns that tell points of one method apart."""
    log_x: Flag = False
    """Whether the horizontal axis is logarithmic."""


@dataclass(frozen=True)
class ReportFile(Entry):
    """The file `workflows/report.yaml`."""

    chapters: Annotated[
        Mapping[str, Text], Field(min_length=1), Expected('CHAPTER: WHAT IT IS ABOUT, such as "2": ...')
    ]
    """Chapter of the thesis -> what it is about."""
    charts: Annotated[tuple[ChartChoice, ...], Field(min_length=1), Expected("a list of at least one chart")]
    """Charts in the order of the page."""


@dataclass(frozen=True)
class Point:
    method: int
    """Position of its method among those of the page."""
    label: str
    x: float
    y: float
    """Place on the canvas."""
    bars: tuple[tuple[float, float, float, float], ...]
    """Lines x1 y1 x2 y2 of its spreads on the canvas."""
    measured: bool
    """Whether it was measured; else the thesis prints it."""
    text: str
    """The point in words."""
    named: bool
    """Whether there is room for its label; else it shows when the point is pointed at or has the focus."""
    row: RowView
    cell: CellView
    """Cell with the accuracy."""


@dataclass(frozen=True)
class ChartView:
    choice: ChartChoice
    accuracy: TableView
    x_label: str
    y_label: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    points: list[Point]
    methods: dict[int, str]
    """The methods that it shows."""


def load_report(path: Path, tables: Mapping[str, TableView]) -> ReportFile:
    """The file `workflows/report.yaml`; a `UsageError` names a table, metric or column of it that is not there."""
    found, source = load_document(path, ReportFile)
    for number, chart in enumerate(found.charts):
        for name, end in (("x", chart.x), ("y", chart.y)):
            steps = ("charts", number, name)
            if end.table not in tables:
                raise source.error((*steps, "table"), f"no table {end.table!r}; there are {', '.join(tables)}")
            metrics = tables[end.table].table.metrics
            if end.metric not in metrics:
                raise source.error(
                    (*steps, "metric"), f"{end.table} has no {end.metric!r}; it has {', '.join(metrics)}"
                )
        keys = tables[chart.y.table].table.keys
        for key in (chart.method, *chart.label):
            if key not in keys:
                raise source.error(
                    ("charts", number), f"{chart.y.table} has no column {key!r}; it has {', '.join(keys)}"
                )
    return found


def view_chart(choice: ChartChoice, tables: Mapping[str, TableView], methods: dict[str, int]) -> ChartView:
    """Place the points of a chart. `methods` numbers the methods of the page; new ones are added."""
    accuracy, cost = tables[choice.y.table], tables[choice.x.table]
    raw = _raw_points(choice, accuracy, cost)
    x_axis = _Axis([point.x for point in raw], (CANVAS.left, CANVAS.right), choice.log_x)
    y_axis = _Axis([point.y for point in raw], (CANVAS.bottom, CANVAS.top), False)
    x_name, y_name = _axis_name(cost, choice.x.metric), _axis_name(accuracy, choice.y.metric)
    points: list[Point] = []
    taken: list[Box] = []
    for point in raw:
        names = dict(zip(accuracy.table.keys, point.row.keys, strict=True))
        method = methods.setdefault(names[choice.method], len(methods))
        label = " ".join(
            filter(None, [names[choice.method], *(_key_text(accuracy, key, names[key]) for key in choice.label)])
        )
        whose = f"measured, {point.row.source}" if point.measured else "thesis"
        text = f"{label} ({whose}): {y_name} {point.y_text}; {x_name} {point.x_text}"
        place = x_axis.place(point.x), y_axis.place(point.y)
        bars = []
        if point.x_ends:
            left, right = map(x_axis.place, point.x_ends)
            bars.append((left, place[1], right, place[1]))
        if point.y_ends:
            low, high = map(y_axis.place, point.y_ends)
            bars.append((place[0], low, place[0], high))
        has_room = point.measured and _has_room(place, label, taken)
        points.append(Point(method, label, *place, tuple(bars), point.measured, text, has_room, point.row, point.cell))
    shown = {point.method for point in points}
    named = {number: name for name, number in methods.items() if number in shown}
    return ChartView(choice, accuracy, x_name, y_name, x_axis.ticks, y_axis.ticks, points, named)


@dataclass(frozen=True)
class _Raw:
    row: RowView
    cell: CellView
    measured: bool
    x_text: str
    y_text: str
    x_ends: tuple[float, float] | None = None
    y_ends: tuple[float, float] | None = None

    @property
    def x(self) -> float:
        return _number(self.x_text)

    @property
    def y(self) -> float:
        return _number(self.y_text)


def _raw_points(choice: ChartChoice, accuracy: TableView, cost: TableView) -> list[_Raw]:
    """The thesis's points, then the measured ones, which are drawn over them."""
    costs = {(row.id, row.source): _cell(row, choice.x.metric) for row in cost.rows}
    printed: dict[str, _Raw] = {}
    measured = []
    for row in accuracy.rows:
        y, x = _cell(row, choice.y.metric), costs.get((row.id, row.source))
        if x and x.thesis and y.thesis:
            printed.setdefault(row.id, _Raw(row, y, False, x.thesis, y.thesis))
        if x and x.measured and y.measured:
            measured.append(_Raw(row, y, True, x.measured, y.measured, x.ends, y.ends))
    return [*printed.values(), *measured]


def _cell(row: RowView, metric: str) -> CellView:
    return next(cell for cell in row.cells if cell.metric == metric)


Box = tuple[float, float, float, float]
"""Left, top, right and bottom of a label on the canvas."""


def _has_room(place: tuple[float, float], label: str, taken: list[Box]) -> bool:
    """Whether a label beside a point covers no other label; if so, its place is taken."""
    x, y = place
    wide = CANVAS.letter * len(label) + 10
    box = (x - wide if x > CANVAS.turn else x, y - 7, x if x > CANVAS.turn else x + wide, y + 7)
    free = all(box[0] > other[2] or box[2] < other[0] or box[1] > other[3] or box[3] < other[1] for other in taken)
    if free:
        taken.append(box)
    return free


def _number(text: str) -> float:
    return float(text.partition(" ")[0])


def _key_text(view: TableView, key: str, value: str) -> str:
    """A key such as `clusters` needs its name beside the value; text speaks for itself."""
    if not value or value == "-":
        return ""
    return f"{view.table.keys[key].strip('#').lower()} {value}" if value.isdigit() or value == "all" else value


def _axis_name(view: TableView, metric: str) -> str:
    column = view.table.metrics[metric]
    return column.header if "(" in column.header or column.unit == "1" else f"{column.header} ({column.unit})"


def _log_ticks(low: float, high: float) -> list[float]:
    decades = log10(high) - log10(low)
    return _inside(LogLocator(subs=(1.0,) if decades > 2 else (1.0, 2.0, 5.0)).tick_values(low, high), low, high)


def _inside(ticks: Iterable[float], low: float, high: float) -> list[float]:
    return [tick for tick in ticks if low <= tick <= high]


class _Axis:
    """From values to places between two ends of the canvas."""

    def __init__(self, values: Sequence[float], ends: tuple[float, float], log: bool) -> None:
        self._log, self._ends = log, ends
        self._floor = min((value for value in values if value > 0), default=1.0) / 2
        scaled = [self._scaled(value) for value in values] or [0.0, 1.0]
        low, high = min(scaled), max(scaled)
        margin = 0.07 * (high - low) or 0.5
        self._low, self._high = low - margin, high + margin
        bounds = (10**self._low, 10**self._high) if log else (self._low, self._high)
        found = _log_ticks(*bounds) if log else []
        if len(found) < FEWEST_TICKS:
            found = _inside(MaxNLocator(6).tick_values(*bounds), *bounds)
        self.ticks = [(self.place(tick), f"{tick:g}") for tick in found]

    def place(self, value: float) -> float:
        share = (self._scaled(value) - self._low) / (self._high - self._low)
        return round(self._ends[0] + min(max(share, 0.0), 1.0) * (self._ends[1] - self._ends[0]), 1)

    def _scaled(self, value: float) -> float:
        return log10(max(value, self._floor)) if self._log else value
