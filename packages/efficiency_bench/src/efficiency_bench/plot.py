"""From a figure and run records to its picture and its numbers: what `effbench plot` does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray

from .artifacts import Example, load_artifacts, read_example
from .draw_distributions import draw_distributions
from .draw_panels import draw_groupings, draw_pictures, draw_series, shown_frames
from .drawn import Grouping, Pictures, Series, read_grouping, read_pictures, read_series
from .errors import UsageError, WorkError
from .figures import Figure, Panel, panel_runs
from .plotting import chosen_frames, draw_curve, draw_frames, save_figure
from .presets import Preset
from .records import RunRecord
from .tabulate import load_run, name_datasets, name_devices, tabulate

BOX_COLUMNS = ("panel", "frame", "keyframe", "box", "object", "label", "score", "x1", "y1", "x2", "y2", "iou")
"""Columns of the CSV of a figure of frames; then `seeds`, `dataset`, `preset`, `device`, `status`, `note`."""
POINT_COLUMNS = ("panel", "series", "x", "y")
"""The same of a figure of series, or of distributions: a point of a density each."""
FRAME_COLUMNS = ("panel", "row", "frame", "kind", "cluster")
"""The same of a figure of clusters."""
IMAGE_COLUMNS = ("panel", "row", "column", "image", "shows")
"""The same of a figure of images."""


def plot(
    figure: Figure,
    preset: Preset,
    runs_dir: Path,
    variants: Mapping[str, str],
    out: Path,
    *,
    allow_missing: bool = False,
    mix_devices: bool = False,
) -> list[Path]:
    """Draw `figure` into `out` (.svg) with .png and .csv beside it, and return the three paths.

    The arguments are those of `tabulate.tabulate`, and so are the columns of a curve's CSV. The CSV of a figure of frames has
    one line per box, `iou` being that of a found box with the true box of its frame that it fits best; that of series and
    distributions one per point; that of clusters one per frame and way to group, a frame in no cluster having a blank there;
    that of images one per image.

    Raises:
        WorkError: a needed record is absent and `allow_missing` is not given, or a file cannot be written.
        UsageError: a record or its artifacts are not those of the run, or lack what is drawn.
    """
    if out.suffix != ".svg":
        raise UsageError(f"--out: {out} does not end in .svg; the .png and the .csv go beside it")
    if figure.points is not None:
        frame = tabulate(
            figure.points, preset, runs_dir, variants, allow_missing=allow_missing, mix_devices=mix_devices
        )
        return save_figure(draw_curve(figure, frame), frame, out)
    kind = _KINDS[figure.kind]
    shown: dict[str, Any] = {}  # panel id -> what it shows, None where no run of it is there
    titles: dict[str, str] = {}
    lines: list[dict[str, str]] = []
    absent = []
    for panel in figure.panels:
        parts = []
        for label, spec in panel_runs(figure, panel, preset, variants):
            path = runs_dir / f"{spec.run_id}.json"
            if not path.exists():
                absent.append(f"{spec.run_id} (panel {panel.id!r})")
                note = "; ".join(text for text in (f"not run: {spec.run_id}", panel.note) if text)
                lines.append({"panel": panel.label, "series": label, "status": "reported_only", "note": note})
                continue
            record = load_run(path, spec)
            found = kind.read(load_artifacts(path, record), panel.example, f"{path}: panel {panel.id!r}")
            if panel.parts:
                found = Series.joined([(label, found)])
            count = kind.frames(found)
            if outside := [at for at in panel.frames if at >= count]:
                raise UsageError(f"{figure.path}: panel {panel.id!r}: no frame {outside[0]}; the example has {count}")
            parts.append(found)
            shared = _shared(panel, record)
            lines += [{**shared, **line} for line in kind.lines(panel, found)]
            if panel.data:  # what was asked for by another name may be a stand-in for it, and says so
                titles[panel.id] = f"{panel.label}: {shared['dataset']}"
        whole = Series.joined([("", part) for part in parts]) if panel.parts and parts else None
        shown[panel.id] = whole or (parts[0] if parts else None)
    if absent and not allow_missing:
        raise WorkError(
            f"figure {figure.number} with preset {preset.name} needs runs that {runs_dir} lacks: {', '.join(absent)}\n"
            f"make them with `snakemake results/{figure.name}.svg --config preset={preset.name}`, or leave them out with "
            "--allow-missing"
        )
    columns = [*kind.columns, "seeds", "dataset", "preset", "device", "status", "note"]
    frame = pd.DataFrame(lines, columns=columns, dtype=str).fillna("")
    panels = tuple(replace(panel, label=titles.get(panel.id, panel.label)) for panel in figure.panels)
    return save_figure(kind.draw(replace(figure, panels=panels), shown), frame, out)


def _shared(panel: Panel, record: RunRecord) -> dict[str, str]:
    """What every line of a panel says of its run."""
    where = f"run {record.run_id}"
    return {
        "panel": panel.label,
        "seeds": "1",
        "dataset": name_datasets([record], where),
        "preset": record.preset,
        "device": name_devices([record], where, mix_devices=False),
        "status": "measured",
        "note": panel.note,
    }


def _box_lines(panel: Panel, example: Example) -> list[dict[str, str]]:
    """One line per box that is drawn."""
    lines = []
    for at in chosen_frames(panel, example):
        place = {"frame": str(example.index[at]), "keyframe": "yes" if example.keyframe[at] else "no"}
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
                    best = _best_iou(box, example.true[at])
                    line["iou"] = "" if best is None else f"{best:.4f}"
                lines.append(line)
    return lines


def _best_iou(box: NDArray[np.float32], others: NDArray[np.float32]) -> float | None:
    """The largest IoU of `box` (4,) with one of `others` (N, 4); None where there is no other box."""
    there = others[np.isfinite(others).all(axis=1)].astype(np.float64)
    if not len(there):
        return None
    overlap = np.prod(np.clip(np.minimum(box[2:], there[:, 2:]) - np.maximum(box[:2], there[:, :2]), 0, None), axis=1)
    areas = np.prod(there[:, 2:] - there[:, :2], axis=1) + np.prod(box[2:].astype(np.float64) - box[:2])
    return float((overlap / np.maximum(areas - overlap, 1e-12)).max())


def _point_lines(panel: Panel, series: Series) -> list[dict[str, str]]:
    """One line per point, with six significant digits."""
    return [
        {"series": name, "x": f"{x:.6g}", "y": f"{y:.6g}"}
        for name, xs, ys in zip(series.names.tolist(), series.x.tolist(), series.y.tolist(), strict=True)
        for x, y in zip(xs, ys, strict=True)
        if np.isfinite(x) and np.isfinite(y)
    ]


def _frame_lines(panel: Panel, grouping: Grouping) -> list[dict[str, str]]:
    """One line per frame and way to group; a frame in no cluster has a blank there."""
    return [
        {
            "row": name,
            "frame": str(grouping.index[at]),
            "kind": str(grouping.kinds[at]),
            "cluster": str(ids[at]) if ids[at] >= 0 else "",
        }
        for name, ids in zip(grouping.rows.tolist(), grouping.ids, strict=True)
        for at in shown_frames(panel, grouping)
    ]


def _image_lines(panel: Panel, pictures: Pictures) -> list[dict[str, str]]:
    """One line per image; columns count from 1."""
    return [
        {"row": name, "column": str(column), "image": str(number), "shows": text}
        for name, numbers, texts in zip(
            pictures.rows.tolist(), pictures.index.tolist(), pictures.names.tolist(), strict=True
        )
        for column, (number, text) in enumerate(zip(numbers, texts, strict=True), 1)
        if number >= 0
    ]


@dataclass(frozen=True)
class _Kind:
    """How panels of one kind of figure are read, written down and drawn."""

    columns: tuple[str, ...]
    read: Callable[[Mapping[str, NDArray[Any]], str, str], Any]
    frames: Callable[[Any], int]
    """How many frames there are to choose from."""
    lines: Callable[[Panel, Any], list[dict[str, str]]]
    draw: Callable[[Figure, Mapping[str, Any]], Canvas]


_KINDS = {
    "frames": _Kind(BOX_COLUMNS, read_example, lambda example: len(example.frames), _box_lines, draw_frames),
    "series": _Kind(POINT_COLUMNS, read_series, lambda series: 0, _point_lines, draw_series),
    "distributions": _Kind(POINT_COLUMNS, read_series, lambda series: 0, _point_lines, draw_distributions),
    "clusters": _Kind(FRAME_COLUMNS, read_grouping, lambda grouping: len(grouping.index), _frame_lines, draw_groupings),
    "images": _Kind(IMAGE_COLUMNS, read_pictures, lambda pictures: 0, _image_lines, draw_pictures),
}
