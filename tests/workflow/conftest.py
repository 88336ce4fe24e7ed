"""The tables, figures, data sets and presets of the workflow, and the runs that follow from them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from efficiency_bench.figures.definitions import figure_runs, find_figures
from efficiency_bench.workflow.data_sets import Variant, choose_variants, load_data_sets, with_real_settings
from efficiency_bench.workflow.plan import RunSpec, runs_needed
from efficiency_bench.workflow.presets import Preset, find_preset
from efficiency_bench.workflow.tables import Table, find_tables

ROOT = Path(__file__).parents[2]
PRESETS = ("smoke", "quick", "cpu", "pretrained", "paper")


class Workflow:
    """The folder `workflows`, read once."""

    def __init__(self) -> None:
        self.tables = find_tables(ROOT / "workflows" / "tables")
        self.figures = find_figures(ROOT / "workflows" / "figures")
        self.data_sets = load_data_sets(ROOT / "workflows" / "data.yaml")
        folder = ROOT / "workflows" / "config"
        self._presets = {name: with_real_settings(find_preset(folder, name), self.data_sets) for name in PRESETS}
        self._stand_in_runs = cache(self._runs_of)

    def tables_of(self, *starts: str) -> dict[str, Table]:
        """Tables whose name starts with one of these texts."""
        return {name: table for name, table in self.tables.items() if name.startswith(starts)}

    def preset(self, name: str) -> Preset:
        """A preset with what real data sets change in it."""
        return self._presets[name]

    def variants(self, preset: str, root: Path | None = None) -> dict[str, Variant]:
        """Data set -> the form of it that is read with the data root `root`."""
        return choose_variants(self.data_sets, self.preset(preset), str(root or ""))

    def runs(
        self, names: Iterable[str], preset: str, root: Path | None = None, seeds: tuple[int, ...] | None = None
    ) -> dict[str, RunSpec]:
        """The runs of some tables and figures by their ids, with the preset's seeds or others."""
        of_one = self._runs_of if root else self._stand_in_runs  # a data root may get more data sets
        return {run.run_id: run for name in names for run in of_one(name, preset, root, seeds)}

    def _runs_of(self, name: str, preset_name: str, root: Path | None, seeds: tuple[int, ...] | None) -> list[RunSpec]:
        preset = self.preset(preset_name)
        preset = preset if seeds is None else replace(preset, seeds=seeds)
        folders = {data_set: variant.folder for data_set, variant in self.variants(preset_name, root).items()}
        if name in self.tables:
            return runs_needed([self.tables[name]], preset, folders)
        return figure_runs([self.figures[name]], preset, folders)


@pytest.fixture(params=PRESETS)
def preset(request: pytest.FixtureRequest) -> str:
    """The name of every preset in turn."""
    return str(request.param)


@pytest.fixture(scope="session")
def workflow() -> Workflow:
    return Workflow()


class Project:
    """A copy of the workflow and of the packages' sources, so that nothing is written to the repository."""

    def __init__(self, folder: Path) -> None:
        self.folder = self.cwd = folder
        shutil.copy(ROOT / "Snakefile", folder)
        for source in ("workflows", "profiles", "packages", "datasets"):
            ignored = shutil.ignore_patterns("__pycache__", "tests", ".*", "*.egg-info")
            shutil.copytree(ROOT / source, folder / source, ignore=ignored)
        shutil.copy(ROOT / "environment.yml", folder)
        for place in (
            "MNIST/raw",
            *(f"ILSVRC2015/{kind}/{part}" for kind in ("Data", "Annotations") for part in ("VID", "DET")),
        ):
            (folder / "real data" / place).mkdir(parents=True)

    def start(self, *arguments: str, **config: str) -> subprocess.Popen[str]:
        """Start Snakemake with the copied packages and the paper's preset, digits and ImageNet VID being there."""
        packages = [*self.folder.glob("packages/*/src"), self.folder / "datasets" / "src"]
        environment = os.environ | {
            "EFFICIENCY_DATA": "",
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": os.pathsep.join(map(str, packages)),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        keys = {"preset": "paper", "data_root": "real data", "device": "cpu", "results": "my results"} | config
        command = [sys.executable, "-m", "snakemake", *arguments, "--config"]
        command += [f"{key}={value}" for key, value in keys.items()]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=self.cwd, env=environment, **pipes)  # type: ignore[call-overload,no-any-return]

    def snakemake(self, *arguments: str, **config: str) -> subprocess.CompletedProcess[str]:
        """Run Snakemake to its end."""
        started = self.start(*arguments, **config)
        out, error = started.communicate()
        return subprocess.CompletedProcess(started.args, started.returncode, out, error)

    def digests(self) -> dict[str, int]:
        """Name of each digest of sources -> time of its file."""
        return {path.stem: path.stat().st_mtime_ns for path in self.folder.glob("my results/.src/*.sha256")}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("a project"))
