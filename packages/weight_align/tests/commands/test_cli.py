"""The command as a whole: help without torch, and errors of one line."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]


def test_help_shows_every_setting_and_imports_no_torch() -> None:
    code = """
import sys
from weight_align.commands.cli import main
for command in ("train", "train-segmentation", "evaluate", "convert", "fold"):
    try:
        main([command, "--help"])
    except SystemExit as ended:
        assert ended.code == 0
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for option in (
        "--network.align", "--training.learning-rate", "--seeds", "--device", "--training.crop", "--head.channels",
        "--batch-size", "--conversion.exclude", "--keep", "--state",
    ):  # fmt: skip
        assert option in done.stdout


def test_missing_extras_are_named(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(path: object) -> None:
        raise ModuleNotFoundError("No module named 'nowhere'", name="nowhere")

    monkeypatch.setattr("weight_align.commands.fold.load_any", load)
    status, _, error = run("fold", tmp_path / "network.safetensors", "--out", tmp_path / "out.safetensors")
    assert status == 2 and error == 'error: this command needs nowhere: pip install "weight_align[train]"\n'


def test_an_output_that_cannot_be_written(run: Run, tmp_path: Path, built: Callable[..., object]) -> None:
    from weight_align.checkpoint import save_network
    from weight_align.networks import NetworkConfig

    save_network(tmp_path / "plain.safetensors", built(NetworkConfig(5, "resnet18", width=4, align=False)))  # type: ignore[arg-type]
    (tmp_path / "folder.safetensors").mkdir()
    status, _, error = run("convert", tmp_path / "plain.safetensors", "--out", tmp_path / "folder.safetensors")
    assert status == 2 and "is a folder; give the name of a file" in error and error.count("\n") == 1
    status, _, error = run("convert", tmp_path / "plain.safetensors", "--out", tmp_path / "out.pt")
    assert status == 2 and "out.pt: a network is written as safetensors; name the file NAME.safetensors" in error
