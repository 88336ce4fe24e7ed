"""Draws a figure as SVG and PNG, with its numbers in a CSV beside them; all three appear whole or not at all."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from .artifacts import Example
from .errors import WorkError
from .figures import Figure, Panel
from .files import atomic_write
from .tables import Column

TRUE, FOUND = "#1f9e4b", "#e8590c"
"""Colours of true and found boxes."""
COLOURS = ("#2b6cb0", "#e8590c", "#1f9e4b", "#8e44ad", "#b7950b", "#555555")
"""Colours of the series of a curve, in turn."""
STYLE: Any = {"svg.fonttype": "none", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}


def draw_curve(figure: Figure, frame: pd.DataFrame) -> Canvas:
    """Every series as measured, and where the thesis prints numbers those too, with hollow markers.

    A point is drawn where both its coordinates are known; what it costs is written beside it. A series that asks for another
    data set than its experiment's own, for which something may stand in, has the data it read in the legend.

    Raises:
        WorkError: not a single point has both coordinates.
    """
    assert figure.points is not None
    columns = figure.points.metrics
    canvas, axes = _canvas(6.4, 4.4)
    drawn = 0
    ticks: set[float] = set()  # of points that are named by their place
    replaced = {row.keys["series"] for row in figure.points.rows if any(measure.data for measure in row.measures)}
    for number, (label, part) in enumerate(frame.groupby("series", sort=False)):
        colour = COLOURS[number % len(COLOURS)]
        measured = part[(part[figure.x] != "") & (part[figure.y] != "")]
        printed = part[(part[f"{figure.x}_reported"] != "") & (part[f"{figure.y}_reported"] != "")]
        drawn += len(measured) + len(printed)
        if len(measured):
            sets = ", ".join(dict.fromkeys(measured["dataset"]))
            x, y = _numbers(measured[figure.x]), _numbers(measured[figure.y])
            axes.errorbar(
                x,
                y,
                xerr=_numbers(measured[f"{figure.x}_std"]),
                yerr=_numbers(measured[f"{figure.y}_std"]),
                marker="o",
                color=colour,
                label=f"{label!s}: {sets}" if label in replaced else str(label),
                capsize=2,
            )
        if len(printed):
            x, y = (_numbers(printed[f"{name}_reported"]) for name in (figure.x, figure.y))
            axes.plot(x, y, "o", color=colour, markerfacecolor="none", markersize=8, label=f"{label}, thesis")
        for points, suffix in ((measured, ""), (printed, "_reported")):
            for _, point in points.iterrows():
                place = (float(point[f"{figure.x}{suffix}"]), float(point[f"{figure.y}{suffix}"]))
                text = _cost_text(point, figure, columns) if not suffix else f"{point['point']} (thesis)"
                if text == f"{place[0]:g}":
                    ticks.add(place[0])
                    continue
                below = number % 2  # neighbouring series write on opposite sides of their points
                axes.annotate(
                    text,
                    place,
                    (5, -5 if below else 5),
                    va="top" if below else "bottom",
                    textcoords="offset points",
                    fontsize=6.5,
                    color=colour,
                )
    if not drawn:
        raise WorkError(f"figure {figure.number}: no point has both a {figure.x} and a {figure.y}: nothing to draw")
    axes.set_xlabel(_axis_label(columns[figure.x]))
    axes.set_ylabel(_axis_label(columns[figure.y]))
    if figure.log_x:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        if ticks:
            axes.set_xticks(sorted(ticks))
            axes.minorticks_off()
    axes.margins(0.15)
    axes.legend(frameon=False, fontsize=8)
    axes.grid(alpha=0.25)
    return canvas


def draw_frames(figure: Figure, examples: Mapping[str, Example | None]) -> Canvas:
    """The figure's panels, each a row of frames, or one picture where `together`; true boxes green, found ones orange.

    Args:
        examples: panel id -> what it shows, None where the run is not there.
    """
    counts = [1 if panel.together else len(chosen_frames(panel, examples[panel.id])) for panel in figure.panels]
    columns = max(counts)
    in_a_row = columns == 1
    rows, columns = (1, len(figure.panels)) if in_a_row else (len(figure.panels), columns)
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(
            figsize=(max(2.0 * columns, 4.0), 2.3 * rows + 0.4) if not in_a_row else (3.2 * columns + 0.8, 3.6),
            layout="constrained",
        )
        grid: NDArray[Any] = canvas.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for number, panel in enumerate(figure.panels):
        example = examples[panel.id]
        cells = [grid[0, number]] if in_a_row else list(grid[number])
        cells[0].set_title(panel.label, fontsize=9, loc="left")
        if example is None:
            cells[0].text(0.5, 0.5, "not run", ha="center", va="center", transform=cells[0].transAxes)
            continue
        chosen = chosen_frames(panel, example)
        if panel.together:
            _picture(cells[0], example, chosen[0])
            for step, at in enumerate(chosen):
                _boxes(cells[0], example, at, strength=1 - 0.6 * step / max(len(chosen) - 1, 1))
        for cell, at in [] if panel.together else list(zip(cells, chosen, strict=False)):
            _picture(cell, example, at)
            _boxes(cell, example, at)
            what = "keyframe" if example.keyframe[at] else "frame"
            cell.text(0.02, 0.0, f"{what} {example.index[at]}", va="top", fontsize=7, transform=cell.transAxes)
        if panel.path:
            for boxes, colour in ((example.true, TRUE), (example.found, FOUND)):
                _paths(cells[0] if panel.together else cells[len(chosen) - 1], boxes[chosen], colour)
    handles = [Rectangle((0, 0), 1, 1, fill=False, edgecolor=colour) for colour in (TRUE, FOUND)]
    canvas.legend(handles, figure.legend, loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return canvas


def chosen_frames(panel: Panel, example: Example | None) -> list[int]:
    """The positions in the example of the frames that the panel shows."""
    if example is None:
        return list(panel.frames) or [0]
    return list(panel.frames) or list(range(len(example.frames)))


def save_figure(canvas: Canvas, frame: pd.DataFrame, out: Path) -> list[Path]:
    """Write `out` (.svg), and .png and .csv of the same stem; returns the three. The same numbers give the same bytes.

    Raises:
        WorkError: one of them cannot be written; then none is replaced.
    """
    paths = [out.with_suffix(suffix) for suffix in (".svg", ".png", ".csv")]
    style: Any = {**STYLE, "svg.hashsalt": out.stem}
    with atomic_write(paths[0]) as svg, atomic_write(paths[1]) as png, atomic_write(paths[2]) as csv:
        with matplotlib.rc_context(style):
            canvas.savefig(svg, format="svg", metadata={"Date": None})
            canvas.savefig(png, format="png", dpi=160, metadata={"Software": None})
        frame.to_csv(csv, index=False, lineterminator="\n")
    return paths


def _canvas(width: float, height: float) -> tuple[Canvas, Axes]:
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=(width, height), layout="constrained")
        return canvas, canvas.subplots()


def _numbers(cells: "pd.Series[str]") -> NDArray[np.float64]:
    """Text cells as numbers; a blank, such as the spread of a single seed, is no number and is not drawn."""
    return np.array([float(cell) if cell else np.nan for cell in cells])


def _cost_text(point: "pd.Series[str]", figure: Figure, columns: Mapping[str, Column]) -> str:
    costs = [f"{point[name]} {columns[name].unit}" for name in figure.costs if point[name]]
    return "\n".join([point["point"], *costs])


def _axis_label(column: Column) -> str:
    named = "(" in column.header or column.unit in ("1", "x")
    return column.header if named else f"{column.header} ({column.unit})"


def _picture(axes: Axes, example: Example, at: int) -> None:
    height, width = example.frames.shape[1:3]
    axes.imshow(
        example.frames[at], cmap="gray", vmin=0, vmax=255, extent=(0, width, height, 0), interpolation="nearest"
    )


def _boxes(axes: Axes, example: Example, at: int, strength: float = 1.0) -> None:
    for boxes, colour, line in ((example.true[at], TRUE, "-"), (example.found[at], FOUND, "--")):
        for x1, y1, x2, y2 in boxes[np.isfinite(boxes).all(axis=1)].tolist():
            shape = Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, linestyle=line, alpha=strength)
            axes.add_patch(shape)
    if not strength < 1:
        for box, name, score in zip(example.found[at], example.found_labels[at], example.scores[at], strict=True):
            if name and np.isfinite(box).all():
                text = f"{name} {score:.2f}" if np.isfinite(score) else str(name)
                axes.text(box[0], box[1], text, color=FOUND, fontsize=6, va="bottom")


def _paths(axes: Axes, boxes: NDArray[np.float32], colour: str) -> None:
    """Lines through the centres (F, N, 4) of each of N objects; a frame without the object breaks the line."""
    centres = (boxes[..., :2] + boxes[..., 2:]) / 2
    for number in range(centres.shape[1]):
        axes.plot(
            centres[:, number, 0], centres[:, number, 1], "-", marker=".", markersize=3, color=colour, linewidth=1
        )
