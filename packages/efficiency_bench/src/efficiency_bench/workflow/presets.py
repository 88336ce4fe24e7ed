"""Presets: how large the runs behind the tables are, and what decides the settings of a run (`Preset.settings`)."""

import dataclasses
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, Strict, StringConstraints

from efficiency_bench import experiments
from efficiency_bench.documents import Added, Entry, Expected, Name, Settings, Source, Step, Whole, load_document
from efficiency_bench.workflow.tables import find_experiment
from efficiency_core.errors import UsageError
from efficiency_core.settings import build, convert


def _different(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) < len(seeds):
        raise ValueError
    return seeds


Seeds = Annotated[
    tuple[Annotated[int, Field(strict=True, ge=0), Expected("a whole number, 0 or more")], ...],
    Field(min_length=1),
    AfterValidator(_different),
    Expected("a list of different seeds such as [0, 1, 2]"),
]
Experiments = Annotated[Mapping[str, Settings], Expected("EXPERIMENT: {SETTING: VALUE}")]
TARGET = re.compile(r"(table|text|fig)[0-9]+_[0-9]+")
"""Names of tables and figures."""
Target = Annotated[
    str,
    StringConstraints(pattern=f"^{TARGET.pattern}(/[a-z0-9_]+)?$"),
    Expected("a table, figure or row such as table5_2 or table5_2/wa_1"),
]


@dataclass(frozen=True)
class Preset(Entry):
    """A file of `workflows/config`: the scale of every run."""

    name: Annotated[Name, Field(alias="preset")]
    """Name of the file without `.yaml`."""
    seeds: Seeds
    """Seeds of every experiment of kind "train"; a table shows the mean over them."""
    measure_seeds: Seeds
    """Seeds of every experiment of kind "measure", which repeats within one run."""
    data: Annotated[Mapping[str, Mapping[Name, Whole]], Expected("DATA SET: {OPTION: VALUE}")]
    """Options of `synthdata build` for each generated data set."""
    experiments: Experiments
    """Recipe of each experiment: settings that differ from its defaults."""
    path: Annotated[Path, Added] = Path()
    """File the preset was read from, for messages."""
    devices: Annotated[int, Strict(), Field(ge=1), Expected("a whole number from 1")] = 1
    """Devices of every training: GPUs, or processes on the CPU. Not part of a run's id."""
    own_seeds: Annotated[Mapping[str, Seeds], Expected("EXPERIMENT, TABLE OR FIGURE: a list of seeds")] = field(
        default_factory=dict
    )
    """Seeds of an experiment in place of those of its kind, or of all trainings of a table or figure."""
    claim_seeds: Annotated[Mapping[str, Seeds], Expected("CLAIM or CLAIM/ROW: a list of seeds")] = field(
        default_factory=dict
    )
    """Seeds of the trainings that a claim compares, or of one row of them, in place of those of the tables: more where few leave
    it undecided."""
    stand_ins: Annotated[
        Mapping[str, Annotated[str, Expected("the name of a data set")]],
        Expected("DATA SET: DATA SET THAT STANDS IN FOR IT"),
    ] = field(default_factory=dict)
    """Real data set -> data set to read where the real one is absent, instead of the stand-in it names itself."""
    targets: Annotated[
        Mapping[Target, Experiments], Expected("TABLE, FIGURE OR TABLE/ROW: {EXPERIMENT: {SETTING: VALUE}}")
    ] = field(default_factory=dict)
    """Table or figure ("table5_2") -> experiment -> settings of all its runs, over those of its rows: for a table that must be
    smaller than others, or whose rows shall share a run. A row of a table ("table5_2/wa_1") may have its own over these."""
    real: Annotated[Mapping[str, Mapping[str, Mapping[str, Any]]], Added] = field(default_factory=dict)
    """Folder of a real data set -> experiment -> recipe in place of the preset's (`data_sets.with_real_settings`)."""

    def seeds_of(self, experiment: str, target: str = "", claim: str = "") -> tuple[int, ...]:
        """The seeds of an experiment's runs for a row of a claim (`claim` is CLAIM/ROW), or for `target`, a table, a figure or
        TABLE/ROW: the row's or the whole's own ones, or the experiment's, or those of its kind."""
        trains = experiments.get(experiment).kind == "train"
        found = self.own_seeds.get(experiment, self.seeds if trains else self.measure_seeds)
        if not trains:
            return found
        whole = self.claim_seeds.get(claim.partition("/")[0], self.own_seeds.get(target.partition("/")[0], found))
        return self.claim_seeds.get(claim, whole)

    def settings(
        self, experiment: str, row: Mapping[str, Any], where: str, folders: Iterable[str] = (), target: str = ""
    ) -> Any:
        """The experiment's settings: its defaults, over them the recipe, those of the row, point or panel, and the preset's for
        `target`, a table, a figure or TABLE/ROW. One of the `folders` of the data sets, a real one, may bring the recipe.

        Raises:
            UsageError: the settings together are not valid, or two data sets bring a recipe.
        """
        real = {name: self.real[name][experiment] for name in folders if experiment in self.real.get(name, {})}
        if len(real) > 1:
            raise UsageError(f"{where}: {' and '.join(real)} both bring settings for {self.name}; only one may")
        recipe = next(iter(real.values()), self.experiments.get(experiment, {}))
        own = (self.targets.get(name, {}).get(experiment, {}) for name in (target.partition("/")[0], target))
        values = overlaid(recipe, row, *own)
        return build(experiments.get(experiment).settings_type, values, f"{where} with {self.path}")


