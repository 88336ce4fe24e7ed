"""Draws a figure of kind `curve`: series of measured points, and the printed ones where the thesis has numbers."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray

from efficiency_bench.figures.canvas import COLOURS, make_panels
from efficiency_bench.figures.kinds import CurveFigure
from efficiency_bench.workflow.tables import Column
from efficiency_core.errors import WorkError

TWO_COLUMNS = 40
"""Letters of a name that is too long for two names beside each other."""


def draw_curve(figure: CurveFigure, frame: pd.DataFrame) -> Canvas:
    """Every series as measured, and hollow markers where the thesis prints numbers.

    A point is drawn where `frame`, which `tabulate` makes of the figure's points, has both its coordinates; its costs are
    written at it. The legend names the data of each series where they differ; else the lines above the axes do.

    Raises:
        WorkError: not a single point has both coordinates.
    """
    canvas, ((axes,),) = make_panels(1, 1, (6.4, 4.4))
    drawn = 0
    ticks: set[float] = set()  # of points that are named by their place
    several = frame.loc[frame["dataset"] != "", "dataset"].nunique() > 1
    for number, (label, part) in enumerate(frame.groupby("series", sort=False)):
        colour = COLOURS[number % len(COLOURS)]
        measured = part[(part[figure.x] != "") & (part[figure.y] != "")]
        printed = part[(part[f"{figure.x}_reported"] != "") & (part[f"{figure.y}_reported"] != "")]
        drawn += len(measured) + len(printed)
        if len(measured):
            sets = ", ".join(text.partition(", stand-in")[0] for text in dict.fromkeys(measured["dataset"]))
            coordinates = (figure.x, figure.y, f"{figure.x}_std", f"{figure.y}_std")
            x, y, x_std, y_std = (_numbers(measured[name]) for name in coordinates)
            named = f"{label!s}: {sets}" if several and sets else str(label)
            axes.errorbar(x, y, xerr=x_std, yerr=y_std, marker="o", color=colour, label=named, capsize=2)
        if len(printed):
            x, y = (_numbers(printed[f"{name}_reported"]) for name in (figure.x, figure.y))
            axes.plot(x, y, "o", color=colour, markerfacecolor="none", markersize=8, label=f"{label}, thesis")
        for rows, suffix in ((measured, ""), (printed, "_reported")):
            for _, point in rows.iterrows():
                place = (float(point[f"{figure.x}{suffix}"]), float(point[f"{figure.y}{suffix}"]))
                costs = [f"{point[name]} {figure.metrics[name].unit}" for name in figure.costs if point[name]]
                text = f"{point['point']} (thesis)" if suffix else "\n".join([point["point"], *costs])
                if text == f"{place[0]:g}":
                    ticks.add(place[0])
                    continue
                below = number % 2  # neighbouring series write on opposite sides of their points
                style = {"textcoords": "offset points", "fontsize": 6.5, "color": colour}
                axes.annotate(text, place, (5, -5 if below else 5), va="top" if below else "bottom", **style)
    if not drawn:
        raise WorkError(f"figure {figure.figure}: no point has both a {figure.x} and a {figure.y}: nothing to draw")
    axes.set_xlabel(_axis_label(figure.metrics[figure.x]))
    axes.set_ylabel(_axis_label(figure.metrics[figure.y]))
    if figure.log_x:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        if ticks:
            axes.set_xticks(sorted(ticks))
            axes.minorticks_off()
    axes.margins(0.15)
    longest = max(map(len, axes.get_legend_handles_labels()[1]))
    canvas.legend(loc="outside lower center", ncols=2 if longest < TWO_COLUMNS else 1, frameon=False, fontsize=8)
    axes.grid(alpha=0.25)
    return canvas


def _numbers(cells: "pd.Series[str]") -> NDArray[np.float64]:
    """Text cells as numbers; a blank, such as the spread of a single seed, is NaN and not drawn."""
    return np.array([float(cell) if cell else np.nan for cell in cells])


def _axis_label(column: Column) -> str:
    named = "(" in column.header or column.unit in ("1", "x")
    return column.header if named else f"{column.header} ({column.unit})"
