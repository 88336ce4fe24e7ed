"""Groups of run records that may judge a claim: of one preset, and of one source and device or with each seed on one device.
Records of `smoke` never do."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from efficiency_bench import experiments
from efficiency_bench.claims.cells import Cell
from efficiency_bench.records.run_record import RunRecord, load_record
from efficiency_bench.workflow.data_sets import DataSet, stand_in_chain
from efficiency_bench.workflow.plan import RunSpec, experiment_runs
from efficiency_bench.workflow.presets import Preset
from efficiency_bench.workflow.tabulate import load_run
from efficiency_core.errors import UsageError

RANKING = ("pretrained", "paper", "cpu", "quick")
"""Presets whose records judge, the preferred first. `pretrained` is nearest to the thesis where its own data sets are absent:
its networks start from ImageNet's weights too, while `paper` on generated data starts from random ones."""
THIS_BUILD = "this build"
Place = tuple[str, tuple[str, str]]
"""Source, and type and name of the device."""
Choice = tuple[tuple[str, str], ...]
"""(data set, name of the folder that its runs read) for each data set that has several folders."""


@dataclass(frozen=True)
class Group:
    """The records of one source and device that are runs of one preset."""

    source: str
    """ "this build", or the name of a folder of kept records; of a `Pool` several."""
    preset: Preset
    records: Mapping[str, Path]
    """Run id -> file of the record."""
    folders: Mapping[str, Sequence[str]]
    """Data set -> names of the folders that runs of it read."""
    data_sets: Mapping[str, DataSet]
    _plans: dict[tuple[str, str, Choice], list[RunSpec]] = field(default_factory=dict)
    _loaded: dict[str, RunRecord] = field(default_factory=dict)

    def choices(self, cells: Iterable[Cell]) -> Iterator[Choice]:
        """Ways to choose the folders that the cells' runs read, real data sets first."""
        wanted = dict.fromkeys(name for cell in cells for name in data_of(cell))
        options = [[(name, folder) for folder in self.candidates(name)] for name in wanted]
        return product(*(option for option in options if len(option) > 1))

    def candidates(self, name: str) -> list[str]:
        """Folders that runs of a data set may have read: its own, then those of its stand-ins."""
        chain = stand_in_chain(name, self.data_sets, self.preset)
        return [folder for one in chain for folder in self.folders.get(one, ())]

    def read(self, cells: Mapping[str, Cell], choice: Choice) -> dict[str, dict[int, RunRecord]]:
        """The records of cells that are compared with each other: place -> seed -> record."""
        return {place: self._runs(cell, choice) for place, cell in cells.items()}

    def source_of(self, record: RunRecord) -> str:
        """The source of a record that `read` gave."""
        return self.source

    def _runs(self, cell: Cell, choice: Choice) -> dict[int, RunRecord]:
        if cell.choice is None or not any(run.startswith(f"{cell.experiment}-") for run in self.records):
            return {}
        own = data_of(cell)
        key = cell.place, cell.claim, tuple(part for part in choice if part[0] in own)
        if key not in self._plans:
            self._plans[key] = self._plan(cell, dict(choice))
        return {run.seed: self._record(run) for run in self._plans[key] if run.run_id in self.records}

    def _plan(self, cell: Cell, chosen: Mapping[str, str]) -> list[RunSpec]:
        assert cell.choice is not None
        variants = {name: next(iter(self.candidates(name)), f"{name}-none") for name in self.data_sets}
        return experiment_runs(cell.choice, self.preset, variants | dict(chosen), cell.where, cell.row, cell.seeds_name)

    def _record(self, run: RunSpec) -> RunRecord:
        if run.run_id not in self._loaded:
            self._loaded[run.run_id] = load_run(self.records[run.run_id], run)
        return self._loaded[run.run_id]


