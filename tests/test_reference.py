"""The kept results are what their run records say, and the README shows them."""

import io
import subprocess
import tarfile
from pathlib import Path

import pandas as pd
import pytest

from efficiency_bench.artifacts import artifacts_path, load_artifacts
from efficiency_bench.data_sets import choose_variants, load_data_sets
from efficiency_bench.presets import load_preset
from efficiency_bench.provenance import folder_digest
from efficiency_bench.records import load_record
from efficiency_bench.tables import load_table
from efficiency_bench.tabulate import tabulate

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


def committed_digest(commit: str, package: str, folder: Path) -> str:
    """Digest of a package's source as it is in a commit."""
    if not folder.exists():
        packed = subprocess.run(["git", "-C", ROOT, "archive", commit, "packages"], capture_output=True, check=True)
        with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
            archive.extractall(folder, filter="data")
    return folder_digest(folder / "packages" / package / "src" / package)


@pytest.mark.parametrize("device", sorted({path.parent for path in KEPT}), ids=lambda path: path.name)
def test_kept_records_come_from_one_device_and_known_commits(device: Path, tmp_path: Path) -> None:
    """Where a file of the repository was changed beside a run, the packages it ran are still those of its commit."""
    records = [load_record(path) for path in sorted(device.glob("runs/*.json"))]
    assert records
    assert len({record.device["name"] for record in records}) == 1
    assert all(record.git["commit"] for record in records)
    changed = {
        (record.git["commit"], tuple(sorted(record.sources.items()))) for record in records if record.git["dirty"]
    }
    for commit, sources in sorted(changed):
        for package, digest in sources:
            assert committed_digest(commit, package, tmp_path / commit) == digest, f"{package} at {commit}"
    for path, record in zip(sorted(device.glob("runs/*.json")), records, strict=True):
        if artifacts_path(path).exists():  # of the runs that kept figures draw
            assert load_artifacts(path, record), "the arrays of a kept run are those it was recorded with"


def test_the_readme_shows_the_kept_keyframe_map() -> None:
    readme = (ROOT / "README.md").read_text()
    shown = [path for path in KEPT if path.stem == "table2_1"]
    assert shown, "results/reference holds no table 2.1"
    for path in shown:
        for value in pd.read_csv(path, dtype=str)["keyframe_map"].dropna():
            assert value in readme, f"README does not show {value} of {path.parent.name}"
