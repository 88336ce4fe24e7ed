"""Draws panels of series of points, of frames in clusters, and of images; the numbers go to a CSV beside them (`plot`)."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from .drawn import Grouping, Pictures, Series
from .figures import Figure, Panel
from .plotting import COLOURS, STYLE

MARKERS = ("o", "s", "^", "D", "v", "P")
"""Markers of the series of a panel, in turn."""
CLUSTER_COLOURS = tuple(matplotlib.colormaps["tab20"](number) for number in (*range(0, 20, 2), *range(1, 20, 2)))
"""Colours of clusters in turn; neighbours differ clearly."""
_BAND = 0.24
"""Inches of a band."""
KIND_COLOURS = ("#2b2b2b", "#b0b0b0", "#e8590c", "#2b6cb0", "#1f9e4b", "#8e44ad")
"""Colours of the kinds of frames of a panel, in the order of first sight."""


def draw_series(figure: Figure, found: Mapping[str, Series | None]) -> Canvas:
    """The figure's panels side by side, or in rows of `figure.columns`, each with its own axes; series of one name share
    colour, marker and legend.

    Args:
        found: panel id -> what it shows, None where the run is not there.
    """
    columns = min(figure.columns or len(figure.panels), len(figure.panels))
    rows = -(-len(figure.panels) // columns)
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=(4.4 * columns + (1.0 if columns == 1 else 0), 3.6 * rows), layout="constrained")
        grid: NDArray[Any] = canvas.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(figure.panels) :]:
        axes.set_axis_off()
    for axes, panel in zip(grid.flat, figure.panels, strict=False):
        axes.set_title(panel.label, fontsize=9, loc="left")
        axes.set_xlabel(panel.x_label)
        axes.set_ylabel(panel.y_label)
        series = found[panel.id]
        if series is None:
            _not_run(axes)
            continue
        order = list(dict.fromkeys(series.names.tolist()))
        for name, x, y in zip(series.names.tolist(), series.x, series.y, strict=True):
            at = order.index(name)
            axes.plot(
                x,
                y,
                linestyle="-" if panel.joined else "none",
                linewidth=1,
                marker=MARKERS[at % len(MARKERS)],
                markersize=4 if panel.joined else 2.5,
                color=COLOURS[at % len(COLOURS)],
                alpha=0.9 if panel.joined else 0.45,
                markeredgewidth=0,
            )
        if panel.joined and not (series.x[np.isfinite(series.x)] % 1).any():
            axes.xaxis.get_major_locator().set_params(integer=True)
        handles = [
            Line2D(
                [], [], linestyle="-" if panel.joined else "none", marker=MARKERS[at % len(MARKERS)], markersize=4,
                color=COLOURS[at % len(COLOURS)], label=name,
            )
            for at, name in enumerate(order)
        ]  # fmt: skip
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.17), "ncols": len(order)}
        axes.legend(handles=handles, frameon=False, fontsize=8, **place)  # below: points are everywhere
        axes.grid(alpha=0.25)
    return canvas


def draw_groupings(figure: Figure, found: Mapping[str, Grouping | None]) -> Canvas:
    """The figure's panels below each other: the frames where there are any, what they truly show, and a band per way to
    group them, in which each cluster has a colour.

    Args:
        found: panel id -> what it shows, None where the run is not there.
    """
    heights = [_height(panel, found[panel.id]) for panel in figure.panels]
    longest = max((len(shown_frames(panel, found[panel.id])) for panel in figure.panels), default=1)
    pictured = any(grouping is not None and len(grouping.frames) for grouping in found.values())
    width = _width(longest) if pictured else 7.5
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=(width + 1.0, sum(heights) + 0.3), layout="constrained")
        parts = canvas.subplots(len(figure.panels), 1, squeeze=False, gridspec_kw={"height_ratios": heights})
    for axes, panel in zip(parts.flat, figure.panels, strict=True):
        grouping = found[panel.id]
        axes.set_title(panel.label, fontsize=9, loc="left")
        if grouping is None:
            axes.set_axis_off()
            _not_run(axes)
            continue
        _bands(axes, panel, grouping)
    return canvas


def draw_pictures(figure: Figure, found: Mapping[str, Pictures | None]) -> Canvas:
    """The figure's panels below each other, each a grid of images whose rows are named at the left.

    Args:
        found: panel id -> what it shows, None where the run is not there.
    """
    cell = 0.72  # inches of an image
    every = [found[panel.id] for panel in figure.panels]
    shapes = [(2, 6) if pictures is None else pictures.index.shape for pictures in every]
    heights = [cell * rows + 0.3 for rows, _ in shapes]
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(
            figsize=(cell * max(columns for _, columns in shapes) + 1.8, sum(heights) + 0.2), layout="constrained"
        )
        parts = canvas.subplots(len(figure.panels), 1, squeeze=False, gridspec_kw={"height_ratios": heights})
    for axes, panel in zip(parts.flat, figure.panels, strict=True):
        pictures = found[panel.id]
        axes.set_title(panel.label, fontsize=9, loc="left")
        if pictures is None:
            axes.set_axis_off()
            _not_run(axes)
            continue
        rows, columns, height, width, _ = pictures.images.shape
        gap = max(1, width // 16)
        sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
        for row in range(rows):
            for column in range(columns):
                top, left = row * (height + gap), column * (width + gap)
                sheet[top : top + height, left : left + width] = pictures.images[row, column]
        axes.imshow(sheet, interpolation="nearest")
        axes.set_yticks([row * (height + gap) + height / 2 for row in range(rows)], pictures.rows.tolist(), fontsize=7)
        axes.set_xticks([])
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
    return canvas


def shown_frames(panel: Panel, grouping: Grouping | None) -> list[int]:
    """The positions of the frames that the panel shows."""
    return list(panel.frames) or list(range(0 if grouping is None else len(grouping.index)))


def _width(shown: int) -> float:
    """Inches for as many pictures side by side."""
    return min(max(0.42 * shown, 7.0), 14.0)


def _picture(panel: Panel, grouping: Grouping) -> float:
    """Inches of the height of a picture; 0 without pictures."""
    if not len(grouping.frames):
        return 0.0
    height, width = map(int, grouping.frames.shape[1:3])
    shown = len(shown_frames(panel, grouping))
    return _width(shown) / shown * height / width


def _height(panel: Panel, grouping: Grouping | None) -> float:
    if grouping is None:
        return 0.6
    bands = len(grouping.rows) + bool(grouping.kinds.tolist()[0])
    return 0.45 + _BAND * 1.1 * bands + _picture(panel, grouping)


def _bands(axes: Axes, panel: Panel, grouping: Grouping) -> None:
    """Rows from top to bottom: frames, kinds, one band per way; a unit of the vertical axis is a band."""
    shown = shown_frames(panel, grouping)
    labels: list[str] = []
    places: list[float] = []
    top = 0.0
    if len(grouping.frames):
        units = _picture(panel, grouping) / _BAND
        for column, at in enumerate(shown):
            axes.imshow(
                grouping.frames[at], cmap="gray", vmin=0, vmax=255, extent=(column, column + 0.96, units, 0.06),
                aspect="auto", interpolation="nearest",
            )  # fmt: skip
        labels.append("frames")
        places.append(units / 2)
        top = units + 0.1
    if grouping.kinds.tolist()[0]:
        order = list(dict.fromkeys(grouping.kinds.tolist()))
        numbers = [order.index(str(grouping.kinds[at])) for at in shown]
        for start, stop in _runs(numbers):
            axes.add_patch(_bar(start, stop, top, KIND_COLOURS[numbers[start] % len(KIND_COLOURS)]))
        handles = [
            Line2D([], [], linestyle="none", marker="s", color=KIND_COLOURS[at % len(KIND_COLOURS)], label=kind)
            for at, kind in enumerate(order)
        ]
        axes.legend(
            handles=handles, ncols=len(order), frameon=False, fontsize=7, loc="lower right", bbox_to_anchor=(1, 1),
            borderaxespad=0.1, handletextpad=0.1, columnspacing=1,
        )  # fmt: skip
        labels.append("true kind")
        places.append(top + 0.5)
        top += 1.1
    for name, ids in zip(grouping.rows.tolist(), grouping.ids, strict=True):
        numbers = [int(ids[at]) for at in shown]
        for start, stop in _runs(numbers):
            number = numbers[start]
            colour = "#ffffff" if number < 0 else CLUSTER_COLOURS[number % len(CLUSTER_COLOURS)]
            axes.add_patch(_bar(start, stop, top, colour))
        labels.append(name)
        places.append(top + 0.5)
        top += 1.1
    axes.set_xlim(0, len(shown))
    axes.set_ylim(top, 0)
    axes.set_yticks(places, labels, fontsize=7)
    step = max(1, len(shown) // 16)
    ticks = range(0, len(shown), step)
    axes.set_xticks([t + 0.5 for t in ticks], [str(grouping.index[shown[t]]) for t in ticks], fontsize=7)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """(start, stop) of every run of equal numbers."""
    starts = [at for at, number in enumerate(numbers) if at == 0 or number != numbers[at - 1]]
    return list(zip(starts, [*starts[1:], len(numbers)], strict=True))


def _bar(start: int, stop: int, top: float, colour: Any) -> Rectangle:
    return Rectangle((start, top), stop - start, 1, facecolor=colour, edgecolor="none", antialiased=False)


def _not_run(axes: Axes) -> None:
    axes.text(0.5, 0.5, "not run", ha="center", va="center", transform=axes.transAxes)
