"""Outputs of a command are checked before it works."""

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pytest

from efficiency_core.command import Command, Output, OutputFile, OutputFolder, Pairs, Positional, Program


@dataclass(frozen=True)
class Sheet:
    sheet: OutputFile[Path | None] = None
    """A picture."""
    font: Path | None = None
    """Its letters."""


@dataclass(frozen=True)
class Options:
    data: Positional[Path]
    """Input."""
    out: OutputFile[Path | None] = None
    """File."""
    json: OutputFile[str] = "-"
    """File, or standard output."""
    run: Annotated[Path | None, Output(folder=True, writes=("best.pt",))] = None
    """Folder of a training."""
    pictures: OutputFolder[Path | None] = None
    """Folder."""
    weights: str | None = None
    """Name or file."""
    more: tuple[Path, ...] = ()
    """More inputs."""
    option: Pairs = ()
    """Option of the format."""
    split: str = "test"
    """A name."""
    sheet: Sheet = field(default_factory=Sheet)


def run(options: Options) -> None:
    print("works")


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    for name in ("a.json", "w.pt", "run/best.pt", "run/other.pt", "test", "s.yaml", "names.txt"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("{split: train}" if name == "s.yaml" else name)
    Path("videos").mkdir()
    Path("link.json").symlink_to("a.json")
    os.link("a.json", "second-name.json")
    before = sorted(map(str, Path().rglob("*")))

    def run_command(words: str) -> tuple[int, str]:
        program = Program("demo", "A demonstration.", {"go": Command("go", Options, run)}, "efficiency_core")
        with pytest.raises(SystemExit) as left:
            program.main(["go", *words.split()])
        said = capsys.readouterr()
        assert ("works" in said.out) == (left.value.code == 0)
        assert sorted(map(str, Path().rglob("*"))) == before and Path("a.json").read_text() == "a.json"
        assert isinstance(left.value.code, int)
        return left.value.code, said.err

    return run_command


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("a.json --out a.json", "a.json: is the input DATA, which --out would overwrite; give another --out"),
        ("a.json --out videos/../a.json", "a.json: is the input DATA, which --out would overwrite"),
        ("a.json --out link.json", "is the input DATA"),
        ("link.json --json a.json", "link.json: is the input DATA, which --json would overwrite"),
        ("a.json --out second-name.json", "is the input DATA"),
        ("not-there.json --out ./not-there.json", "is the input DATA"),
        ("a.json --weights w.pt --out w.pt", "w.pt: is the input --weights"),
        ("a.json --more names.txt w.pt --out w.pt", "w.pt: is the input --more"),
        ("a.json --option classes=names.txt --out names.txt", "names.txt: is the input --option"),
        ("a.json --settings s.yaml --out s.yaml", "s.yaml: is the input --settings"),
        ("a.json --sheet.font w.pt --sheet.sheet w.pt", "the input --sheet.font, which --sheet.sheet would overwrite"),
        ("videos --run videos", "videos: is the input DATA, which --run would overwrite"),
        ("a.json --weights run/best.pt --run run", "run/best.pt: is the input --weights, which --run would overwrite"),
        ("a.json --out b.json --json ./b.json", "two outputs cannot go to the same file (--out and --json)"),
        ("a.json --out videos", "videos: is a folder; give the name of a file"),
        ("a.json --pictures w.pt", "w.pt: is a file; name a folder"),
        ("a.json --out w.pt/b.json", "w.pt/b.json: cannot be written (Not a directory)"),
    ],
)
def test_outputs_that_are_refused(words: str, message: str, call) -> None:
    status, error = call(words)
    assert status == 2 and message in error and error.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        "a.json",
        "a.json --out new/b.json --json - --run new --pictures videos",
        "a.json --out w.pt --split w",
        "a.json --out test",  # also the name of a split
        "a.json --weights run/other.pt --run run",
        "run/best.pt --pictures run",
    ],
)
def test_outputs_that_are_taken(words: str, call) -> None:
    assert call(words) == (0, "")


@pytest.mark.skipif(sys.platform == "win32", reason="no /dev/null there")
def test_two_outputs_may_go_to_nowhere(call) -> None:
    assert call("a.json --out /dev/null --json /dev/null --more /dev/null") == (0, "")
