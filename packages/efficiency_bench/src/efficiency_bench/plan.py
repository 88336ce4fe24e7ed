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
    """The runs, one per seed, behind one experiment of one row; see `experiment_runs`."""
    where = f"{table.path}: row {row.id!r}"
    return experiment_runs(measure.experiment, measure.settings, measure.data, preset, variants, where)


def experiment_runs(
    name: str,
    changes: Mapping[str, Any],
    instead: Mapping[str, str],
    preset: Preset,
    variants: Mapping[str, str],
    where: str,
) -> list[RunSpec]:
    """The runs, one per seed, of the experiment `name`.

    Args:
        changes: settings over those of the data, the preset and the experiment's defaults.
        instead: data set the experiment reads -> the one to read in its place; others are read as they are.
        variants: data set -> the name of its folder ("moving_digits" -> "moving_digits-mnist").
        where: opens the message of an error.

    Raises:
        UsageError: `variants` lacks a data set that is read, or the settings together are not valid.
    """
    experiment = experiments.get(name)
    data = {}
    for own in experiment.data:
        chosen = instead.get(own, own)
        if chosen not in variants:
            known = f"; there are {', '.join(variants)}" if variants else ""
            raise UsageError(
                f"{where}: {name} reads {chosen}: expected its folder (--data {chosen}=DIR), got none{known}"
            )
        data[own] = variants[chosen]
    settings = preset.settings(name, changes, f"{where}: settings of {name}", data.values())
    every = settings_to_json(settings)
    return [
        RunSpec(
            run_id=run_id(name, every, data, seed),
            experiment=name,
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
