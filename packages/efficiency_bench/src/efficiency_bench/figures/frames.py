"""Figures of kind `frames`: frames of videos with true and found boxes."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from efficiency_bench.figures.canvas import make_panels, write_not_run
from efficiency_bench.figures.kinds import FramesFigure, FramesPanel
from efficiency_bench.records.artifacts import Example
from efficiency_bench.workflow.columns import ColumnFacts

BOX_COLUMNS = {
    "panel": ColumnFacts("panel of the figure"),
    "frame": ColumnFacts("number of the frame in its video", "1"),
    "keyframe": ColumnFacts("yes or no"),
    "box": ColumnFacts("true or found"),
    "object": ColumnFacts("number of the object in the frame", "1"),
    "label": ColumnFacts("class"),
    "score": ColumnFacts("score of a found box", "1"),
    **{side: ColumnFacts(f"side {side} of the box", "px") for side in ("x1", "y1", "x2", "y2")},
    "iou": ColumnFacts("IoU of a found box with the true box that it overlaps most", "1"),
}
TRUE, FOUND = "#1f9e4b", "#e8590c"
"""Colours of true and found boxes."""


def draw_frames(figure: FramesFigure, examples: Mapping[str, Example | None]) -> Canvas:
    """The figure's panels, each a row of frames, or one picture where `together`; true boxes green, found ones orange."""
    columns = max(1 if panel.together else len(_chosen(panel, examples[panel.id])) for panel in figure.panels)
    in_a_row = columns == 1
    rows, columns = (1, len(figure.panels)) if in_a_row else (len(figure.panels), columns)
    size = (3.2 * columns + 0.8, 3.6) if in_a_row else (max(2.0 * columns, 4.0), 2.3 * rows + 0.4)
    canvas, grid = make_panels(rows, columns, size)
    for axes in grid.flat:
        axes.set_axis_off()
    for panel, cells in zip(figure.panels, grid.T if in_a_row else grid, strict=True):
        example = examples[panel.id]
        cells[0].set_title(panel.label, fontsize=9, loc="left")
        if example is None:
            write_not_run(cells[0])
        else:
            _draw_panel(list(cells), panel, example)
    shown = [(panel, example) for panel in figure.panels if (example := examples[panel.id]) is not None]
    kinds = {
        figure.legend.true: (TRUE, "-", any(_boxes(example.true, panel, example) for panel, example in shown)),
        figure.legend.found: (FOUND, "--", any(_boxes(example.found, panel, example) for panel, example in shown)),
    }
    handles = [
        Rectangle((0, 0), 1, 1, fill=False, edgecolor=colour, linestyle=line, label=name)
        for name, (colour, line, drawn) in kinds.items()
        if drawn
    ]
    if handles:
        canvas.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return canvas


def box_lines(panel: FramesPanel, example: Example) -> list[dict[str, str]]:
    """Lines of the CSV: one per box that is drawn; `iou` of a found box is that with the true box it overlaps most."""
    lines = []
    for at in _chosen(panel, example):
        place = {"frame": str(example.index[at]), "keyframe": "yes" if example.keyframe[at] else "no"}
        place["units"] = "x1, y1, x2, y2: px"
        for kind, boxes, labels in (
            ("true", example.true[at], example.true_labels[at]),
            ("found", example.found[at], example.found_labels[at]),
        ):
            for number, (box, label) in enumerate(zip(boxes, labels, strict=True)):
                if not np.isfinite(box).all():
                    continue
                line = {**place, "box": kind, "object": str(number), "label": str(label)}
                line |= dict(zip(("x1", "y1", "x2", "y2"), (f"{value:.2f}" for value in box.tolist()), strict=True))
                if kind == "found":
                    score = float(example.scores[at][number])
                    line["score"] = f"{score:.4f}" if np.isfinite(score) else ""
                    line["iou"] = _best_iou(box, example.true[at])
                lines.append(line)
    return lines


def _best_iou(box: NDArray[np.float32], others: NDArray[np.float32]) -> str:
    """The largest IoU of `box` (4,) with a box of `others` (N, 4); a blank where there is no other box."""
    there = others[np.isfinite(others).all(axis=1)].astype(np.float64)
    if not len(there):
        return ""
    overlap = np.prod(np.clip(np.minimum(box[2:], there[:, 2:]) - np.maximum(box[:2], there[:, :2]), 0, None), axis=1)
    areas = np.prod(there[:, 2:] - there[:, :2], axis=1) + np.prod(box[2:].astype(np.float64) - box[:2])
    return f"{float((overlap / np.maximum(areas - overlap, 1e-12)).max()):.4f}"


def _boxes(boxes: NDArray[np.float32], panel: FramesPanel, example: Example) -> bool:
    """Whether one of the frames that are shown has one of the `boxes` (F, N, 4)."""
    return bool(np.isfinite(boxes[_chosen(panel, example)]).all(axis=-1).any())


def _chosen(panel: FramesPanel, example: Example | None) -> list[int]:
    """The positions in the example of the frames that the panel shows."""
    return list(panel.frames) or ([0] if example is None else list(range(len(example.frames))))


def _draw_panel(cells: list[Axes], panel: FramesPanel, example: Example) -> None:
    chosen = _chosen(panel, example)
    if not _boxes(example.found, panel, example):
        cells[0].text(0.02, 0.98, "no box found", va="top", fontsize=7, color=FOUND, transform=cells[0].transAxes)
    for step, at in enumerate(chosen):
        cell = cells[0 if panel.together else step]
        if not panel.together or step == 0:
            height, width = example.frames.shape[1:3]
            extent = (0, width, height, 0)
            cell.imshow(example.frames[at], cmap="gray", vmin=0, vmax=255, extent=extent, interpolation="nearest")
        _draw_boxes(cell, example, at, 1 - 0.6 * step / max(len(chosen) - 1, 1) if panel.together else 1.0)
        if not panel.together:
            what = "keyframe" if example.keyframe[at] else "frame"
            cell.text(0.02, 0.0, f"{what} {example.index[at]}", va="top", fontsize=7, transform=cell.transAxes)
    if panel.path:  # lines through the centres (F, N, 2) of N objects; a frame without the object breaks the line
        for boxes, colour in ((example.true[chosen], TRUE), (example.found[chosen], FOUND)):
            centres = (boxes[..., :2] + boxes[..., 2:]) / 2
            cell.plot(centres[..., 0], centres[..., 1], "-", marker=".", markersize=3, color=colour, linewidth=1)


def _draw_boxes(axes: Axes, example: Example, at: int, strength: float) -> None:
    for boxes, colour, line in ((example.true[at], TRUE, "-"), (example.found[at], FOUND, "--")):
        for x1, y1, x2, y2 in boxes[np.isfinite(boxes).all(axis=1)].tolist():
            shape = Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, linestyle=line, alpha=strength)
            axes.add_patch(shape)
    if strength == 1:
        for box, name, score in zip(example.found[at], example.found_labels[at], example.scores[at], strict=True):
            if name and np.isfinite(box).all():
                text = f"{name} {score:.2f}" if np.isfinite(score) else str(name)
                axes.text(box[0], box[1], text, color=FOUND, fontsize=6, va="bottom")
