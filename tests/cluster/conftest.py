"""A copy of the workflow to work in, and a SLURM cluster of one node."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEEDED = ("munged", "slurmctld", "slurmd", "sbatch")
BIN = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin"])


class Project:
    """A copy of the workflow, so that nothing is written to the repository, and Snakemake in it with the profile for SLURM."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for file in ("Snakefile", "environment.yml"):
            shutil.copy(ROOT / file, folder)
        for source in ("workflows", "profiles"):
            shutil.copytree(ROOT / source, folder / source)
        self.environment = os.environ | {"EFFICIENCY_DATA": "", "PATH": BIN}

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "snakemake", *arguments, "--workflow-profile", "profiles/slurm"]

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = self.command(*arguments)
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )

    def slurm(self, *command: str) -> list[str]:
        """Lines that a command of SLURM prints."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        pytest.skip("needs snakemake-executor-plugin-slurm")
    return Project(tmp_path_factory.mktemp("project"))


@pytest.fixture
def slurm(project: Project) -> Iterator[Project]:
    """The project with SLURM running on this machine."""
    missing = [tool for tool in NEEDED if shutil.which(tool, path=BIN) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: Debian's slurm-wlm and munge")
    if os.geteuid() or Path("/etc/slurm/slurm.conf").exists():
        pytest.skip("needs root, and a machine that belongs to no cluster")
    folder = tempfile.mkdtemp(prefix="slurm-")  # short: a socket lies in it
    tool = str(ROOT / "tests" / "cluster" / "slurm")
    subprocess.run([tool, "start", folder], env=project.environment, check=True)
    try:
        yield project
    finally:
        subprocess.run([tool, "stop", folder], env=project.environment, check=True)
        shutil.rmtree(folder)
