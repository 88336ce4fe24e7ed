"""Figures of kinds `series` (points, joined by lines or not) and `distributions` (densities, or numbers by layer)."""

from collections.abc import Mapping
from dataclasses import replace
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from efficiency_bench.figures.canvas import COLOURS, MANY_COLOURS, fill_panels, make_panels
from efficiency_bench.figures.kinds import AxesPanel, DistributionsFigure, DistributionsPanel, SeriesFigure, SeriesPanel
from efficiency_bench.records.pictures import Series
from efficiency_bench.workflow.columns import ColumnFacts

POINT_COLUMNS = {
    "panel": ColumnFacts("panel of the figure"),
    "series": ColumnFacts("name of the series in the panel"),
    "x": ColumnFacts("horizontal coordinate", "see x_label"),
    "y": ColumnFacts("vertical coordinate", "see y_label"),
}
LABEL_COLUMNS = {"x_label": ColumnFacts("what x is"), "y_label": ColumnFacts("what y is")}
MARKERS = ("o", "s", "^", "D", "v", "P")
"""Markers of the series of a panel, in turn."""
WIDTH, HEIGHT = 2.7, 2.2
"""Inches of a panel of distributions with its labels."""
LEFT, RIGHT, BOTTOM, TOP = 0.5, 0.12, 0.42, 0.34
"""Inches for the labels. They are fixed: to compute them takes longer than all the drawing."""
TICKS = 5
"""Most numbered places of an axis of distributions."""
OVERLAP = 1.6
"""Height of the highest density of a stack, in places of the stack."""
TITLE = 40
"""Letters in a line above a panel of distributions."""
LEGEND_COLUMNS, LEGEND_LINE = 3, 0.11
"""Names beside each other, and inches of a line, of the legend of lines."""
MOST_NAMES = 8
"""Most places of a stack that are named, evenly spaced."""


def draw_series(figure: SeriesFigure, found: Mapping[str, Series | None]) -> Canvas:
    """The figure's panels in rows of `figure.columns`, each with its own axes; series of one name share colour, marker and
    legend."""
    rows, columns = _grid(figure)
    canvas, grid = make_panels(rows, columns, (4.4 * columns + (1.0 if columns == 1 else 0), 3.6 * rows))
    fill_panels(grid, figure.panels, found, _draw_series)
    return canvas


def draw_distributions(figure: DistributionsFigure, found: Mapping[str, Series | None]) -> Canvas:
    """The figure's panels in rows of `figure.columns`, each with its own axes: values x (S, P) and their densities y (S, P)."""
    rows, columns = _grid(figure)
    width, height = WIDTH * columns, HEIGHT * rows
    free = (WIDTH - LEFT - RIGHT, HEIGHT - BOTTOM - TOP)
    places = {  # of the axes as parts of the picture; the space between them as parts of an axis
        "left": LEFT / width,
        "right": 1 - RIGHT / width,
        "bottom": BOTTOM / height,
        "top": 1 - TOP / height,
        "wspace": (WIDTH - free[0]) / free[0],
        "hspace": (HEIGHT - free[1]) / free[1],
    }
    canvas, grid = make_panels(rows, columns, (width, height), places, None)
    panels = [replace(panel, label=fill(panel.label, TITLE)) for panel in figure.panels]
    fill_panels(grid, panels, found, _draw_distributions, fontsize=7)
    return canvas


def point_lines(panel: AxesPanel, series: Series) -> list[dict[str, str]]:
    """Lines of the CSV: one per point, with six significant digits."""
    labels = {"x_label": panel.x_label, "y_label": panel.y_label}
    return [
        {"series": name, "x": f"{x:.6g}", "y": f"{y:.6g}", **labels}
        for name, xs, ys in zip(series.names.tolist(), series.x.tolist(), series.y.tolist(), strict=True)
        for x, y in zip(xs, ys, strict=True)
        if np.isfinite(x) and np.isfinite(y)
    ]


