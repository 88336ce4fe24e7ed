"""The runs that a table needs: the one place that turns rows, a preset and data into run ids."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from efficiency_bench import experiments
from efficiency_bench.records.run_record import run_id
from efficiency_bench.workflow.presets import Preset
from efficiency_bench.workflow.tables import Measure, Row, RunChoice, Table
from efficiency_core.errors import UsageError
from efficiency_core.settings import build, changed, format_assignments


@dataclass(frozen=True)
class RunSpec:
    """One run: an experiment with all its settings, one seed, and the data it reads."""

    run_id: str
    """Name of its record without `.json`."""
    experiment: str
    kind: str
    """ "train" or "measure"."""
    settings: Mapping[str, Any]
    """Every setting, nested as in the record."""
    assignments: tuple[str, ...]
    """Settings that differ from the experiment's defaults, as `--set` takes them: "training.gamma=0.3"."""
    seed: int
    data: Mapping[str, str]
    """Data set -> name of its folder."""
    start: "RunSpec | None" = None
    """Run whose network this one starts from."""


def measure_runs(
    table: Table, row: Row, measure: Measure, preset: Preset, variants: Mapping[str, str]
) -> list[RunSpec]:
    """The runs, one per seed, behind one experiment of one row; see `experiment_runs`."""
    where = f"{table.path}: row {row.id!r}"
    return experiment_runs(measure, preset, variants, where, f"{table.name}/{row.id}")


def experiment_runs(
    choice: RunChoice, preset: Preset, variants: Mapping[str, str], where: str, target: str = "", claim: str = ""
) -> list[RunSpec]:
    """The runs, one per seed, of one choice; `Preset.settings` says what `target` does, `Preset.seeds_of` what `claim` does.

    `variants` has the name of the folder of every data set: "moving_digits" -> "moving_digits-mnist".

    Raises:
        UsageError: `variants` lacks a data set that is read, or the settings together are not valid.
    """
    name = choice.experiment
    data = _folders(name, choice.data, variants, where)
    settings = preset.settings(name, choice.settings, f"{where}: settings of {name}", data.values(), target)
    seeds = preset.seeds_of(name, target, claim)
    return [_spec(name, settings, data, seed, variants, f"{where}: start of {name}") for seed in seeds]


def start_settings(start: experiments.Start, where: str) -> Any:
    return build(experiments.get(start.experiment).settings_type, start.settings, where)


def _spec(
    name: str, settings: Any, data: Mapping[str, str], seed: int, variants: Mapping[str, str], where: str
) -> RunSpec:
    experiment = experiments.get(name)
    wanted = experiment.start(settings)
    start = None
    if wanted is not None:
        read = _folders(wanted.experiment, wanted.data, variants, where)
        start = _spec(wanted.experiment, start_settings(wanted, where), read, seed, variants, where)
    every = experiments.recorded(settings)
    return RunSpec(
        run_id=run_id(name, every, {**data, **({"start": start.run_id} if start else {})}, seed),
        experiment=name,
        kind=experiment.kind,
        settings=every,
        assignments=tuple(format_assignments(changed(settings))),
        seed=seed,
        data=data,
        start=start,
    )


def with_starts(runs: Iterable[RunSpec]) -> list[RunSpec]:
    """The runs and those that they start from, once each; a run comes after the one it starts from."""
    every: dict[str, RunSpec] = {}
    for run in runs:
        for one in [*(with_starts([run.start]) if run.start else []), run]:
            every.setdefault(one.run_id, one)
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
