"""What a build rests on when nothing but times says what is old, where it may run, and what a killed one leaves."""

import os
import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from efficiency_bench.measure import devices
from efficiency_bench.records.run_record import load_record

ROOT = Path(__file__).parents[2]


class Planned:
    """What a target needs with some configuration, as a dry run says, made up: empty files, newer than what they rest on."""

    def __init__(self, project: Any, target: str) -> None:
        self.project, self.target = project, target

    def rules(self, **config: str) -> list[str]:
        """The rules of the jobs that a dry run plans."""
        done = self.project.snakemake("-n", self.target, **config)
        assert done.returncode == 0, done.stderr
        return sorted(re.findall(r"^(?:local)?rule (\w+):", done.stdout + done.stderr, re.MULTILINE))

    def make_up(self, **config: str) -> None:
        """The outputs of all jobs, in the order of the plan, without a trace in `.snakemake`."""
        done = self.project.snakemake("-n", self.target, **config)
        for outputs in re.findall(r"^    output: (.+)$", done.stdout + done.stderr, re.MULTILINE):
            for name in outputs.split(", "):
                path = self.project.folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text('{"device": {"type": "cpu"}}')
        shutil.rmtree(self.project.folder / ".snakemake", ignore_errors=True)


def test_a_table_rests_on_the_preset_the_data_root_and_the_device(project: Any) -> None:
    """Also where `.snakemake` is gone, and nothing but times says what is old."""
    planned = Planned(project, "my results/table5_4.csv")
    planned.make_up(preset="smoke")
    assert planned.rules(preset="smoke") == []
    assert {"tabulate", "train"} <= {*planned.rules(preset="paper")}
    assert planned.rules(preset="smoke") == ["tabulate"], "and back"
    planned.make_up(preset="smoke")
    assert planned.rules(preset="smoke", mix_devices="true") == ["tabulate"]
    next(project.folder.glob("my results/runs/image_classification*.json")).unlink()
    assert planned.rules(preset="smoke") == ["tabulate", "train"], "a record was deleted"
    (project.folder / "real data" / "cifar10" / "train").mkdir(parents=True)
    (project.folder / "real data" / "cifar10" / "test").mkdir()
    assert {"index", "train", "tabulate"} == {*planned.rules(preset="smoke")}
    shutil.rmtree(project.folder / "real data" / "cifar10")
    for record in project.folder.glob("my results/runs/*.json"):
        record.write_text('{"device": {"type": "cuda"}}')
    shutil.rmtree(project.folder / "my results" / ".src" / "devices")
    assert {"train", "tabulate"} == {*planned.rules(preset="smoke")}, "its records are of another device"


def test_cuda_without_a_driver_is_refused_before_anything_is_deleted(project: Any) -> None:
    if any(path.exists() for path in devices._DRIVERS):
        pytest.skip("this machine has a driver for GPUs")
    Planned(project, "my results/fig5_2.svg").make_up(preset="smoke")
    before = sorted((project.folder / "my results" / "runs").iterdir())
    done = project.snakemake("my results/fig5_2.svg", "--cores", "1", preset="smoke", device="cuda")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: device=cuda, but no driver for GPUs is installed on this ")
    assert sorted((project.folder / "my results" / "runs").iterdir()) == before


def test_from_another_folder(project: Any, tmp_path: Path) -> None:
    elsewhere = project.__class__.__new__(project.__class__)
    elsewhere.folder, elsewhere.cwd = project.folder, tmp_path
    done = elsewhere.snakemake(
        "-n", "-s", str(project.folder / "Snakefile"), "results/fig5_2.svg", data_root="", results="results"
    )
    assert done.returncode == 0, done.stderr
    assert "effbench run activation_distributions " in done.stdout + done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [".snakemake", "results"]


def test_rules_name_the_conda_environment_of_the_repository(project: Any) -> None:
    (name,) = re.findall(r"^name: (\S+)$", (ROOT / "environment.yml").read_text(), re.MULTILINE)
    assert re.search(
        rf'^ENVIRONMENT = \(\n    "{name}"\n', (ROOT / "workflows/rules/common.smk").read_text(), re.MULTILINE
    )
    for file in ROOT.glob("workflows/rules/*.smk"):
        assert set(re.findall(r"conda:\s+(.+)", file.read_text())) <= {"ENVIRONMENT"}, file.name


CONDA = """#!/bin/sh
case "$*" in
    "info --json") echo '{"conda_prefix": "'"$FAKE_CONDA"'", "platform": "linux-64"}' ;;
    --version) echo conda 25.1.0 ;;
    *) echo '{"get": {"channel_priority": "strict"}}' ;;
esac
"""


@pytest.mark.slow
def test_a_build_that_was_killed_goes_on_and_another_preset_shares_its_runs(
    project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with `--sdm conda`, here with a conda that only says which environment it would activate."""
    folder, planned = project.folder, Planned(project, "my results/fig5_2.svg")
    shutil.rmtree(folder / "my results", ignore_errors=True)
    build = (planned.target, "--cores", "1")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "conda").write_text(CONDA)
    (tmp_path / "bin" / "conda").chmod(0o755)
    (tmp_path / "bin" / "activate").write_text(f'echo "$1" >> "{tmp_path}/activated"\n')
    with monkeypatch.context() as patch:
        patch.setenv("FAKE_CONDA", str(tmp_path))
        patch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
        first = project.start(*build, "--sdm", "conda", preset="smoke", device="auto")
    end = time.monotonic() + 300
    while not list(folder.glob("my results/logs/runs/*.log")):
        assert time.monotonic() < end and first.poll() is None, "the job never began"
        time.sleep(0.05)
    first.kill()
    first.communicate()
    assert (tmp_path / "activated").read_text() == "efficiency\n"
    assert list(folder.glob(".snakemake/locks/*")), "Snakemake leaves its lock"
    done = project.snakemake(*build, preset="smoke", device="auto")
    assert done.returncode == 0, done.stderr
    (record,) = folder.glob("my results/runs/*.json")
    assert load_record(record).preset == "smoke" and not list(folder.glob("my results/runs/.*"))
    assert not list(folder.glob(".snakemake/locks/*")) and not (folder / ".snakemake" / ".lock").exists()
    assert planned.rules(preset="smoke", device=devices.device_here("auto")) == [], "auto is the device that it finds"
    config = folder / "workflows" / "config"
    (config / "twin.yaml").write_text((config / "smoke.yaml").read_text().replace("preset: smoke", "preset: twin"))
    assert planned.rules(preset="twin") == ["plot"], "the run is the same with this preset"
    record.write_text(record.read_text().replace('"value": ', '"value": 1', 1))
    failed = project.snakemake(*build, preset="twin", device="auto")
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].startswith("my results/logs/plot/fig5_2.log: error: record my results/runs/")
    assert "was changed after its run wrote it; delete it and run again" in failed.stderr.splitlines()[-1]
