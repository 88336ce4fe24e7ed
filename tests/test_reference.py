"""The kept results are what their run records say."""

import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pytest

from efficiency_bench.records.artifacts import artifacts_path, load_artifacts
from efficiency_bench.records.run_record import load_record
from efficiency_bench.records.sources import folder_digest
from efficiency_bench.workflow.data_sets import choose_variants, load_data_sets
from efficiency_bench.workflow.presets import load_preset
from efficiency_bench.workflow.tables import load_table
from efficiency_bench.workflow.tabulate import tabulate, write_table

ROOT = Path(__file__).parents[1]
KEPT = sorted(ROOT.glob("results/reference/*/table*.csv"))


@pytest.mark.parametrize("kept", KEPT, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_kept_table_follows_from_its_records(kept: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(kept, dtype=str, keep_default_na=False)
    presets = {name for name in frame["preset"] if name}
    assert len(presets) == 1
    preset = load_preset(ROOT / "workflows" / "config" / f"{presets.pop()}.yaml")
    table = load_table(ROOT / "workflows" / "tables" / f"{kept.stem}.yaml")
    if frame["dataset"].str.contains("mnist").any():
        (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    if frame["dataset"].str.contains("CIFAR-10 (JPEG)", regex=False).any():
        for split in ("train", "test"):
            (tmp_path / "cifar10" / split).mkdir(parents=True)
    variants = choose_variants(load_data_sets(ROOT / "workflows" / "data.yaml"), preset, str(tmp_path))
    folders = {name: variant.folder for name, variant in variants.items()}
    again = tabulate(table, preset, kept.parent / "runs", folders, allow_missing=True)
    pd.testing.assert_frame_equal(frame, again)
    for written in write_table(table, again, tmp_path / kept.name):
        assert written.read_bytes() == (kept.parent / written.name).read_bytes(), written.name


def committed_digests(commit: str, experiment: str, packages: Iterable[str], folder: Path) -> dict[str, str]:
    """Digests of the source that an experiment rests on as it is in a commit, by that commit's own rule."""
    if not folder.exists():
        command = ["git", "-C", ROOT, "archive", "--format=zip", commit, "packages", "datasets"]
        packed = subprocess.run(command, capture_output=True, check=True)
        with zipfile.ZipFile(io.BytesIO(packed.stdout)) as archive:
            archive.extractall(folder)
    sources = {path.name: path for path in folder.glob("*/src/*")} | {
        p.name: p for p in folder.glob("packages/*/src/*")
    }
    if not (sources["efficiency_bench"] / "records" / "sources.py").exists():  # of all files of a package
        return {package: folder_digest(sources[package]) for package in packages}
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(str(path.parent) for path in sources.values())}
    command = [sys.executable, "-c", f"from efficiency_bench.cli import main; main(['digest', {experiment!r}])"]
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    return {words[1]: words[0] for line in printed.splitlines() if len(words := line.split()) == 2}


@pytest.mark.parametrize("device", sorted({path.parent for path in KEPT}), ids=lambda path: path.name)
def test_kept_records_come_from_one_device_and_known_commits(device: Path, tmp_path: Path) -> None:
    """Where a file of the repository was changed beside a run, the packages it ran are still those of its commit."""
    records = [load_record(path) for path in sorted(device.glob("runs/*.json"))]
    assert records
    assert len({record.device["name"] for record in records}) == 1
    assert all(record.git["commit"] for record in records)
    changed = {
        (record.git["commit"], record.experiment, tuple(sorted(record.sources.items())))
        for record in records
        if record.git["dirty"]
    }
    for commit, experiment, sources in sorted(changed):
        found = committed_digests(commit, experiment, [package for package, _ in sources], tmp_path / commit)
        assert found == dict(sources), f"{experiment} at {commit}"
    for path, record in zip(sorted(device.glob("runs/*.json")), records, strict=True):
        if artifacts_path(path).exists():  # of the runs that kept figures draw
            assert load_artifacts(path, record), "the arrays of a kept run are those it was recorded with"
