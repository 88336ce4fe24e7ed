"""From a figure and run records to its picture and its numbers: the work of `effbench plot`."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.figure import Figure as Canvas

from efficiency_bench.figures.canvas import PLAIN, STAND_IN, WARNING, save_figure, write_origin
from efficiency_bench.figures.clusters import FRAME_COLUMNS, draw_clusters, frame_lines
from efficiency_bench.figures.curve import draw_curve
from efficiency_bench.figures.definitions import panel_runs
from efficiency_bench.figures.frames import BOX_COLUMNS, box_lines, draw_frames
from efficiency_bench.figures.images import IMAGE_COLUMNS, draw_images, image_lines
from efficiency_bench.figures.kinds import CurveFigure, Figure, FramesPanel, Panel, PanelsFigure
from efficiency_bench.figures.series import LABEL_COLUMNS, POINT_COLUMNS, draw_distributions, draw_series, point_lines
from efficiency_bench.records.artifacts import Example, load_artifacts
from efficiency_bench.records.pictures import ArraySet, Grouping, Pictures, Series
from efficiency_bench.workflow.columns import ORIGIN, ColumnFacts, table_columns
from efficiency_bench.workflow.origin import NO_DATA, WARNINGS, describe_scale, name_datasets
from efficiency_bench.workflow.presets import Preset
from efficiency_bench.workflow.tabulate import load_run, name_devices, tabulate
from efficiency_core.errors import UsageError, WorkError

SHARED_COLUMNS = ("seeds", "dataset", "preset", "device", "scale", "status", "note")
"""Columns of the CSV about the run of a panel, which follow those of any kind."""
_MOST = 6
"""Most data sets, or scales, that a picture names."""


class _Kind(NamedTuple):
    columns: Mapping[str, ColumnFacts]
    """Columns of the CSV, without those of every kind."""
    labels: Mapping[str, ColumnFacts]
    """Further columns that say what these are."""
    content: type[ArraySet]
    """What a panel shows of a run's artifacts."""
    lines: Callable[[Any, Any], list[dict[str, str]]]
    """Lines of the CSV of a panel and its content."""
    draw: Callable[[Any, Mapping[str, Any]], Canvas]
    """Draws the figure, given its file and the content of each panel by its id; None where no run of the panel is there."""


_KINDS = {
    "frames": _Kind(BOX_COLUMNS, {"units": ColumnFacts(ORIGIN["units"])}, Example, box_lines, draw_frames),
    "series": _Kind(POINT_COLUMNS, LABEL_COLUMNS, Series, point_lines, draw_series),
    "distributions": _Kind(POINT_COLUMNS, LABEL_COLUMNS, Series, point_lines, draw_distributions),
    "clusters": _Kind(FRAME_COLUMNS, {}, Grouping, frame_lines, draw_clusters),
    "images": _Kind(IMAGE_COLUMNS, {}, Pictures, image_lines, draw_images),
}


def plot(
    figure: Figure,
    preset: Preset,
    runs_dir: Path,
    variants: Mapping[str, str],
    out: Path,
    allow_missing: bool = False,
    mix_devices: bool = False,
) -> list[Path]:
    """Draw `figure` into `out` (.svg) with .png, .csv and its description next to it, and return the paths.

    The arguments, and the columns of a curve's CSV, are those of `tabulate.tabulate`.

    Raises:
        WorkError: a needed record is absent and `allow_missing` is not given, or a file cannot be written.
        UsageError: a record or its artifacts are not those of the run, or lack what is drawn.
    """
    if out.suffix != ".svg":
        raise UsageError(f"--out: {out} does not end in .svg; the .png and the .csv go next to it")
    if isinstance(figure, CurveFigure):
        frame = tabulate(figure.points, preset, runs_dir, variants, allow_missing, mix_devices)
        canvas = draw_curve(figure, frame)
        write_origin(canvas, _origin(figure, preset, frame))
        return save_figure(canvas, frame, table_columns(figure.points, map(str, frame)), figure, out)
    kind = _KINDS[figure.kind]
    read = [_read_panel(figure, panel, kind, preset, runs_dir, variants) for panel in figure.panels]
    absent = [run for _, _, _, runs in read for run in runs]
    if absent and not allow_missing:
        raise WorkError(
            f"figure {figure.figure} with preset {preset.name} needs runs that {runs_dir} lacks: {', '.join(absent)}\n"
            f"make them with `snakemake results/{figure.name}.svg --config preset={preset.name}`, or leave them out with "
            "--allow-missing"
        )
    lines = [line for _, _, of_panel, _ in read for line in of_panel]
    shared = {name: ColumnFacts(ORIGIN[name], "1" if name == "seeds" else "") for name in SHARED_COLUMNS}
    columns = {**kind.columns, **shared, **kind.labels}
    columns = {
        name: columns[name] for name in [*kind.columns, *SHARED_COLUMNS[:-2], *kind.labels, *SHARED_COLUMNS[-2:]]
    }
    frame = pd.DataFrame(lines, columns=list(columns), dtype=str).fillna("")
    panels: Any = tuple(panel for panel, *_ in read)
    contents = {panel.id: content for panel, content, _, _ in read}
    canvas = kind.draw(replace(figure, panels=panels), contents)
    write_origin(canvas, _origin(figure, preset, frame))
    return save_figure(canvas, frame, columns, figure, out)


