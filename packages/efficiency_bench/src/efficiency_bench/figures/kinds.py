"""The kinds of figures: what a file of `workflows/figures` holds for each.

A `curve` draws series of points that are measured like rows of a table. The other kinds draw panels, each from the arrays of
one run: `frames` of a video with true and found boxes, `series` of points, `clusters` of frames, `images`, or
`distributions` of numbers. A panel of `series` may also show one series from each of several runs.
"""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from efficiency_bench.documents import Added, Entry, Expected, Flag, Name, Number, Settings, Text
from efficiency_bench.workflow.tables import Columns, Measured, Row, RunChoice, Table, ThesisData, file_name

Axis = Annotated[str, Expected("the name of a metric of this figure")]
Positions = Annotated[
    tuple[Annotated[int, Field(strict=True, ge=0), Expected("a whole number, 0 or more")], ...],
    Field(min_length=1),
    Expected("a list of positions in the example, from 0, such as [0, 1, 2]"),
]
A_PANEL = Expected("a list of at least one panel")


@dataclass(frozen=True, kw_only=True)
class Point(Measured):
    """One point of a curve."""

    id: Name
    """Name of the point in messages, unique in its series."""
    label: Text
    """Text at the point."""


@dataclass(frozen=True)
class PointSeries(Entry):
    """Points of a curve that a line joins."""

    id: Name
    """Name of the series in messages."""
    label: Text
    """Text in the legend."""
    points: Annotated[tuple[Point, ...], Field(min_length=1), Expected("a list of at least one point")]
    """Points in the order of the line."""


@dataclass(frozen=True)
class Part(Entry):
    """One of several runs of which a panel shows a series each."""

    label: Text
    """Name of its series in the panel."""
    settings: Settings = field(default_factory=dict)
    """Settings of its run, over those of the panel."""


@dataclass(frozen=True, kw_only=True)
class Panel(RunChoice):
    """One part of a figure: arrays that one run hands over, and how they are drawn."""

    id: Name
    """Name of the panel in messages."""
    label: Text
    """Text above the panel."""
    example: Text
    """Name of the example, series, grouping or images among the run's artifacts."""
    note: Text = ""
    """Remark for the reader of the CSV."""


@dataclass(frozen=True, kw_only=True)
class FramesPanel(Panel):
    """Frames of one video with true and found boxes."""

    frames: Positions = ()
    """Positions of the frames that are shown; none: all."""
    together: Flag = False
    """Draw the boxes of all frames into the first frame's picture, rather than a picture for each frame."""
    path: Flag = False
    """Join the centres of each object's boxes by lines."""


@dataclass(frozen=True, kw_only=True)
class AxesPanel(Panel):
    """A panel with two axes."""

    x_label: Text
    """Label of the horizontal axis."""
    y_label: Text
    """Label of the vertical axis."""


@dataclass(frozen=True, kw_only=True)
class SeriesPanel(AxesPanel):
    """Series of points."""

    joined: Flag = False
    """Join the points of each series by a line."""
    parts: Annotated[tuple[Part, ...], Field(min_length=1), Expected("a list of runs that give one series each")] = ()
    """Runs that give the panel one series each; none: it shows all series of the one run."""


@dataclass(frozen=True, kw_only=True)
class DistributionsPanel(AxesPanel):
    """Densities, or numbers by layer."""

    style: Annotated[Literal["overlaid", "stacked", "lines"], Expected("overlaid, stacked or lines")] = "overlaid"
    """Draw the densities over each other (`overlaid`) or each below the one before (`stacked`); `lines`: the series are not
    densities but values by layer, joined by lines."""


@dataclass(frozen=True)
class Legend(Entry):
    """Names of the two kinds of boxes in the legend of a figure of frames."""

    true: Text
    """Name of the true boxes."""
    found: Text
    """Name of the found boxes."""


