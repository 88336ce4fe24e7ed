"""Which run records of a folder are behind a cell of a table or a panel of a figure.

`effbench tabulate` knows the data folders and computes run ids. A report also shows kept results, whose data lie on no
disk, so that runs are found by their experiment, settings and data set instead.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from efficiency_bench.experiments import recorded
from efficiency_bench.records.run_record import RunRecord
from efficiency_bench.report.builds import Build
from efficiency_bench.workflow.data_sets import DataSet, load_data_sets, stand_in_chain, with_real_settings
from efficiency_bench.workflow.origin import name_datasets
from efficiency_bench.workflow.presets import Preset, load_preset
from efficiency_bench.workflow.tables import RunChoice


class Target(Protocol):
    """What asks for runs: a table or a figure."""

    @property
    def name(self) -> str: ...
    @property
    def thesis_data(self) -> Mapping[str, str]: ...


@dataclass(frozen=True)
class Choices:
    """The presets and data sets that decide which runs a row asks for."""

    presets: Mapping[str, Preset]
    data_sets: Mapping[str, DataSet]
    _settings: dict[tuple[Any, ...], dict[str, Any]] = field(default_factory=dict)
    """Settings that were computed already: hundreds of rows ask for few."""

    @classmethod
    def load(cls, workflows: Path) -> "Choices":
        """From `config/*.yaml` and `data.yaml` of the folder `workflows`."""
        data_sets = load_data_sets(workflows / "data.yaml")
        presets = (with_real_settings(load_preset(path), data_sets) for path in sorted(workflows.glob("config/*.yaml")))
        return cls({preset.name: preset for preset in presets}, data_sets)

    def runs(
        self, build: Build, choice: RunChoice, target: Target, line: Mapping[str, str], row: str = ""
    ) -> list[RunRecord]:
        """The records of `build` that `choice` of the table or figure `target` asks for, by seed.

        `line` is the one of its CSV file: its preset gives the settings, and its data sets are those that the runs read. `row` is
        the id of a table's row.
        """
        preset = self.presets.get(line["preset"])
        if preset is None:
            return []
        seeds = preset.seeds_of(choice.experiment, target.name)
        datasets = {"", *line["dataset"].split("; ")}
        found = [
            record
            for record in build.by_experiment.get(choice.experiment, ())
            if record.seed in seeds
            and self._reads(record, choice, preset)
            and datasets.issuperset(name_datasets([(choice, record)], target.thesis_data, record.run_id).split("; "))
            and record.settings == self._expected(choice, preset, f"{target.name}/{row}", record)
        ]
        return sorted(found, key=lambda record: record.seed)

    def _expected(self, choice: RunChoice, preset: Preset, target: str, record: RunRecord) -> dict[str, Any]:
        folders = tuple(fact.get("folder", name) for name, fact in record.data.items())
        text = json.dumps(choice.settings, sort_keys=True)
        key = (choice.experiment, text, preset.name, target, *(folder for folder in folders if folder in preset.real))
        if key not in self._settings:
            where = f"{target}: settings of {choice.experiment}"
            settings = preset.settings(choice.experiment, choice.settings, where, folders, target)
            self._settings[key] = recorded(settings)
        return self._settings[key]

    def _reads(self, record: RunRecord, choice: RunChoice, preset: Preset) -> bool:
        """Whether the run read the data sets of the choice, or what stands in for them."""
        for own, fact in record.data.items():
            name = choice.data.get(own, own)
            names = stand_in_chain(name, self.data_sets, preset) if name in self.data_sets else [name]
            if fact.get("folder", own).partition("-")[0] not in names:
                return False
        return True
