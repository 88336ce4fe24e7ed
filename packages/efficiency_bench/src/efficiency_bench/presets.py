"""Presets: how large the runs behind the tables are.

One YAML file per preset: which seeds, how large the generated data, which generated data set stands in for a real one
instead of its own stand-in, and settings of the experiments. A setting is looked up in the preset's `instead`, then in the
table's row, then in what the preset says of that table or figure (`targets`), then in what a real data set brings
(`data_sets.with_real_settings`), then in the preset's settings of the experiment, then in the experiment's defaults.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import experiments
from .documents import load_document
from .errors import UsageError
from .settings import build_settings


@dataclass(frozen=True)
class Preset:
    """The sizes of every run of one preset."""

    name: str
    """The file's name without `.yaml`."""
    seeds: tuple[int, ...]
    """Seeds of every experiment of kind "train"; a table shows the mean over them."""
    measure_seeds: tuple[int, ...]
    """Seeds of every experiment of kind "measure", which repeats within one run."""
    data: Mapping[str, Mapping[str, int]]
    """Options of `synthdata build` for each generated data set."""
    experiments: Mapping[str, Mapping[str, Any]]
    """Settings of each experiment that differ from its defaults."""
    path: Path
    """Where the preset was read from, for messages."""
    stand_ins: Mapping[str, str] = field(default_factory=dict)
    """Real data set -> the generated one in its place where it is not there, instead of the one it names itself."""
    targets: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    """Table or figure ("table5_2") -> experiment -> settings of the runs it needs, the same in all its rows: a table with
    costly rows can be made smaller than others."""
    instead: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Experiment -> settings that replace even those of the rows, so that rows which differ in nothing else share a run: for a
    preset whose numbers mean nothing."""
    real: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    """Folder of a real data set -> experiment -> settings over those of the preset."""

    def seeds_of(self, kind: str) -> tuple[int, ...]:
        """The seeds of an experiment of `kind` "train" or "measure"."""
        return self.seeds if kind == "train" else self.measure_seeds

    def settings(
        self, experiment: str, row: Mapping[str, Any], where: str, folders: Iterable[str] = (), target: str = ""
    ) -> Any:
        """The experiment's settings dataclass: its defaults, over them the values of the preset, of the data, of the preset
        for this table or figure, and of the row.

        `folders` are the names of the folders of the data that the run reads, `target` is the table or figure that needs it.
        """
        values = dict(self.experiments.get(experiment, {}))
        for folder in folders:
            values |= self.real.get(folder, {}).get(experiment, {})
        values |= self.targets.get(target, {}).get(experiment, {})
        values |= row
        values |= self.instead.get(experiment, {})
        return build_settings(experiments.get(experiment).settings_type, values, f"{where} with {self.path}")

    def data_variant(self, name: str, source: str) -> str:
        """The name of a data set's folder: name, source and the preset's options, so no two sizes share one.

        `moving_digits-mnist` at the generator's defaults, `moving_digits-mnist-test10-train20` otherwise.
        """
        sizes = (f"{key}{value}" for key, value in sorted(self.data.get(name, {}).items()))
        return "-".join([name, source, *sizes])


def load_preset(path: Path) -> Preset:
    """Read and check one preset file.

    Raises:
        UsageError: an unknown experiment or setting (with what there is), or a value of the wrong type. Whether
            the data sets are known, `data_sets.choose_variants` checks.
    """
    document = load_document(path, "preset")
    if document["preset"] != path.stem:
        raise UsageError(f"{path}: preset: expected the file's name {path.stem!r}, got {document['preset']!r}")
    targets = document.get("targets", {})
    _check_settings(document["experiments"], f"{path}: experiments")
    _check_settings(document.get("instead", {}), f"{path}: instead")
    for target, by_experiment in targets.items():
        _check_settings(by_experiment, f"{path}: targets.{target}")
    return Preset(
        name=document["preset"],
        seeds=tuple(document["seeds"]),
        measure_seeds=tuple(document["measure_seeds"]),
        data=document["data"],
        experiments=document["experiments"],
        path=path,
        stand_ins=document.get("stand_ins", {}),
        targets=targets,
        instead=document.get("instead", {}),
    )


def check_targets(preset: Preset, known: Iterable[str]) -> None:
    """Refuse a preset with settings for a table or figure that is not among the `known` ones.

    Raises:
        UsageError: which, and what there is.
    """
    names = list(known)
    if unknown := [target for target in preset.targets if target not in names]:
        raise UsageError(f"{preset.path}: targets: no table or figure {unknown[0]!r}; there are {', '.join(names)}")


def _check_settings(by_experiment: Mapping[str, Mapping[str, Any]], where: str) -> None:
    known = sorted(experiments.names())
    for name, values in by_experiment.items():
        if name not in known:
            raise UsageError(f"{where}: unknown experiment {name!r}; there are {', '.join(known)}")
        build_settings(experiments.get(name).settings_type, values, f"{where}.{name}")


def find_preset(folder: Path, name: str) -> Preset:
    """The preset `name` among the YAML files of `folder`; a `UsageError` lists what there is."""
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in known:
        raise UsageError(f"unknown preset {name!r}; there are {', '.join(known)}")
    return load_preset(folder / f"{name}.yaml")
