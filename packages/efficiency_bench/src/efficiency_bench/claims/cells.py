"""Places of values: `table2_1/none/keyframe_map` is a column of a row, `fig2_5/fixed_t4/map` one of a point of a curve
(SERIES_POINT), `fig3_6/cluster_errors/gradient_error_slope` a metric in the record of the run that a panel shows, and
`fig5_6/scale_factor:2x scale factor/top1_error` of one of the runs in its `parts`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from efficiency_bench import experiments
from efficiency_bench.documents import Source, Step
from efficiency_bench.figures.kinds import CurveFigure, Figure, Panel, PanelsFigure, SeriesPanel
from efficiency_bench.workflow.presets import overlaid
from efficiency_bench.workflow.tables import RunChoice, Table

T = TypeVar("T")
Target = Table | Figure


@dataclass(frozen=True)
class Cell:
    """What stands at a place: the runs that measure it, and the metric of their records."""

    place: str
    target: str
    """Name of the table or figure."""
    label: str
    """Name of the row, point or panel for people."""
    header: str
    """Name of the metric for people."""
    where: str
    """File and row, for messages."""
    metric: str = ""
    """Name of the metric in the records."""
    unit: str = ""
    """Unit that records must have; empty: any."""
    choice: RunChoice | None = None
    """The runs; None: nothing here measures it."""
    thesis_data: Mapping[str, str] = field(default_factory=dict)
    """Data sets of the thesis, as in `Table.thesis_data`."""
    printed: str = ""
    """The number that the thesis prints; empty: none."""
    claim: str = ""
    """Id of the claim that it is read for."""
    missing: str = ""
    """What is needed to measure it, where nothing here does."""

    @property
    def experiment(self) -> str:
        return self.choice.experiment if self.choice else ""

    @property
    def seeds_name(self) -> str:
        """What a preset may give seeds: claim and row, `ch5_wa_above_wn/vgg16_wn_64`; empty where no claim reads it."""
        return f"{self.claim}/{self.place.split('/')[1]}" if self.claim else ""

    @property
    def row(self) -> str:
        """Target and row, `table5_2/wa_1`, to which a preset may give settings."""
        return self.place.rpartition("/")[0]

    @property
    def kind(self) -> str:
        """ "train", "measure" or, where nothing measures it, empty."""
        return experiments.get(self.experiment).kind if self.choice else ""


def find_cell(place: str, targets: Mapping[str, Target], source: Source, steps: Sequence[Step]) -> Cell:
    """What stands at `place`, which the file names at `steps`; a `UsageError` lists what there is instead."""
    parts = place.split("/")
    if len(parts) != 3 or not all(parts):
        raise source.error(steps, f"expected TABLE/ROW/METRIC such as table2_1/none/keyframe_map, got {place!r}")
    name, row, metric = parts
    target = _known(name, targets, "table or figure", source, steps)
    if isinstance(target, PanelsFigure):
        cell = _of_panel(target, place, row, metric, source, steps)
    else:
        table = target.points if isinstance(target, CurveFigure) else target
        cell = _of_row(table, place, row, metric, source, steps)
    return replace(cell, thesis_data=target.thesis_data)


def _of_row(table: Table, place: str, row_id: str, metric: str, source: Source, steps: Sequence[Step]) -> Cell:
    row = _known(row_id, {row.id: row for row in table.rows}, f"row in {table.name}", source, steps)
    column = _known(metric, table.metrics, f"metric in {table.name}", source, steps)
    where = f"{table.path}: row {row.id!r}"
    label = ", ".join(row.keys.values()) if table.kind == "figure" else row.id.replace("_", " ")
    cell = Cell(place, table.name, label, column.header, where, unit=column.unit, printed=row.reported.get(metric, ""))
    for measure in row.measures:
        if metric in measure.metrics:
            return replace(cell, metric=measure.metrics[metric], choice=measure)
    if row.measures and not cell.printed:
        measured = ", ".join(name for measure in row.measures for name in measure.metrics)
        raise source.error(steps, f"row {row.id!r} of {table.name} does not measure {metric!r}; it measures {measured}")
    return replace(cell, missing=row.missing or f"{table.name} does not measure it")


def _of_panel(figure: PanelsFigure, place: str, name: str, metric: str, source: Source, steps: Sequence[Step]) -> Cell:
    panels: tuple[Panel, ...] = figure.panels
    panel_id, _, part_label = name.partition(":")
    panel = _known(panel_id, {panel.id: panel for panel in panels}, f"panel in {figure.name}", source, steps)
    parts = {part.label: part for part in panel.parts} if isinstance(panel, SeriesPanel) else {}
    choice = RunChoice(experiment=panel.experiment, settings=panel.settings, data=panel.data)
    label, header = metric.replace("_", " "), ""
    if parts or part_label:
        part = _known(part_label, parts, f"part of panel {panel_id!r} in {figure.name}", source, steps)
        choice = replace(choice, settings=overlaid(panel.settings, part.settings))
        label, header = part.label, label
    return Cell(place, figure.name, label, header, f"{figure.path}: panel {panel_id!r}", metric, choice=choice)


def _known(name: str, known: Mapping[str, T], what: str, source: Source, steps: Sequence[Step]) -> T:
    if name not in known:
        raise source.error(steps, f"no {what} named {name!r}; there are {', '.join(known) or 'none'}")
    return known[name]
