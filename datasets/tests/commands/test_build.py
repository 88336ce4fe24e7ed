"""``synthdata build``: what it writes for every generator, what it says, how it ends."""

import hashlib
import json
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from synthetic_datasets import SampleFile, UsageError, generator_names, get_generator, no_motion_iou
from synthetic_datasets.storage.card import card

BUILD = ("build", "moving-digits", "--out")
SMALL = ("--train", "11", "--test", "10", "--frames", "12")
OPTIONS: dict[str, tuple[str, ...]] = {
    "coloured-shapes": ("--train", "24", "--test", "3"),
    "move4mnist": ("--train", "4", "--test", "2", "--frames", "32", "--background", "texture"),
    "moving-digits": (*SMALL, "--border", "bounce", "--objects", "2"),
    "objects": (
        "--train", "93", "--test", "8", "--size", "32", "--domains", "dslr", "amazon", "webcam", "--outlier-classes", "none",
    ),
    "shape": ("--train", "24", "--test", "9"),
    "shape-scenes": ("--train", "12", "--test", "2", "--shapes", "2", "4"),
}  # fmt: skip
"""All generators but pitts-cyclegan, which trains a network: it has tests of its own."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, synthdata: Callable[..., int]) -> Path:
    out = tmp_path_factory.mktemp("built")
    assert synthdata(*BUILD, out, *OPTIONS["moving-digits"]) == 0
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_set_its_card_and_its_preview(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], synthdata: Callable[..., int]
) -> None:
    words, generator = ("build", name, *OPTIONS[name], "--out"), get_generator(name)
    assert synthdata(*words, tmp_path / "one") == 0
    said = capsys.readouterr()
    assert said.err == "" and f"{generator.title} {generator.version} from " in said.out and "seed 0" in said.out
    files = contents(tmp_path / "one")
    assert sorted(files) == ["card.json", "preview.png", "test.h5", "train.h5"]
    made: dict[str, Any] = json.loads(files["card.json"])
    assert made["license"].startswith("https://")
    for records, entry in zip(made["recordSet"], made["distribution"], strict=True):
        content = files[entry["contentUrl"]]
        assert entry["sha256"] == hashlib.sha256(content).hexdigest() and entry["contentSize"] == f"{len(content)} B"
        file = SampleFile(tmp_path / "one" / f"{records['@id']}.h5")
        assert {field["name"] for field in records["field"]} == set(file.shapes) == set(made["facts"]["factors"])
        assert {field["source"]["fileObject"]["@id"] for field in records["field"]} == {entry["@id"]}
        assert {field["dataType"] for field in records["field"]} <= {"sc:Float", "sc:Integer", "sc:Boolean"}
    capsys.readouterr()
    assert synthdata("card", tmp_path / "one" / "test.h5", "--verify") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["format"] == generator.file_format
    assert printed["objects_per_class"] == made["facts"]["splits"]["test"]["objects_per_class"]


def test_workers_and_the_command_preview_give_the_same_files(
    built: Path, tmp_path: Path, synthdata: Callable[..., int]
) -> None:
    assert synthdata("preview", built / "train.h5", "--out", tmp_path / "sheets" / "sheet.png") == 0
    assert contents(tmp_path / "sheets") == {"sheet.png": (built / "preview.png").read_bytes()}
    assert synthdata(*BUILD, tmp_path / "two", *OPTIONS["moving-digits"], "--workers", "2") == 0
    assert contents(tmp_path / "two") == contents(built)


def test_generators_by_name() -> None:
    assert {*OPTIONS, "pitts-cyclegan"} == set(generator_names())
    assert all(get_generator(name).name == name for name in generator_names())
    with pytest.raises(UsageError, match="no generator is named 'cubes'; available: coloured-shapes, move4mnist, "):
        get_generator("cubes")


def test_the_card_tells_what_was_built(built: Path) -> None:
    made = json.loads((built / "card.json").read_text())
    assert made["@type"] == "sc:Dataset" and made["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    facts = made["facts"]
    config = facts["config"]
    assert (config["border"], config["boxes"], config["objects"], config["size"]) == ("bounce", "patch", 2, [64, 64])
    assert set(config) == set(get_generator("moving-digits").config_type.__dataclass_fields__), "options, no files"
    assert (facts["seed"], facts["source"]) == (0, "sklearn-digits")
    notes = "\n".join(facts["known_shortcuts_and_conventions"])
    assert "class determines the direction" in notes and "After a bounce" in notes and "may overlap" in notes
    for split, count in (("train", 11), ("test", 10)):
        file, stored = SampleFile(built / f"{split}.h5"), facts["splits"][split]
        assert len(file) == stored["samples"] == count and sum(stored["objects_per_class"].values()) == 2 * count
        assert stored["content_digest"] == file.content_digest
        assert stored["figures"] == {"no_motion_iou_T8": no_motion_iou(file.read("boxes"), file.read("present"), 8)}


def test_the_card_is_valid_croissant(built: Path) -> None:
    croissant = pytest.importorskip("mlcroissant")
    metadata = croissant.Dataset(jsonld=str(built / "card.json")).metadata
    assert metadata.name == "MovingDigits" and len(metadata.record_sets) == 2


def test_splits_of_different_builds_have_no_common_card(
    built: Path, tmp_path: Path, synthdata: Callable[..., int]
) -> None:
    assert synthdata(*BUILD, tmp_path, *SMALL, "--seed", "1") == 0
    files = {"train": SampleFile(built / "train.h5"), "test": SampleFile(tmp_path / "test.h5")}
    with pytest.raises(UsageError, match="splits differ in config"):
        card(files, get_generator("moving-digits").figures)


def test_one_frame_of_odd_shape(tmp_path: Path, synthdata: Callable[..., int]) -> None:
    words = ("--frames", "1", "--size", "30", "200", "--train", "2", "--test", "1")
    assert synthdata(*BUILD, tmp_path, *words) == 0
    made = json.loads((tmp_path / "card.json").read_text())
    assert made["facts"]["splits"]["train"]["figures"] == {}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["build", "moving-sprites", "--out", "x"], "no command of synthdata build; did you mean moving-digits?"),
        (["build", "moving-digits"], "missing: --out"),
        ([*BUILD, "x", "--border", "jump"], "--border: expected one of hold, stop, bounce, leave, got jump"),
        ([*BUILD, "x", "--frames", "many"], "--frames: expected a whole number, got many"),
        ([*BUILD, "x", "--speedz", "1"], "unknown option --speedz; did you mean --speed?"),
        ([*BUILD, "x", "--frames", "0"], "frames: expected at least 1, got 0"),
        ([*BUILD, "x", "--digit-size", "80"], "does not hold a digit of 80 px"),
        ([*BUILD, "x", "--workers", "0"], "workers: expected at least 1, got 0"),
        ([*BUILD, "x", "--data-root", "nowhere"], "--data-root: nowhere is not a folder"),
        ([*BUILD, "x", "--boxes", "tight", "--ink-threshold", "254", "--digit-size", "3"], "no ink above 254"),
        (["build", "objects", "--out", "x", "--outlier-classes", "spoon"], "'spoon' is unknown"),
    ],
)  # fmt: skip
def test_unusable_requests_leave_nothing(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], synthdata: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert synthdata(*words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_builds_that_cannot_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], synthdata: Callable[..., int]
) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in ("images-idx3", "labels-idx1"):
        (raw / f"train-{name}-ubyte").write_bytes(bytes((0, 0, 8, 3, 0, 0, 0, 9, 0, 0, 0, 28, 0, 0, 0, 28, 1, 2)))
    assert synthdata(*BUILD, tmp_path / "out", "--data-root", tmp_path) == 2
    assert "train-images-idx3-ubyte: 18 bytes, its header promises 7072" in capsys.readouterr().err
    (tmp_path / "out").write_text("mine")
    assert synthdata(*BUILD, tmp_path / "out", *SMALL) == 2
    assert "is a file; name a folder" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_disk_that_takes_no_more(
    workers: int, built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture,
    synthdata: Callable[..., int],
) -> None:  # fmt: skip
    old = Path(shutil.copytree(built, tmp_path / "old"))
    before = contents(old)
    words = ("--frames", "12", "--train", "20", "--test", "10", "--background", "noise", "--workers", workers)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))
        for out in (tmp_path / "new", old):
            assert synthdata(*BUILD, out, *words, "--data-root", tmp_path) == 1
            error = capsys.readouterr().err
            assert error.count("\n") == 1 and "cannot be written (File too large)" in error
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "holds no MNIST/raw; using scikit-learn's handwritten digits instead of MNIST" in caplog.text
    assert not (tmp_path / "new").exists()
    assert contents(old) == before
