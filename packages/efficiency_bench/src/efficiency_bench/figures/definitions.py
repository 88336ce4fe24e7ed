"""The thesis's figures as data: one YAML file each (see `kinds`), and the runs that a figure needs."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from efficiency_bench.documents import Source, check_document
from efficiency_bench.figures.kinds import KINDS, CurveFigure, Figure, Panel, PanelsFigure, Part, SeriesPanel
from efficiency_bench.workflow.plan import RunSpec, experiment_runs, runs_needed
from efficiency_bench.workflow.presets import Preset, overlaid
from efficiency_bench.workflow.tables import check_measured, check_run
from efficiency_core.yaml_file import read_yaml


def load_figure(path: Path) -> Figure:
    """Read and check one figure file.

    Raises:
        UsageError: file, line and point or panel, what was expected and what came.
    """
    source = Source(*read_yaml(path))
    kind = source.content.get("kind")
    if kind not in KINDS:
        raise source.error(("kind",), f"expected one of {', '.join(KINDS)}, got {kind!r}")
    figure = check_document(KINDS[kind], source)
    if path.stem != figure.name:
        raise source.error(("figure",), f"figure {figure.figure} belongs in a file named {figure.name}.yaml")
    if isinstance(figure, CurveFigure):
        _check_curve(figure, source)
    else:
        _check_panels(figure, source)
    return replace(figure, path=path)


def find_figures(folder: Path) -> dict[str, Figure]:
    """Every figure of `folder` by its name ("fig2_5"), in the order of the thesis."""
    figures = [load_figure(path) for path in folder.glob("*.yaml")]
    figures.sort(key=lambda figure: [int(part) for part in figure.figure.split(".")])
    return {figure.name: figure for figure in figures}


def figure_runs(figures: Iterable[Figure], preset: Preset, variants: Mapping[str, str]) -> list[RunSpec]:
    """Every run that `figures` need, once each; see `plan.runs_needed`."""
    runs: dict[str, RunSpec] = {}
    for figure in figures:
        if isinstance(figure, CurveFigure):
            needed = runs_needed([figure.points], preset, variants)
        else:
            needed = [run for panel in figure.panels for _, run in panel_runs(figure, panel, preset, variants)]
        runs |= {run.run_id: run for run in needed}
    return list(runs.values())


def panel_runs(
    figure: PanelsFigure, panel: Panel, preset: Preset, variants: Mapping[str, str]
) -> list[tuple[str, RunSpec]]:
    """The runs that the panel shows, each with the preset's first seed, and the names of their series in the panel; the name
    is empty where each series keeps its own."""
    where = f"{figure.path}: panel {panel.id!r}"
    runs = []
    for part in _parts(panel):
        choice = replace(panel, settings=overlaid(panel.settings, part.settings))
        first, *_ = experiment_runs(choice, preset, variants, where, figure.name)
        runs.append((part.label, first))
    return runs


def _parts(panel: Panel) -> tuple[Part, ...]:
    return panel.parts if isinstance(panel, SeriesPanel) and panel.parts else (Part(""),)


def _check_curve(curve: CurveFigure, source: Source) -> None:
    for axis in (curve.x, curve.y, *curve.costs):
        if axis not in curve.metrics:
            known = ", ".join(curve.metrics)
            raise source.error((), f"metric {axis!r} is not declared; expected one of {known}")
    for name in ("point", "series"):
        if name in curve.metrics:
            raise source.error(("metrics",), f"{name!r} is a column already; give the metric another name", name)
    ids: set[str] = set()
    for at, series in enumerate(curve.series):
        for number, point in enumerate(series.points):
            steps = ("series", at, "points", number)
            if f"{series.id}_{point.id}" in ids:
                raise source.error(steps, "an earlier point has the same id; give each point its own")
            ids.add(f"{series.id}_{point.id}")
            check_measured(point, curve.metrics, source, steps)


def _check_panels(figure: PanelsFigure, source: Source) -> None:
    panels: tuple[Panel, ...] = figure.panels
    for number, panel in enumerate(panels):
        steps = ("panels", number)
        if panel.id in {other.id for other in panels[:number]}:
            raise source.error(steps, "an earlier panel has the same id; give each panel its own")
        check_run(panel, source, steps)
        parts = _parts(panel)
        if len({part.label for part in parts}) < len(parts):
            raise source.error((*steps, "parts"), "two of them have the same label; give each its own")
        for at, part in enumerate(parts):
            check_run(replace(panel, settings=part.settings, data={}), source, (*steps, "parts", at))