@dataclass(frozen=True)
class Pool(Group):
    """Groups of one preset that differ in source or device. A seed counts if one of them has all runs that are compared; of two
    such groups the first counts. Runs on other contents of a data set than the first group with this set are left out."""

    groups: Sequence[Group] = ()
    contents: Mapping[str, str] = field(default_factory=dict)
    """Folder of a data set -> digest."""

    def read(self, cells: Mapping[str, Cell], choice: Choice) -> dict[str, dict[int, RunRecord]]:
        found: dict[str, dict[int, RunRecord]] = {place: {} for place in cells}
        for group in self.groups:
            runs = group.read(cells, choice)
            for seed in set.intersection(*map(set, runs.values())):
                if all(self._same_data(by_seed[seed]) for by_seed in runs.values()):
                    for place, by_seed in runs.items():
                        found[place].setdefault(seed, by_seed[seed])
        return found

    def source_of(self, record: RunRecord) -> str:
        return next(group.source for group in self.groups if group._loaded.get(record.run_id) is record)

    def _same_data(self, record: RunRecord) -> bool:
        return all(self.contents[folder_of(name, facts)] == facts["digest"] for name, facts in record.data.items())


def folder_of(name: str, facts: Mapping[str, Any]) -> str:
    """Name of the folder that a run read a data set from."""
    return str(facts.get("folder", name))


def find_groups(
    folders: Sequence[Path], presets: Mapping[str, Preset], data_sets: Mapping[str, DataSet]
) -> list[Group]:
    """The groups of all records in `folders`, the preferred first: this build before kept ones, by preset as in `RANKING`, each
    before the pool that it is in.

    Raises:
        UsageError: a folder is not there, is one above folders of records, or holds a record that cannot be read.
    """
    found: dict[Place, dict[str, Path]] = {}
    contents: dict[Place, dict[str, str]] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{folder}: no such folder; expected a folder of run records, such as results/runs")
        paths = sorted(folder.glob("*.json"))
        if not paths and (inside := sorted([*folder.glob("runs"), *folder.glob("*/runs")])):
            raise UsageError(f"{folder}: holds no run records itself; did you mean {' '.join(map(str, inside))}?")
        for path in paths:
            record = load_record(path)
            if record.preset not in RANKING:
                continue
            place = source_name(folder), (record.device["type"], record.device["name"])
            found.setdefault(place, {})[record.run_id] = path
            read = {folder_of(name, facts): facts["digest"] for name, facts in record.data.items()}
            contents[place] = {**read, **contents.get(place, {})}
    return [
        group
        for kept in (False, True)
        for name in RANKING
        if name in presets
        for group in _groups(
            presets[name],
            {place: found[place] for place in found if (place[0] != THIS_BUILD) == kept},
            contents,
            data_sets,
        )
    ]


def _groups(
    preset: Preset,
    records: Mapping[Place, Mapping[str, Path]],
    contents: Mapping[Place, Mapping[str, str]],
    data_sets: Mapping[str, DataSet],
) -> list[Group]:
    """The group of each source and device, and, where there are several, their pool."""
    groups = [Group(place[0], preset, records[place], _folders(contents[place]), data_sets) for place in records]
    if len(groups) < 2:
        return groups
    shared: dict[str, str] = {}
    for place in records:
        shared = {**contents[place], **shared}
    source = " + ".join(dict.fromkeys(group.source for group in groups))
    return [*groups, Pool(source, preset, {}, _folders(shared), data_sets, groups=groups, contents=shared)]


def source_name(folder: Path) -> str:
    """ "amd-epyc-2-cores" of results/reference/amd-epyc-2-cores/runs; "this build" of any other folder."""
    place = folder.resolve()
    return place.parent.name if place.parent.parent.name == "reference" else THIS_BUILD


def data_of(cell: Cell) -> list[str]:
    """Names of the data sets that the cell's runs read."""
    if cell.choice is None:
        return []
    return [cell.choice.data.get(name, name) for name in experiments.get(cell.experiment).data]


def _folders(contents: Iterable[str]) -> dict[str, list[str]]:
    """Data set -> names of its folders."""
    found: dict[str, list[str]] = {}
    for folder in contents:
        found.setdefault(folder.partition("-")[0], []).append(folder)
    return found
