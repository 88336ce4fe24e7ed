"""Draws distributions of numbers: densities over each other or one below the other, and numbers by layer beside them."""

from collections.abc import Mapping
from textwrap import fill
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from .drawn import Series
from .figures import Figure
from .plotting import STYLE

COLOURS = tuple(matplotlib.colormaps["tab20"](number) for number in (*range(0, 20, 2), *range(1, 20, 2)))
"""Colours of the series of a panel, in turn."""
PANEL = (2.7, 2.2)
"""Inches of a panel with what is written around it."""
MARGINS = {"left": 0.5, "right": 0.12, "bottom": 0.42, "top": 0.34}
"""Inches of that around it. They are fixed: to look for them takes longer than all the drawing."""
TICKS = 5
"""The most places of an axis that are numbered."""
OVERLAP = 1.6
"""How many places of a stack the highest density is high."""
TITLE = 40
"""Letters in a line above a panel."""
MOST_NAMES = 8
"""Places of a stack that are named; of more, evenly many."""


def draw_distributions(figure: Figure, found: Mapping[str, Series | None]) -> Canvas:
    """The figure's panels side by side, or in rows of `figure.columns`, each with its own axes.

    Args:
        found: panel id -> what it shows: x (S, P) values and y (S, P) their density; None where the run is not there.
    """
    columns = min(figure.columns or len(figure.panels), len(figure.panels))
    rows = -(-len(figure.panels) // columns)
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=(PANEL[0] * columns, PANEL[1] * rows))
        grid: NDArray[Any] = canvas.subplots(rows, columns, squeeze=False, gridspec_kw=_places(rows, columns))
    for axes in grid.flat[len(figure.panels) :]:
        axes.set_axis_off()
    for axes, panel in zip(grid.flat, figure.panels, strict=False):
        axes.set_title(fill(panel.label, TITLE), fontsize=7, loc="left")
        axes.set_xlabel(panel.x_label, fontsize=7)
        axes.set_ylabel(panel.y_label, fontsize=7)
        axes.tick_params(labelsize=6)
        axes.locator_params(nbins=TICKS)
        series = found[panel.id]
        if series is None:
            axes.text(0.5, 0.5, "not run", ha="center", va="center", transform=axes.transAxes)
        else:
            _STYLES[panel.style](axes, series)
    return canvas


def _places(rows: int, columns: int) -> dict[str, float]:
    """Where the panels' axes lie, as parts of the picture, and the space between them, as parts of an axis."""
    width, height = PANEL
    free = (width - MARGINS["left"] - MARGINS["right"], height - MARGINS["bottom"] - MARGINS["top"])
    return {
        "left": MARGINS["left"] / (width * columns),
        "right": 1 - MARGINS["right"] / (width * columns),
        "bottom": MARGINS["bottom"] / (height * rows),
        "top": 1 - MARGINS["top"] / (height * rows),
        "wspace": (width - free[0]) / free[0],
        "hspace": (height - free[1]) / free[1],
    }


def _overlaid(axes: Axes, series: Series) -> None:
    for at, (x, y) in enumerate(zip(series.x, series.y, strict=True)):
        colour = COLOURS[at % len(COLOURS)]
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
        axes.fill_between(x, floor, height, color=COLOURS[0], alpha=0.6, linewidth=0, zorder=at)
        axes.plot(x, height, color="white", linewidth=0.6, zorder=at)
    named = np.unique(np.linspace(0, count - 1, min(count, MOST_NAMES)).astype(int))
    axes.set_yticks([-float(at) for at in named], [str(series.names[at]) for at in named])


def _lines(axes: Axes, series: Series) -> None:
    for at, (name, x, y) in enumerate(zip(series.names.tolist(), series.x, series.y, strict=True)):
        axes.plot(x, y, marker="o", markersize=2, linewidth=0.8, color=COLOURS[at % len(COLOURS)], label=name)
    axes.xaxis.set_major_locator(MaxNLocator(TICKS, integer=True))
    axes.legend(frameon=False, fontsize=5, ncols=2)
    axes.grid(alpha=0.25)


_STYLES = {"overlaid": _overlaid, "stacked": _stacked, "lines": _lines}
