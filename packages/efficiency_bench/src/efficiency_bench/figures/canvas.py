"""What every kind of figure shares: style, colours, a grid of panels, what was measured, and saving."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any, Literal

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from efficiency_bench.figures.kinds import FigureHead, Panel
from efficiency_bench.workflow.columns import ColumnFacts, write_csv
from efficiency_core.files import atomic_path

STYLE: Any = {"svg.fonttype": "none", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
COLOURS = ("#2b6cb0", "#e8590c", "#1f9e4b", "#8e44ad", "#b7950b", "#555555")
"""Colours of series, in turn."""
MANY_COLOURS = tuple(matplotlib.colormaps["tab20"](number) for number in (*range(0, 20, 2), *range(1, 20, 2)))
"""Colours of clusters and distributions, in turn; neighbours differ clearly."""
PLAIN, STAND_IN, WARNING = "#333333", "#9c4a00", "#c00000"
"""Colours of what a figure says above its panels: of anything, of data in place of the thesis's, of a warning."""
_LINE = 0.145
"""Inches of a line above the panels."""
_LETTERS = 19
"""Letters of such a line in an inch."""


def make_panels(
    rows: int,
    columns: int,
    size: tuple[float, float],
    grid: Mapping[str, Any] | None = None,
    layout: Literal["constrained"] | None = "constrained",
) -> tuple[Canvas, NDArray[Any]]:
    """An empty canvas of `size` (width, height) inches with axes (rows, columns).

    `grid` are options of matplotlib's `GridSpec`, which have the margins where there is no `layout`.
    """
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=size, layout=layout)
        return canvas, canvas.subplots(rows, columns, squeeze=False, gridspec_kw=dict(grid or {}))


def fill_panels(
    cells: NDArray[Any],
    panels: Sequence[Panel],
    found: Mapping[str, Any],
    draw: Callable[[Axes, Any, Any], None],
    fontsize: float = 9,
) -> None:
    """Draw each panel into one of the axes: `draw` gets the axes, the panel and its content `found` by its id.

    A panel without content says that it was not run. Axes beyond the last panel stay empty.
    """
    for axes in cells.flat[len(panels) :]:
        axes.set_axis_off()
    for axes, panel in zip(cells.flat, panels, strict=False):
        axes.set_title(panel.label, fontsize=fontsize, loc="left")
        if found[panel.id] is None:
            write_not_run(axes)
        else:
            draw(axes, panel, found[panel.id])


def write_not_run(axes: Axes) -> None:
    axes.set_axis_off()
    axes.text(0.5, 0.5, "not run", ha="center", va="center", transform=axes.transAxes)


def hide_frame(axes: Axes) -> None:
    """Leave out the lines around a picture and the marks of its ticks."""
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def write_origin(canvas: Canvas, lines: Sequence[tuple[str, str]]) -> None:
    """Write lines of text, each with its colour, above the panels; the canvas grows by their height."""
    width, height = canvas.get_size_inches()
    wrapped = [(part, colour) for text, colour in lines for part in wrap(text, int(_LETTERS * width))]
    added = _LINE * len(wrapped) + 0.08
    kept = height / (height + added)
    canvas.set_size_inches(width, height + added)
    layout = canvas.get_layout_engine()
    if isinstance(layout, ConstrainedLayoutEngine):
        layout.set(rect=(0, 0, 1, kept))
    else:
        for axes in canvas.axes:
            left, bottom, wide, high = axes.get_position().bounds
            axes.set_position((left, bottom * kept, wide, high * kept))
    for number, (text, colour) in enumerate(wrapped):
        place = 1 - (0.06 + _LINE * number) / (height + added)
        weight = "bold" if colour == WARNING else "normal"
        canvas.text(0.06 / width, place, text, va="top", fontsize=7, color=colour, weight=weight)


def save_figure(
    canvas: Canvas, frame: pd.DataFrame, columns: Mapping[str, ColumnFacts], figure: FigureHead, out: Path
) -> list[Path]:
    """Write `out` (.svg), .png and .csv of the same stem, and what the columns of the CSV are; returns their paths. The same
    numbers give the same bytes.

    Raises:
        WorkError: one of them cannot be written; then none of the pictures is replaced.
    """
    paths = [out.with_suffix(suffix) for suffix in (".svg", ".png")]
    style: Any = {**STYLE, "svg.hashsalt": out.stem}
    head = {"title": f"Figure {figure.figure}", "description": figure.caption, "source": figure.source}
    with atomic_path(paths[0]) as svg, atomic_path(paths[1]) as png:
        with matplotlib.rc_context(style):
            canvas.savefig(svg, format="svg", metadata={"Date": None})
            canvas.savefig(png, format="png", dpi=160, metadata={"Software": None})
        return [*paths, *write_csv(frame, out.with_suffix(".csv"), columns, head)]