def _origin(figure: Figure, preset: Preset, frame: pd.DataFrame) -> list[tuple[str, str]]:
    """Lines above the picture, with their colours: what its numbers were measured on."""
    measured = frame[frame["status"] == "measured"]

    def values(column: str) -> list[str]:
        found = [part for text in dict.fromkeys(measured[column]) for part in text.split("; ") if part]
        parts = list(dict.fromkeys(part.rpartition(": ")[2] if column == "scale" else part for part in found))
        more = [f"and {len(parts) - _MOST} more, see the CSV"] if len(parts) > _MOST else []
        return parts[:_MOST] + more

    seeds = " or ".join(values("seeds")) or "0"
    head = [f"Figure {figure.figure}", f"preset {preset.name}", f"{seeds} seed{'' if seeds == '1' else 's'}"]
    lines = [(WARNINGS[preset.name], WARNING)] if preset.name in WARNINGS else []
    lines.append((", ".join([*head, *values("device")]), PLAIN))
    data = "; ".join(values("dataset")) or (NO_DATA if len(measured) else "nothing was measured")
    lines.append((f"Data: {data}", STAND_IN if "stand-in" in data else PLAIN))
    if scale := "; ".join(values("scale")):
        lines.append((f"Network and input: {scale}", PLAIN))
    return lines


def _read_panel(
    figure: PanelsFigure, panel: Panel, kind: _Kind, preset: Preset, runs_dir: Path, variants: Mapping[str, str]
) -> tuple[Panel, Any, list[dict[str, str]], list[str]]:
    """The panel with its title, its content (None where none of its runs is there), its lines of the CSV, and the runs that
    are not there, each with the panel's name."""
    runs = panel_runs(figure, panel, preset, variants)
    several = len(runs) > 1 or bool(runs[0][0])
    parts, lines, absent, title = [], [], [], panel.label
    for label, spec in runs:
        path = runs_dir / f"{spec.run_id}.json"
        if not path.exists():
            absent.append(f"{spec.run_id} (panel {panel.id!r})")
            note = "; ".join(text for text in (f"not run: {spec.run_id}", panel.note) if text)
            lines.append({"panel": panel.label, "series": label, "status": "reported_only", "note": note})
            continue
        record = load_run(path, spec)
        found: Any = kind.content.read(load_artifacts(path, record), panel.example, f"{path}: panel {panel.id!r}")
        if several:
            found = Series.joined([(label, found)])
        if isinstance(panel, FramesPanel):
            count = len(found.frames)
            if outside := [at for at in panel.frames if at >= count]:
                raise UsageError(f"{figure.path}: panel {panel.id!r}: no frame {outside[0]}; the example has {count}")
        parts.append(found)
        where = f"run {record.run_id}"
        dataset = name_datasets([(panel, record)], figure.thesis_data, where)
        device = name_devices([record], where, mix_devices=False)
        if panel.data:  # another data set was asked for: the title says which was read, as a stand-in may have been
            title = f"{panel.label}: {dataset.partition(', stand-in')[0]}"  # what for, the lines above the panels say
        shared = {"panel": panel.label, "seeds": "1", "dataset": dataset, "preset": preset.name, "device": device}
        shared |= {"scale": describe_scale(record), "status": "measured", "note": panel.note}
        lines += [{**shared, **line} for line in kind.lines(panel, found)]
    content = Series.joined([("", part) for part in parts]) if several and parts else next(iter(parts), None)
    return replace(panel, label=title), content, lines, absent
