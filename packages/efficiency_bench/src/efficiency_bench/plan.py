"""Which runs a table needs: the one place that turns rows, a preset and data into run ids."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from . import experiments
from .errors import UsageError
from .presets import Preset
from .records import run_id
from .settings import build_settings, changed_settings, format_assignments, settings_to_json
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
    start: "RunSpec | None" = None
    """The run whose network this one starts from."""


def measure_runs(
    table: Table, row: Row, measure: Measure, preset: Preset, variants: Mapping[str, str]
) -> list[RunSpec]:
    """The runs, one per seed, behind one experiment of one row; see `experiment_runs`."""
    where = f"{table.path}: row {row.id!r}"
    return experiment_runs(measure.experiment, measure.settings, measure.data, preset, variants, where, table.name)


def experiment_runs(
    name: str,
    changes: Mapping[str, Any],
    instead: Mapping[str, str],
    preset: Preset,
    variants: Mapping[str, str],
    where: str,
    target: str = "",
) -> list[RunSpec]:
    """The runs, one per seed, of the experiment `name`.

    Args:
        changes: settings over those of the data, the preset and the experiment's defaults.
        instead: data set the experiment reads -> the one to read in its place; others are read as they are.
        variants: data set -> the name of its folder ("moving_digits" -> "moving_digits-mnist").
        where: opens the message of an error.
        target: the table or figure that needs them, for which the preset may have settings of its own.

    Raises:
        UsageError: `variants` lacks a data set that is read, or the settings together are not valid.
    """
    experiment = experiments.get(name)
    data = _folders(name, instead, variants, where)
    settings = preset.settings(name, changes, f"{where}: settings of {name}", data.values(), target)
    return [
        _spec(name, settings, data, seed, variants, f"{where}: start of {name}")
        for seed in preset.seeds_of(experiment.kind)
    ]


def start_settings(start: experiments.Start, where: str) -> Any:
    """The settings of the run that another one starts from."""
    return build_settings(experiments.get(start.experiment).settings_type, start.settings, where)


def _spec(
    name: str, settings: Any, data: Mapping[str, str], seed: int, variants: Mapping[str, str], where: str
) -> RunSpec:
    experiment = experiments.get(name)
    wanted = experiment.start(settings)
    start = None
    if wanted is not None:
        read = _folders(wanted.experiment, wanted.data, variants, where)
        start = _spec(wanted.experiment, start_settings(wanted, where), read, seed, variants, where)
    every = settings_to_json(settings)
    return RunSpec(
        run_id=run_id(name, every, {**data, **({"start": start.run_id} if start else {})}, seed),
        experiment=name,
        kind=experiment.kind,
        settings=every,
        assignments=tuple(format_assignments(changed_settings(settings))),
        seed=seed,
        data=data,
        start=start,
    )


def with_starts(runs: Iterable[RunSpec]) -> list[RunSpec]:
    """The runs and those that they start from, once each, a start before what starts from it."""
    every: dict[str, RunSpec] = {}
    for run in runs:
        chain = [run]
        while chain[-1].start is not None:
            chain.append(chain[-1].start)
        every |= {one.run_id: one for one in reversed(chain) if one.run_id not in every}
    return list(every.values())


def _folders(name: str, instead: Mapping[str, str], variants: Mapping[str, str], where: str) -> dict[str, str]:
    data = {}
    for own in experiments.get(name).data:
        chosen = instead.get(own, own)
        if chosen not in variants:
            known = f"; there are {', '.join(variants)}" if variants else ""
            raise UsageError(
                f"{where}: {name} reads {chosen}: expected its folder (--data {chosen}=DIR), got none{known}"
            )
        data[own] = variants[chosen]
    return data


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
