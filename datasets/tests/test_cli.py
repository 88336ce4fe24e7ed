"""The command ``synthdata``: what it writes, what it says, how it ends."""

import fcntl
import hashlib
import json
import os
import pty
import re
import resource
import shutil
import struct
import subprocess
import sys
import termios
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthetic_datasets import InputError, SampleFile, no_motion_iou
from synthetic_datasets.card import card
from synthetic_datasets.cli import main
from synthetic_datasets.preview import contact_sheet
from synthetic_datasets.registry import get

BUILD = ("build", "moving-digits", "--out")
SMALL = ("--train", "11", "--test", "10", "--frames", "12")


@pytest.fixture(autouse=True)
def no_real_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EFFICIENCY_DATA", raising=False)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("EFFICIENCY_DATA", raising=False)
        assert main([*BUILD, str(out), *SMALL, "--border", "bounce", "--objects", "2"]) == 0
    return out


def script(*words: str) -> list[str]:
    """The command as another process runs it."""
    code = f"from synthetic_datasets.cli import main; raise SystemExit(main({list(words)!r}))"
    return [sys.executable, "-c", code]


def run(*words: str, limit: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run it; ``limit`` is the largest file it may write, in bytes."""

    def restrict() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(script(*words), capture_output=True, text=True, preexec_fn=restrict)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_build_writes_four_files(built: Path) -> None:
    names = sorted(path.name for path in built.iterdir())
    assert names == ["card.json", "preview.png", "test.h5", "train.h5"]
    with SampleFile(built / "train.h5") as file:
        assert len(file) == 11
        assert file.facts["config"]["border"] == "bounce"
        assert file[0]["video"].shape == (12, 64, 64)


def test_the_card_tells_what_was_built(built: Path) -> None:
    made = json.loads((built / "card.json").read_text())
    assert made["@type"] == "sc:Dataset" and made["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    assert made["license"].startswith("https://creativecommons.org/")
    for entry in made["distribution"]:
        data = (built / entry["contentUrl"]).read_bytes()
        assert entry["sha256"] == hashlib.sha256(data).hexdigest()
        assert entry["contentSize"] == f"{len(data)} B"
    facts = made["facts"]
    config = facts["config"]
    assert (config["border"], config["boxes"], config["objects"], config["size"]) == (
        "bounce",
        "patch",
        2,
        [64, 64],
    )
    assert (facts["seed"], facts["source"]) == (0, "sklearn-digits")
    notes = "\n".join(facts["known_shortcuts_and_conventions"])
    assert "class determines the direction" in notes and "After a bounce" in notes and "may overlap" in notes
    factors = {"boxes", "labels", "tracks", "direction", "speed", "start", "source_index"}
    assert set(facts["factors"]) >= factors
    for split, count in (("train", 11), ("test", 10)):
        with SampleFile(built / f"{split}.h5") as file:
            stored = facts["splits"][split]
            assert stored["samples"] == count and sum(stored["objects_per_class"].values()) == 2 * count
            assert stored["content_digest"] == file.facts["content_digest"]
            figure = no_motion_iou(file.read("boxes"), file.read("present"), 8)
            assert stored["figures"] == {"no_motion_iou_T8": figure}


def test_the_card_s_references_hold(built: Path) -> None:
    made = json.loads((built / "card.json").read_text())
    files = {entry["@id"] for entry in made["distribution"]}
    fields = [field for records in made["recordSet"] for field in records["field"]]
    assert {field["source"]["fileObject"]["@id"] for field in fields} == files == {"train.h5", "test.h5"}
    assert len({field["@id"] for field in fields}) == len(fields) == 2 * 9


def test_the_card_is_valid_croissant(built: Path) -> None:
    croissant = pytest.importorskip("mlcroissant")
    metadata = croissant.Dataset(jsonld=str(built / "card.json")).metadata
    assert metadata.name == "MovingDigits" and len(metadata.record_sets) == 2


@pytest.mark.parametrize("name", ["coloured-shapes", "shape-scenes"])
def test_cards_of_sets_that_are_drawn_hold_too(name: str, tmp_path: Path) -> None:
    assert main(["build", name, "--out", str(tmp_path), "--train", "11", "--test", "3"]) == 0
    made = json.loads((tmp_path / "card.json").read_text())
    for records, entry in zip(made["recordSet"], made["distribution"], strict=True):
        assert entry["sha256"] == hashlib.sha256((tmp_path / entry["contentUrl"]).read_bytes()).hexdigest()
        with SampleFile(tmp_path / f"{records['@id']}.h5") as file:
            assert {field["name"] for field in records["field"]} == set(file.arrays) == set(made["facts"]["factors"])
        assert {field["source"]["fileObject"]["@id"] for field in records["field"]} == {entry["@id"]}
        assert {field["dataType"] for field in records["field"]} <= {"sc:Float", "sc:Integer", "sc:Boolean"}
    croissant = pytest.importorskip("mlcroissant")
    assert len(croissant.Dataset(jsonld=str(tmp_path / "card.json")).metadata.record_sets) == 2


def test_card_command_prints_the_facts_of_one_file(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["card", str(built / "test.h5"), "--verify"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["samples"] == 10 and printed["split"] == "test"
    assert printed["arrays"]["video"]["shape"] == [10, 12, 64, 64]
    assert printed["config"]["speed"] == 2.0


def test_splits_of_different_builds_have_no_common_card(built: Path, tmp_path: Path) -> None:
    assert main([*BUILD, str(tmp_path), *SMALL, "--seed", "1"]) == 0
    with pytest.raises(InputError, match="splits differ in config"):
        card({"train": SampleFile(built / "train.h5"), "test": SampleFile(tmp_path / "test.h5")})


def test_preview_command(built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "pictures" / "sheet.png"
    assert main(["preview", str(built / "train.h5"), "--out", str(out)]) == 0
    assert [path.name for path in out.parent.iterdir()] == ["sheet.png"]
    assert out.read_bytes() == (built / "preview.png").read_bytes()
    assert main(["preview", str(built / "train.h5"), "--out", str(tmp_path / "sheet.gif")]) == 2
    assert "does not end in .png" in capsys.readouterr().err


def test_the_sheet_shows_frames_and_boxes(built: Path) -> None:
    with SampleFile(built / "train.h5") as file:
        sheet = np.asarray(contact_sheet(file).convert("RGB")).astype(int)
    with Image.open(built / "preview.png") as image:
        assert np.array_equal(np.asarray(image.convert("RGB")), sheet)
    colours = {tuple(colour) for colour in sheet.reshape(-1, 3).tolist()}
    assert {(255, 176, 0), (100, 190, 255)} <= colours  # a box colour for each of the two digits
    assert 10 * 112 < sheet.shape[0] < 1400 and 8 * 112 < sheet.shape[1] < 1200


def test_one_frame_of_odd_shape(tmp_path: Path) -> None:
    words = ["--frames", "1", "--size", "30", "200", "--train", "2", "--test", "1"]
    assert main([*BUILD, str(tmp_path), *words]) == 0
    made = json.loads((tmp_path / "card.json").read_text())
    assert made["facts"]["splits"]["train"]["figures"] == {}
    with Image.open(tmp_path / "preview.png") as image:
        assert image.width > 112 and image.height > 2 * 17


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["build", "moving-sprites", "--out", "x"], "'moving-sprites' .*moving-digits"),
        (["build", "moving-digits"], "required: --out"),
        ([*BUILD, "x", "--border", "jump"], "'jump' .*hold.*stop.*bounce.*leave"),
        ([*BUILD, "x", "--frames", "many"], "invalid int value: 'many'"),
        ([*BUILD, "x", "--colour", "red"], "unrecognized arguments: --colour"),
        ([], "required: COMMAND"),
    ],
)
def test_wrong_usage(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert re.search(message, capsys.readouterr().err)


def test_unknown_generator_by_name() -> None:
    with pytest.raises(
        InputError, match="no generator is named 'cubes'; available: coloured-shapes, move4mnist, moving-digits, "
    ):
        get("cubes")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--frames", "0"], "frames: expected at least 1, got 0"),
        (["--digit-size", "80"], "does not hold a digit of 80 px"),
        (["--workers", "0"], "workers: expected at least 1, got 0"),
        (["--data-root", "nowhere"], "--data-root: nowhere is not a folder"),
        (["--boxes", "tight", "--ink-threshold", "254", "--digit-size", "3"], "no ink above 254"),
    ],
)
def test_unusable_input_leaves_nothing(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*BUILD, str(tmp_path / "out"), *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("synthdata: error: ") and message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_truncated_mnist(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in ("images-idx3", "labels-idx1"):
        (raw / f"train-{name}-ubyte").write_bytes(bytes((0, 0, 8, 3, 0, 0, 0, 9, 0, 0, 0, 28, 0, 0, 0, 28, 1, 2)))
    assert main([*BUILD, str(tmp_path / "out"), "--data-root", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "train-images-idx3-ubyte: 18 bytes, its header promises 7072" in error and error.count("\n") == 1


def test_out_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").write_text("mine")
    assert main([*BUILD, str(tmp_path / "out"), *SMALL]) == 2
    assert "is a file; name a folder" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "mine"


def test_debug_shows_where(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="frames"):
        main([*BUILD, str(tmp_path), "--frames", "0", "--debug"])


@pytest.mark.parametrize("command", ["card", "preview"])
def test_unusable_files(command: str, built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "x.png"
    cut = tmp_path / "cut.h5"
    cut.write_bytes((built / "train.h5").read_bytes()[:9000])
    for path, message in ((tmp_path / "absent.h5", "no such file"), (cut, "not a whole HDF5 file")):
        assert main([command, str(path), *(["--out", str(out)] if command == "preview" else [])]) == 2
        error = capsys.readouterr().err
        assert str(path) in error and message in error and error.count("\n") == 1
    assert not out.exists()


def test_data_root_without_mnist_is_said(tmp_path: Path) -> None:
    made = run(*BUILD, str(tmp_path / "out"), *SMALL, "--data-root", str(tmp_path))
    assert made.returncode == 0
    assert "holds no MNIST/raw; using scikit-learn's handwritten digits instead of MNIST" in made.stderr
    assert "from sklearn-digits" in made.stdout


@pytest.mark.parametrize(("limit", "workers"), [(20_000, "1"), (60_000, "2")])
def test_a_disk_that_takes_no_more(built: Path, tmp_path: Path, limit: int, workers: str) -> None:
    old = Path(shutil.copytree(built, tmp_path / "old"))
    before = contents(old)
    for out in (tmp_path / "new", old):
        failed = run(*BUILD, str(out), "--background", "noise", "--workers", workers, limit=limit)
        assert failed.returncode == 1
        assert failed.stderr.count("\n") == 1 and "cannot be written (File too large)" in failed.stderr
    assert not (tmp_path / "new").exists()
    assert contents(old) == before


def test_a_preview_that_cannot_be_written(built: Path, tmp_path: Path) -> None:
    failed = run("preview", str(built / "train.h5"), "--out", str(tmp_path / "x.png"), limit=5000)
    assert failed.returncode == 1
    assert failed.stderr == "synthdata: error: writing: File too large\n"
    assert not list(tmp_path.iterdir())


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["build", "moving-digits", "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for shown in (
        "--seed",
        "--objects",
        "--speed",
        "--size N N",
        "--background {black,noise,gradient,texture,strokes}",
        "--speeds N [N ...]",
        "--scenes-test {seen,unseen}",
        "--annotate-every N",
    ):
        assert shown in text


def test_defaults_are_built_in_seconds(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert run(*BUILD, str(tmp_path / "out")).returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Of the processor's time: a clock on the wall also counts what else the machine does.
    assert after.ru_utime - before.ru_utime < 20  # about 2


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (SMALL, False),
        (
            (
                "--size",
                "400",
                "400",
                "--frames",
                "60",
                "--background",
                "noise",
                "--train",
                "16",
                "--test",
                "1",
            ),
            True,
        ),
    ],
)
def test_a_terminal_shows_progress_after_two_seconds(words: tuple[str, ...], expected: bool, tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))  # 0 x 0 would hide the bar
    with subprocess.Popen(script(*BUILD, str(tmp_path), *words), stderr=follower, stdout=subprocess.DEVNULL) as made:
        os.close(follower)
        shown = b""
        try:
            while chunk := os.read(leader, 10_000):
                shown += chunk
        except OSError:  # Linux, when the other end is closed
            pass
    os.close(leader)
    assert made.returncode == 0
    assert (b"/16 [" in shown) if expected else (shown == b"")
