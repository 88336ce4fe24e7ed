"""The thesis's figures as data: one YAML file each, with what is drawn and the printed numbers that belong to it.

A `curve` draws series of points; its points are rows of a table (`Figure.points`) and are measured and tabulated as such.
The other kinds draw panels, each from what one run hands over: `frames` of a video with true and found boxes, `series`
of points, `clusters` into which frames are put, `images`, or `distributions` of numbers. A panel of `series` may also take one
series from each of several runs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .documents import load_document
from .errors import UsageError
from .plan import RunSpec, experiment_runs, runs_needed
from .presets import Preset
from .tables import Column, Table, build_rows, check_run, file_name

_KEYS = {
    "curve": ("metrics", "x", "y", "log_x", "costs", "series"),
    "frames": ("panels", "legend"),
    "series": ("panels", "columns"),
    "clusters": ("panels",),
    "images": ("panels",),
    "distributions": ("panels", "columns"),
}
_REQUIRED = {
    "curve": ("metrics", "x", "y", "series"),
    "frames": ("panels",),
    "series": ("panels",),
    "clusters": ("panels",),
    "images": ("panels",),
    "distributions": ("panels",),
}
_PANEL_KEYS: Mapping[str, tuple[str, ...]] = {
    "frames": ("frames", "together", "path"),
    "series": ("x_label", "y_label", "joined", "parts"),
    "clusters": ("frames",),
    "images": (),
    "distributions": ("x_label", "y_label", "style"),
}
"""What the panels of each kind may say beyond what all may."""


@dataclass(frozen=True)
class Part:
    """One of several runs of which a panel shows a series each."""

    label: str
    """What its series is called in the panel."""
    settings: Mapping[str, Any]
    """Over those of the panel."""


@dataclass(frozen=True)
class Panel:
    """One part of a figure: what one run hands over (of series: or several), and how it is drawn."""

    id: str
    label: str
    """What stands above it."""
    experiment: str
    settings: Mapping[str, Any]
    example: str
    """Name of the example, series or grouping among the run's artifacts."""
    data: Mapping[str, str] = field(default_factory=dict)
    """As in a table's row."""
    frames: tuple[int, ...] = ()
    """Which frames of the example, by position; none: all."""
    together: bool = False
    """The boxes of all frames in the first frame's picture, rather than a picture each."""
    path: bool = False
    """Lines through the centres of each object's boxes."""
    x_label: str = ""
    """Of series and distributions: the horizontal axis."""
    y_label: str = ""
    """Of series and distributions: the vertical axis."""
    joined: bool = False
    """Of series: whether a line joins the points of each."""
    style: Literal["overlaid", "stacked", "lines"] = "overlaid"
    """Of distributions: the densities over each other, each below the one before, or no densities but points by layer that lines
    join."""
    parts: tuple[Part, ...] = ()
    """Of series: the runs whose series the panel shows, one each; none: all series of the one run."""
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """One figure of the thesis."""

    number: str
    kind: Literal["curve", "frames", "series", "clusters", "images", "distributions"]
    caption: str
    source: str
    path: Path
    """Where the figure was read from, for messages."""
    points: Table | None = None
    """Of a curve: a table with the keys `series` and `point`."""
    x: str = ""
    """Metric of the horizontal axis."""
    y: str = ""
    """Metric of the vertical axis."""
    log_x: bool = False
    """Whether the horizontal axis is logarithmic."""
    costs: tuple[str, ...] = ()
    """Metrics written beside every point."""
    panels: tuple[Panel, ...] = ()
    """Of all but a curve: what is drawn, from left to right or from top to bottom."""
    legend: tuple[str, str] = ("ground truth", "found")
    """Of frames: what true and found boxes are called."""
    columns: int = 0
    """Of series and distributions: panels beside each other; 0: all of them."""

    @property
    def name(self) -> str:
        """The name of its files: "fig2_5"."""
        return file_name("figure", self.number)


