"""``synthdata train-cyclegan``."""

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch")
WORDS = (
    "--device", "cpu", "--size", "24", "--load", "24", "--epochs", "1", "--decay-epochs", "0", "--epoch-size", "2", "--ngf", "4",
    "--ndf", "4", "--blocks", "1", "--generated", "4", "--judge-steps", "2", "--no-flip",
)  # fmt: skip


def test_it_trains_and_says_what_a_classifier_thinks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], synthdata: Callable[..., int]
) -> None:
    words = ("train-cyclegan", "--out", tmp_path / "out", *WORDS)
    assert synthdata(*words) == 0
    out = capsys.readouterr().out
    assert "photos     town: 3, held out 1" in out and "taken for paintings" in out
    assert out.endswith("cyclegan.safetensors\n") and (tmp_path / "out" / "cyclegan.safetensors").is_file()
    assert synthdata(*words, "--size", "22") == 2
    assert "size must be a multiple of 4" in capsys.readouterr().err
    assert synthdata(*words, "--photos", tmp_path / "absent") == 2
    assert "absent: no such folder" in capsys.readouterr().err
