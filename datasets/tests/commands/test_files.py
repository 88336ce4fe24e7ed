"""``synthdata card`` and ``preview`` on files that cannot be used, the sheet, and help."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from synthetic_datasets import MovingDigitsConfig, SampleFile, build, get_generator
from synthetic_datasets.previews.preview import contact_sheet


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built")
    build(get_generator("moving-digits"), MovingDigitsConfig(train=11, test=1, frames=12, objects=2), out)
    return out / "train.h5"


def test_the_sheet_shows_frames_and_boxes(file: Path) -> None:
    sheet = np.asarray(contact_sheet(SampleFile(file)).convert("RGB")).astype(int)
    for colour in ((255, 176, 0), (100, 190, 255)):  # of the boxes of the two digits
        assert (sheet == colour).all(axis=2).any()
    assert 10 * 112 < sheet.shape[0] < 1400 and 8 * 112 < sheet.shape[1] < 1200


def test_a_preview_is_a_png(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], synthdata: Callable[..., int]
) -> None:
    assert synthdata("preview", file, "--out", tmp_path / "sheet.gif") == 2
    assert "does not end in .png" in capsys.readouterr().err
    (tmp_path / "sheet.png").mkdir()
    assert synthdata("preview", file, "--out", tmp_path / "sheet.png") == 2
    assert "is a folder; give the name of a file" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["card", "preview"])
def test_unusable_files(
    command: str, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], synthdata: Callable[..., int]
) -> None:
    out = tmp_path / "x.png"
    cut = tmp_path / "cut.h5"
    cut.write_bytes(file.read_bytes()[:9000])
    for path, message in ((tmp_path / "absent.h5", "no such file"), (cut, "not a readable HDF5 file")):
        assert synthdata(command, path, *(["--out", out] if command == "preview" else [])) == 2
        error = capsys.readouterr().err
        assert str(path) in error and message in error and error.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("build", ["coloured-shapes", "Videos of handwritten digits in which every digit class"]),
        ("build moving-digits", ["--out", "--objects INT", "--size INT INT", "{seen,unseen}", "Speed in pixels per frame"]),
        ("train-cyclegan", ["--photos", "--ngf INT", "--devices", "--device {auto,cpu,cuda}", "Residual blocks"]),
    ],
)  # fmt: skip
def test_help_names_every_option_without_torch(words: str, shown: list[str]) -> None:
    code = (
        "import sys; from synthetic_datasets.cli import program; "
        f"program._start([*{words.split()!r}, '--help'], True); assert 'torch' not in sys.modules"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"COLUMNS": "120"})
    assert made.returncode == 0, made.stderr
    assert all(text in made.stdout for text in shown), made.stdout
