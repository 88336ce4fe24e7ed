"""Folders of results: the one of this build, and kept ones of earlier builds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from efficiency_bench.documents import read_csv
from efficiency_bench.records.run_record import RunRecord, load_record
from efficiency_core.errors import UsageError

THIS_BUILD = "this build"

Cells = Mapping[str, str]


@dataclass(frozen=True)
class Build:
    """A folder with tables and figures, and with run records in `runs`."""

    name: str
    """`THIS_BUILD`, or the name of a kept folder ("amd-epyc-2-cores")."""
    folder: Path

    @property
    def kept(self) -> bool:
        return self.name != THIS_BUILD

    @cached_property
    def records(self) -> dict[str, RunRecord]:
        """Run id -> record; a `RecordError` names a file that is none."""
        paths = sorted((self.folder / "runs").glob("*.json"))
        return {path.stem: load_record(path) for path in paths}

    @cached_property
    def by_experiment(self) -> dict[str, list[RunRecord]]:
        found: dict[str, list[RunRecord]] = {}
        for record in self.records.values():
            found.setdefault(record.experiment, []).append(record)
        return found

    @property
    def logs(self) -> dict[str, Path]:
        """Run id -> log of the run, also of one that has no record."""
        return {path.stem: path for path in sorted((self.folder / "logs" / "runs").glob("*.log"))}

    def table(self, name: str) -> list[Cells] | None:
        """The rows of the CSV file `name`; None where this build has none."""
        path = self.folder / f"{name}.csv"
        return read_csv(path) if path.is_file() else None


def find_builds(results: Path, kept: Sequence[Path]) -> list[Build]:
    """This build, then the kept ones; a `UsageError` names a folder that is not there, or two of one name."""
    builds = [Build(THIS_BUILD, results), *(Build(folder.resolve().name, folder) for folder in kept)]
    for build in builds:
        if not build.folder.is_dir():
            raise UsageError(f"{build.folder}: no such folder of results; `snakemake` makes results")
    names = [build.name for build in builds]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"--kept: two folders are called {twice[0]}; rename one")
    return builds
