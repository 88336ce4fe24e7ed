"""Which runs a table needs: the one place that turns rows, a preset and data into run ids."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from . import experiments
from .errors import UsageError
from .presets import Preset
from .records import run_id
from .settings import changed_settings, format_assignments, settings_to_json
from .tables import Measure, Row, Table


@dataclass(frozen=True)
class RunSpec:
    """One run: an experiment with all its settings, one seed, and the data it reads."""

    run_id: str
    """Its record lies in `{run_id}.json`."""
    experiment: str
    kind: str
    """ "train" or "measure"."""
    settings: Mapping[str, Any]
    """Every setting, as the record holds it."""
    assignments: tuple[str, ...]
    """The settings that differ from the experiment's defaults, as `--set` takes them."""
    seed: int
    data: Mapping[str, str]
    """Data set -> the name of its folder."""


def measure_runs(
    table: Table, row: Row, measure: Measure, preset: Preset, variants: Mapping[str, str]
) -> list[RunSpec]:
    """The runs, one per seed, behind one experiment of one row.

    Args:
        variants: data set -> the name of its folder ("moving_digits" -> "moving_digits-mnist").

    Raises:
        UsageError: `variants` lacks a data set the experiment reads, or row and preset together make no valid
            settings.
    """
    experiment = experiments.get(measure.experiment)
    where = f"{table.path}: row {row.id!r}: settings of {measure.experiment}"
    settings = preset.settings(measure.experiment, measure.settings, where)
    for name in experiment.data:
        if name not in variants:
            raise UsageError(f"{experiment.name} reads {name}: expected its folder (--data {name}=DIR), got none")
    data = {name: variants[name] for name in experiment.data}
    every = settings_to_json(settings)
    return [
        RunSpec(
            run_id=run_id(experiment.name, every, data, seed),
            experiment=experiment.name,
            kind=experiment.kind,
            settings=every,
            assignments=tuple(format_assignments(changed_settings(settings))),
            seed=seed,
            data=data,
        )
        for seed in preset.seeds_of(experiment.kind)
    ]


def runs_needed(tables: Iterable[Table], preset: Preset, variants: Mapping[str, str]) -> list[RunSpec]:
    """Every run that `tables` need, once each, in the order of first need; see `measure_runs`."""
    runs = {
        run.run_id: run
        for table in tables
        for row in table.rows
        for measure in row.measures
        for run in measure_runs(table, row, measure, preset, variants)
    }
    return list(runs.values())