@dataclass(frozen=True, kw_only=True)
class FigureHead(Entry):
    """Keys of a figure of any kind."""

    figure: Number
    """Number of the figure."""
    caption: Text
    """Caption as the thesis prints it."""
    source: Text
    """Where the figure is printed."""
    thesis_data: ThesisData = field(default_factory=dict)
    """Data sets that the thesis's figure shows, as of a table (`Table.thesis_data`)."""
    path: Annotated[Path, Added] = Path()
    """File it was read from, for messages."""

    @property
    def name(self) -> str:
        """Name of its files: "fig2_5"."""
        return file_name("figure", self.figure)


@dataclass(frozen=True, kw_only=True)
class CurveFigure(FigureHead):
    """Points with two measured coordinates, in series."""

    kind: Literal["curve"]
    metrics: Columns
    """Metrics of the points, in the order of the CSV."""
    x: Axis
    """Metric of the horizontal axis."""
    y: Axis
    """Metric of the vertical axis."""
    log_x: Flag = False
    """Draw the horizontal axis logarithmically."""
    costs: Annotated[tuple[Axis, ...], Expected("a list of metrics written at every point")] = ()
    """Metrics written at every point."""
    series: Annotated[tuple[PointSeries, ...], Field(min_length=1), Expected("a list of at least one series")]
    """Series of points."""

    @property
    def points(self) -> Table:
        """The points as a table with the keys `series` and `point`."""
        rows = tuple(
            Row(
                id=f"{series.id}_{point.id}",
                keys={"series": series.label, "point": point.label},
                **{field.name: getattr(point, field.name) for field in fields(Measured)},
            )
            for series in self.series
            for point in series.points
        )
        head: dict[str, Any] = {
            "figure": self.figure,
            "caption": self.caption,
            "source": self.source,
            "thesis_data": self.thesis_data,
            "path": self.path,
        }
        return Table(**head, keys={"series": "series", "point": "point"}, metrics=self.metrics, rows=rows)


@dataclass(frozen=True, kw_only=True)
class FramesFigure(FigureHead):
    """Frames of videos with true and found boxes."""

    kind: Literal["frames"]
    panels: Annotated[tuple[FramesPanel, ...], Field(min_length=1), A_PANEL]
    """Panels from top to bottom."""
    legend: Legend = Legend("ground truth", "found")
    """Names of true and found boxes."""


@dataclass(frozen=True, kw_only=True)
class GridFigure(FigureHead):
    """Keys of a figure whose panels are in rows and columns."""

    columns: Annotated[int, Field(strict=True, ge=1), Expected("the number of panels in a row, at least 1")] | None = (
        None
    )
    """Panels in a row; not given: all of them."""


@dataclass(frozen=True, kw_only=True)
class SeriesFigure(GridFigure):
    """Series of points."""

    kind: Literal["series"]
    panels: Annotated[tuple[SeriesPanel, ...], Field(min_length=1), A_PANEL]
    """Panels from left to right."""


@dataclass(frozen=True, kw_only=True)
class DistributionsFigure(GridFigure):
    """Densities of numbers, or numbers by layer."""

    kind: Literal["distributions"]
    panels: Annotated[tuple[DistributionsPanel, ...], Field(min_length=1), A_PANEL]
    """Panels from left to right."""


@dataclass(frozen=True, kw_only=True)
class PicturesFigure(FigureHead):
    """Frames of videos with their clusters, or rows of images."""

    kind: Literal["clusters", "images"]
    panels: Annotated[tuple[Panel, ...], Field(min_length=1), A_PANEL]
    """Panels from top to bottom."""


PanelsFigure = FramesFigure | SeriesFigure | DistributionsFigure | PicturesFigure
Figure = CurveFigure | PanelsFigure
"""A file of `workflows/figures`."""
KINDS: dict[str, type[Figure]] = {
    "curve": CurveFigure,
    "frames": FramesFigure,
    "series": SeriesFigure,
    "clusters": PicturesFigure,
    "images": PicturesFigure,
    "distributions": DistributionsFigure,
}
"""Kind of figure -> content of its file."""
