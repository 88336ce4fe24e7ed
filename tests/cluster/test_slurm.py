"""A table on a real SLURM cluster of one node: jobs are killed, and the workflow goes on from there."""

import csv
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from efficiency_bench.records.run_record import load_record

TABLE = "results/table4_2.csv"
"""A data set and three runs."""
OPTIONS = (TABLE, "--config", "preset=longer", "--slurm-init-seconds-before-status-checks", "5")
PATIENCE_S = 1800


@pytest.fixture(autouse=True)
def longer(project: Any) -> None:
    """Preset `longer`: smoke whose trainings of the table do not end while they are being cancelled."""
    config = project.folder / "workflows" / "config"
    smoke = (config / "smoke.yaml").read_text().replace("preset: smoke", "preset: longer")
    found = smoke.count("epochs: 2\n      steps: 4\n")
    assert found == 1, "the training of image_matching"
    (config / "longer.yaml").write_text(smoke.replace("epochs: 2\n      steps: 4\n", "epochs: 60\n      steps: 4\n"))


class Build:
    """Snakemake at work, with its output in a file; it ends with the block at the latest."""

    def __init__(self, project: Any, log: Path, *arguments: str) -> None:
        self.project, self.log, self.started_ns = project, log, time.time_ns()
        with log.open("w") as file:
            self.process = subprocess.Popen(
                project.command(*OPTIONS, *arguments), cwd=project.folder, env=project.environment, stdout=file,
                stderr=subprocess.STDOUT,
            )  # fmt: skip

    def kill_a_training(self) -> str:
        """Cancel the job of a training that has begun; returns the id of its run."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until and self.process.poll() is None:
            for job, comment in (line.split("|") for line in self.project.slurm("squeue", "-h", "-tR", "-o%i|%k")):
                run_id = comment.rpartition("_wildcards_")[2]
                if comment.startswith("rule_train_") and self._began(run_id):
                    self.project.slurm("scancel", job)
                    return run_id
            time.sleep(0.2)
        raise AssertionError(f"no training was seen at work\n{self.log.read_text()}")

    def _began(self, run_id: str) -> bool:
        """Whether the command of a run was started by this build, and has come to where it keeps its work."""
        results = self.project.folder / "results"
        log, folder = results / "logs" / "runs" / f"{run_id}.log", results / "runs" / run_id
        return folder.is_dir() and log.exists() and log.stat().st_mtime_ns > self.started_ns

    def end(self) -> tuple[int, str]:
        """Exit status, and what was said."""
        return self.process.wait(PATIENCE_S), self.log.read_text()

    def __enter__(self) -> "Build":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


@pytest.mark.slow
def test_a_table_with_killed_jobs(slurm: Any, tmp_path: Path) -> None:
    runs = slurm.folder / "results" / "runs"
    with Build(slurm, tmp_path / "first.log", "--retries", "0") as build:
        killed = build.kill_a_training()
        status, said = build.end()
    assert status == 1 and "SLURM status is: 'CANCELLED'" in said, said
    assert not (runs / f"{killed}.json").exists() and not (slurm.folder / TABLE).exists()
    assert slurm.slurm("squeue", "-h") == []
    done = {path.name: path.stat().st_mtime_ns for path in runs.glob("*.json")}
    made = {path: path.stat().st_mtime_ns for path in slurm.folder.glob("data/*/*.h5")}

    with Build(slurm, tmp_path / "second.log") as build:
        again = build.kill_a_training()
        status, said = build.end()
    assert status == 0, said
    assert said.count("SLURM status is: 'CANCELLED'") == said.count("Trying to restart job") == 1
    assert {name: (runs / name).stat().st_mtime_ns for name in done} == done, "what was done is not done again"
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert (runs / f"{killed}.json").exists() and (runs / f"{again}.json").exists()
    with (slurm.folder / TABLE).open() as file:
        rows = [row for row in csv.DictReader(file) if not row[next(iter(row))].startswith("#")]
    assert {row["status"] for row in rows} <= {"measured", "reported_only"}
    assert any(row["status"] == "measured" and row["device"] for row in rows)


@pytest.mark.slow
def test_a_measurement_ends_on_a_node(slurm: Any) -> None:
    planned = slurm.snakemake("-n", "--cores", "2", "results/table4_1.csv", *OPTIONS[1:])
    target = re.search(r"results/runs/matching_cost-\w+-s0\.json", planned.stdout)
    assert target, planned.stderr
    done = slurm.snakemake(target[0], *OPTIONS[1:])
    assert done.returncode == 0, done.stderr
    record = load_record(slurm.folder / target[0])
    assert record.kind == "measure" and record.metrics["map_speedup"].value > 0