def overlaid(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings over each other, the last on top: `{a: {x: 1, y: 1}}, {a: {y: 2}}` is `{a: {x: 1, y: 2}}`."""
    whole: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            below = whole.get(name)
            both = isinstance(below, Mapping) and isinstance(value, Mapping)
            whole[name] = overlaid(below, value) if both else value  # type: ignore[arg-type]
    return whole


def load_preset(path: Path) -> Preset:
    """Read and check one preset file.

    Raises:
        UsageError: an unknown experiment or setting, or a value of the wrong type; `data_sets.choose_variants` checks the data.
    """
    preset, source = load_document(path, Preset)
    if preset.name != path.stem:
        raise source.error(("preset",), f"expected the file's name {path.stem!r}, got {preset.name!r}")
    check_experiments(preset.experiments, source, ("experiments",))
    for name in preset.own_seeds:
        if not TARGET.fullmatch(name):
            find_experiment(name, source, ("own_seeds", name))
    for target, by_experiment in preset.targets.items():
        check_experiments(by_experiment, source, ("targets", target))
    return dataclasses.replace(preset, path=path)


def check_experiments(by_experiment: Mapping[str, Mapping[str, Any]], source: Source, steps: tuple[Step, ...]) -> None:
    """A `UsageError` unless the experiments that stand at `steps` are known and have the settings given there."""
    for name, values in by_experiment.items():
        found = find_experiment(name, source, (*steps, name))
        convert(found.settings_type, values, source.settings(*steps, name))


def check_targets(preset: Preset, known: Mapping[str, Collection[str]]) -> None:
    """A `UsageError` for a preset with settings or seeds for a table or figure, or settings for a row, that is not among the
    `known` ones: names of tables and figures, and of the rows of each."""
    for key, given in (("targets", preset.targets), ("own_seeds", filter(TARGET.fullmatch, preset.own_seeds))):
        for target in given:
            name, _, row = target.partition("/")
            if name not in known:
                raise UsageError(f"{preset.path}: {key}: no table or figure {name!r}; there are {', '.join(known)}")
            if row and row not in known[name]:
                rows = ", ".join(known[name]) or "none"
                raise UsageError(f"{preset.path}: {key}: no row {row!r} in {name}; there are {rows}")


def check_claims(preset: Preset, known: Iterable[str]) -> None:
    """A `UsageError` for a preset with seeds for a claim, or a row of one, that is not among the `known` ones."""
    if unknown := sorted(preset.claim_seeds.keys() - set(known)):
        raise UsageError(
            f"{preset.path}: claim_seeds: no claim or row {unknown[0]!r}; claims.yaml beside its folder has them"
        )


def find_preset(folder: Path, name: str) -> Preset:
    """The preset `name` among the YAML files of `folder`; a `UsageError` lists what there is."""
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in known:
        raise UsageError(f"{folder}: unknown preset {name!r}; there are {', '.join(known)}")
    return load_preset(folder / f"{name}.yaml")
