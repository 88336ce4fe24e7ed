"""Figures of kind `clusters`: frames of videos, and bands that show the clusters they are in."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from efficiency_bench.figures.canvas import MANY_COLOURS, fill_panels, hide_frame, make_panels
from efficiency_bench.figures.kinds import Panel, PicturesFigure
from efficiency_bench.records.pictures import Grouping
from efficiency_bench.workflow.columns import ColumnFacts

FRAME_COLUMNS = {
    "panel": ColumnFacts("panel of the figure"),
    "row": ColumnFacts("way to group the frames"),
    "frame": ColumnFacts("number of the frame in its video", "1"),
    "kind": ColumnFacts("what the frame shows"),
    "cluster": ColumnFacts("number of its cluster; blank for a frame in none", "1"),
}
KIND_COLOURS = ("#2b2b2b", "#b0b0b0", "#e8590c", "#2b6cb0", "#1f9e4b", "#8e44ad")
"""Colours of the kinds of frames of a panel, in the order of first sight."""
_BAND = 0.24
"""Inches of a band."""


def draw_clusters(figure: PicturesFigure, found: Mapping[str, Grouping | None]) -> Canvas:
    """The figure's panels below each other: the frames where there are any, a band of their true kinds, and a band for each
    way to group them, in which each cluster has a colour."""
    there = [grouping for grouping in found.values() if grouping is not None]
    longest = max((len(grouping.index) for grouping in there), default=0)
    width = _width(longest) if any(len(grouping.frames) for grouping in there) else 7.5
    heights = [_panel_height(found[panel.id]) for panel in figure.panels]
    canvas, parts = make_panels(len(heights), 1, (width + 1.0, sum(heights) + 0.3), {"height_ratios": heights})
    fill_panels(parts, figure.panels, found, _draw_panel)
    return canvas


def frame_lines(panel: Panel, grouping: Grouping) -> list[dict[str, str]]:
    """Lines of the CSV: one per frame and way to group; the cell of a frame in no cluster is blank."""
    return [
        {"row": name, "frame": str(frame), "kind": str(kind), "cluster": str(cluster) if cluster >= 0 else ""}
        for name, ids in zip(grouping.rows.tolist(), grouping.ids, strict=True)
        for frame, kind, cluster in zip(grouping.index, grouping.kinds, ids, strict=True)
    ]


def _width(frames: int) -> float:
    return min(max(0.42 * frames, 7.0), 14.0)


def _picture_height(grouping: Grouping) -> float:
    """Height of a picture in inches; 0 without pictures."""
    if not len(grouping.frames):
        return 0.0
    count, height, width = map(int, grouping.frames.shape[:3])
    return _width(count) / count * height / width


def _panel_height(grouping: Grouping | None) -> float:
    if grouping is None:
        return 0.6
    bands = len(grouping.rows) + bool(grouping.kinds.tolist()[0])
    return 0.45 + _BAND * 1.1 * bands + _picture_height(grouping)


def _draw_panel(axes: Axes, panel: Panel, grouping: Grouping) -> None:
    """Rows from top to bottom: frames, kinds, one band per way; a unit of the vertical axis is a band."""
    marks: list[tuple[float, str]] = []
    top = 0.0
    if len(grouping.frames):
        units = _picture_height(grouping) / _BAND
        for column, frame in enumerate(grouping.frames):
            axes.imshow(
                frame, cmap="gray", vmin=0, vmax=255, extent=(column, column + 0.96, units, 0.06), aspect="auto",
                interpolation="nearest",
            )  # fmt: skip
        marks.append((units / 2, "frames"))
        top = units + 0.1
    bands: list[tuple[str, list[int], tuple[Any, ...]]] = []  # name, a number for each frame, colours
    kinds = grouping.kinds.tolist()
    if kinds[0]:
        order = list(dict.fromkeys(kinds))
        bands.append(("true kind", [order.index(kind) for kind in kinds], KIND_COLOURS))
        handles = [
            Line2D([], [], linestyle="none", marker="s", color=KIND_COLOURS[at % len(KIND_COLOURS)], label=kind)
            for at, kind in enumerate(order)
        ]
        axes.legend(
            handles=handles, ncols=len(order), frameon=False, fontsize=7, loc="lower right", bbox_to_anchor=(1, 1),
            borderaxespad=0.1, handletextpad=0.1, columnspacing=1,
        )  # fmt: skip
    bands += [
        (name, ids, MANY_COLOURS) for name, ids in zip(grouping.rows.tolist(), grouping.ids.tolist(), strict=True)
    ]
    for name, numbers, colours in bands:
        starts = [at for at, number in enumerate(numbers) if at == 0 or number != numbers[at - 1]]
        for start, stop in pairwise([*starts, len(numbers)]):
            colour = "#ffffff" if numbers[start] < 0 else colours[numbers[start] % len(colours)]
            bar = Rectangle((start, top), stop - start, 1, facecolor=colour, edgecolor="none", antialiased=False)
            axes.add_patch(bar)
        marks.append((top + 0.5, name))
        top += 1.1
    axes.set_xlim(0, len(kinds))
    axes.set_ylim(top, 0)
    axes.set_yticks([place for place, _ in marks], [label for _, label in marks], fontsize=7)
    ticks = range(0, len(kinds), max(1, len(kinds) // 16))
    axes.set_xticks([tick + 0.5 for tick in ticks], [str(grouping.index[tick]) for tick in ticks], fontsize=7)
    hide_frame(axes)