def load_figure(path: Path) -> Figure:
    """Read and check one figure file.

    Raises:
        UsageError: which file, which point or panel, what was expected and what came.
    """
    document = load_document(path, "figure")
    number, kind = document["figure"], document["kind"]
    expected = f"{file_name('figure', number)}.yaml"
    if path.name != expected:
        raise UsageError(f"{path}: figure {number} belongs in a file named {expected}")
    foreign = {key for keys in _KEYS.values() for key in keys} - set(_KEYS[kind])
    if wrong := sorted(foreign & document.keys()):
        raise UsageError(f"{path}: {wrong[0]!r} does not go with kind {kind}; expected {', '.join(_KEYS[kind])}")
    if missing := [key for key in _REQUIRED[kind] if key not in document]:
        raise UsageError(f"{path}: the key {missing[0]!r} is missing; kind {kind} needs it")
    caption, source = document["caption"].strip(), document["source"]
    if kind != "curve":
        legend = document.get("legend", {"true": "ground truth", "found": "found"})
        panels, names = _panels(document["panels"], kind, path), (legend["true"], legend["found"])
        columns = document.get("columns", 0)
        return Figure(number, kind, caption, source, path, panels=panels, legend=names, columns=columns)
    costs = tuple(document.get("costs", ()))
    for axis in (document["x"], document["y"], *costs):
        if axis not in document["metrics"]:
            raise UsageError(
                f"{path}: metric {axis!r} is not declared; expected one of {', '.join(document['metrics'])}"
            )
    points = _points(document, path)
    axes = (document["x"], document["y"], document.get("log_x", False))
    return Figure(number, kind, caption, source, path, points, *axes, costs)


def find_figures(folder: Path) -> dict[str, Figure]:
    """Every figure of `folder` by its name ("fig2_5"), in the order of the thesis."""
    figures = [load_figure(path) for path in folder.glob("*.yaml")]
    figures.sort(key=lambda figure: [int(part) for part in figure.number.split(".")])
    return {figure.name: figure for figure in figures}


def figure_runs(figures: Iterable[Figure], preset: Preset, variants: Mapping[str, str]) -> list[RunSpec]:
    """Every run that `figures` need, once each; see `plan.runs_needed`."""
    runs: dict[str, RunSpec] = {}
    for figure in figures:
        needed = [] if figure.points is None else runs_needed([figure.points], preset, variants)
        needed += [run for panel in figure.panels for _, run in panel_runs(figure, panel, preset, variants)]
        runs |= {run.run_id: run for run in needed}
    return list(runs.values())


def panel_runs(figure: Figure, panel: Panel, preset: Preset, variants: Mapping[str, str]) -> list[tuple[str, RunSpec]]:
    """The runs that the panel shows, each that with the preset's first seed, and what their series are called there; empty
    where each series keeps its own name."""
    where = f"{figure.path}: panel {panel.id!r}"
    return [
        (
            part.label,
            experiment_runs(
                panel.experiment,
                {**panel.settings, **part.settings},
                panel.data,
                preset,
                variants,
                where,
                figure.name,
            )[0],
        )
        for part in panel.parts or (Part("", {}),)
    ]


def _points(document: Mapping[str, Any], path: Path) -> Table:
    columns = {name: Column(name=name, **values) for name, values in document["metrics"].items()}
    keys = {"series": "series", "point": "point"}
    if twice := keys.keys() & columns.keys():
        raise UsageError(f"{path}: metrics: {min(twice)!r} is a column already; give the metric another name")
    entries = [
        {**point, "id": f"{series['id']}_{point['id']}", "keys": {"series": series["label"], "point": point["label"]}}
        for series in document["series"]
        for point in series["points"]
    ]
    for entry in entries:
        del entry["label"]
    rows = build_rows(entries, keys, columns, path)
    return Table(
        "figure", document["figure"], document["caption"].strip(), document["source"], keys, columns, rows, path
    )


def _panels(entries: Iterable[Mapping[str, Any]], kind: str, path: Path) -> tuple[Panel, ...]:
    panels: dict[str, Panel] = {}
    for entry in entries:
        where = f"{path}: panel {entry['id']!r}"
        if entry["id"] in panels:
            raise UsageError(f"{where}: the id is used by an earlier panel; give each panel its own")
        foreign = {key for keys in _PANEL_KEYS.values() for key in keys} - set(_PANEL_KEYS[kind])
        if wrong := sorted(foreign & entry.keys()):
            known = ", ".join(_PANEL_KEYS[kind])
            raise UsageError(f"{where}: {wrong[0]!r} does not go with kind {kind}; expected {known}")
        labels = ("x_label", "y_label") if kind in ("series", "distributions") else ()
        if missing := [key for key in labels if key not in entry]:
            raise UsageError(f"{where}: the key {missing[0]!r} is missing; kind {kind} needs it")
        settings, data = entry.get("settings", {}), entry.get("data", {})
        parts = tuple(Part(part["label"], part.get("settings", {})) for part in entry.get("parts", ()))
        for part in parts or (Part("", {}),):
            check_run(entry["experiment"], {**settings, **part.settings}, data, where)
        if len({part.label for part in parts}) < len(parts):
            raise UsageError(f"{where}: parts: two of them have the same label; give each its own")
        frames = tuple(entry.get("frames", ()))
        given = {**entry, "settings": settings, "data": data, "frames": frames, "parts": parts}
        panels[entry["id"]] = Panel(**given)
    return tuple(panels.values())