def _grid(figure: SeriesFigure | DistributionsFigure) -> tuple[int, int]:
    """Rows and columns of the figure's panels."""
    columns = min(figure.columns or len(figure.panels), len(figure.panels))
    return -(-len(figure.panels) // columns), columns


def _draw_series(axes: Axes, panel: SeriesPanel, series: Series) -> None:
    axes.set_xlabel(panel.x_label)
    axes.set_ylabel(panel.y_label)
    size, alpha, line = (4, 0.9, "-") if panel.joined else (2.5, 0.45, "none")
    styles: dict[str, dict[str, Any]] = {}
    for name, x, y in zip(series.names.tolist(), series.x, series.y, strict=True):
        at = len(styles)
        style = {"marker": MARKERS[at % len(MARKERS)], "color": COLOURS[at % len(COLOURS)], "linestyle": line}
        axes.plot(x, y, linewidth=1, markersize=size, alpha=alpha, markeredgewidth=0, **styles.setdefault(name, style))
    if panel.joined and not (series.x[np.isfinite(series.x)] % 1).any():
        axes.locator_params(axis="x", integer=True)
    handles = [Line2D([], [], markersize=4, label=name, **style) for name, style in styles.items()]
    # Below the axes, since points are everywhere.
    axes.legend(
        handles=handles, frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=len(styles)
    )
    axes.grid(alpha=0.25)


def _draw_distributions(axes: Axes, panel: DistributionsPanel, series: Series) -> None:
    axes.set_xlabel(panel.x_label, fontsize=7)
    axes.set_ylabel(panel.y_label, fontsize=7)
    axes.tick_params(labelsize=6)
    axes.locator_params(nbins=TICKS)
    {"overlaid": _overlaid, "stacked": _stacked, "lines": _lines}[panel.style](axes, series)


def _overlaid(axes: Axes, series: Series) -> None:
    for at, (x, y) in enumerate(zip(series.x, series.y, strict=True)):
        colour = MANY_COLOURS[at % len(MANY_COLOURS)]
        axes.fill_between(x, y, color=colour, alpha=0.2, linewidth=0)
        axes.plot(x, y, color=colour, linewidth=0.8)
    axes.set_ylim(bottom=0)


def _stacked(axes: Axes, series: Series) -> None:
    """The first series on top; each is as high as its own density, the highest of all reaching into the place above."""
    count = len(series.names)
    highest = float(np.nanmax(series.y))
    for at, (x, y) in enumerate(zip(series.x, series.y, strict=True)):
        floor = -float(at)
        height = floor + OVERLAP * y / (highest if highest > 0 else 1.0)
        axes.fill_between(x, floor, height, color=MANY_COLOURS[0], alpha=0.6, linewidth=0, zorder=at)
        axes.plot(x, height, color="white", linewidth=0.6, zorder=at)
    named = np.unique(np.linspace(0, count - 1, min(count, MOST_NAMES)).astype(int))
    axes.set_yticks([-float(at) for at in named], [str(series.names[at]) for at in named])


def _lines(axes: Axes, series: Series) -> None:
    """Values by layer, below a legend."""
    for at, (name, x, y) in enumerate(zip(series.names.tolist(), series.x, series.y, strict=True)):
        axes.plot(x, y, marker="o", markersize=2, linewidth=0.8, color=MANY_COLOURS[at % len(MANY_COLOURS)], label=name)
    axes.xaxis.set_major_locator(MaxNLocator(TICKS, integer=True))
    axes.legend(
        frameon=False, fontsize=5, ncols=LEGEND_COLUMNS, loc="upper center", borderaxespad=0, borderpad=0.2,
        labelspacing=0.2, columnspacing=0.8, handlelength=1.2,
    )  # fmt: skip
    bottom, top = axes.get_ylim()
    legend = LEGEND_LINE * -(-len(series.names) // LEGEND_COLUMNS) / (HEIGHT - BOTTOM - TOP)
    axes.set_ylim(bottom, bottom + (top - bottom) / (1 - legend))
    axes.grid(alpha=0.25)
