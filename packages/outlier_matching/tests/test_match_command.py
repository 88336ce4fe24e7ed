"""``outlier-matching match`` from end to end: table, sheet, index, exit statuses, errors of one line."""

import csv
import io
import logging
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from outlier_matching.checkpoint import save_network
from outlier_matching.cli import main, resolve_device
from outlier_matching.errors import UsageError
from outlier_matching.gallery import load_gallery
from outlier_matching.matching import describe_folder, match
from outlier_matching.networks import MatchingNetwork, NetworkConfig, build_network

pytestmark = pytest.mark.usefixtures("one_thread")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Run:
    """Run the command on the CPU; returns exit status, standard output and error with what was logged."""
    caplog.set_level(logging.INFO, logger="outlier_matching")

    def command(*arguments: object) -> tuple[int, str, str]:
        caplog.clear()
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in (*arguments, "--device", "cpu")])
        captured = capfd.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, captured.out, captured.err + caplog.text

    return command


def pictures(folder: Path, count: int, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    folder.mkdir()
    for number in range(count):
        Image.fromarray(rng.integers(0, 255, (4, 4, 3), dtype=np.uint8)).resize((36, 36)).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def network() -> MatchingNetwork:
    torch.manual_seed(0)
    return build_network(NetworkConfig("small", embedding=16, width=32, trained="all", size=32)).eval()


@pytest.fixture
def place(tmp_path: Path, network: MatchingNetwork) -> Path:
    """A folder with queries, a gallery, and checkpoints with and without references."""
    pictures(tmp_path / "queries", 3, seed=1)
    pictures(tmp_path / "gallery", 8, seed=2)
    references = describe_folder(network, tmp_path / "gallery").gallery.embeddings.split([3, 3, 2])
    save_network(tmp_path / "network.pt", network, method="da_outlier_detection", references=references)
    save_network(tmp_path / "siamese.pt", network, method="siamese")
    return tmp_path


def asked(place: Path, checkpoint: str = "network.pt") -> list[object]:
    return ["match", place / "queries", "--gallery", place / "gallery", "--checkpoint", place / checkpoint]


def test_matches_are_printed_as_csv(run: Run, place: Path, network: MatchingNetwork) -> None:
    status, out, err = run(*asked(place), "--top", 4, "--engine", "torch")
    assert status == 0 and "3 queries in a gallery of 8, searched by torch" in err
    rows = list(csv.DictReader(io.StringIO(out)))
    assert list(rows[0]) == ["query", "rank", "match", "distance", "outlier_probability", "outlier"]
    assert [(row["query"], row["rank"]) for row in rows] == [
        (f"{q}.png", str(r)) for q in range(3) for r in range(1, 5)
    ]
    gallery = describe_folder(network, place / "gallery").gallery
    references = tuple(gallery.embeddings.split([3, 3, 2]))
    expected = match(describe_folder(network, place / "queries").gallery, gallery, 4, references=references)  # type: ignore[arg-type]
    assert [row["match"] for row in rows] == [name for found in expected for name in found.names]
    for number, row in enumerate(rows):
        found = expected[number // 4]
        assert float(row["distance"]) == pytest.approx(found.distances[number % 4], abs=1e-5)
        assert float(row["outlier_probability"]) == pytest.approx(found.outlier_probability, abs=1e-5)
        assert row["outlier"] == str(found.outlier).lower()


def test_without_references_there_is_no_probability(run: Run, place: Path) -> None:
    status, out, err = run(*asked(place, "siamese.pt"), "--top", 1)
    assert status == 0 and "network (siamese) was trained without outlier detection" in err
    assert all(row["outlier_probability"] == row["outlier"] == "" for row in csv.DictReader(io.StringIO(out)))


def test_table_sheets_and_index_are_written(run: Run, place: Path) -> None:
    files = ["--out", place / "matches.csv", "--index", place / "index.npz", "--top", 2]
    status, out, _ = run(*asked(place), *files, "--sheet", place / "sheet.html", "--rows", 2)
    assert (status, out) == (0, "")
    table = (place / "matches.csv").read_text()
    assert len(table.splitlines()) == 1 + 3 * 2
    page = (place / "sheet.html").read_text()
    assert page.count("data:image/jpeg") == 2 * (1 + 5) and "the first 2 of 3 queries in 8 images" in page
    assert len(load_gallery(place / "index.npz")) == 8
    # The index alone, its folder gone: the same table; the sheet says what it cannot show.
    (place / "gallery").rename(place / "away")
    arguments = ["match", place / "queries", "--gallery", place / "index.npz", "--checkpoint", place / "network.pt"]
    status, out, err = run(*arguments, "--top", 2, "--sheet", place / "sheet.png")
    assert status == 0 and out == table and "not on the sheet" in err
    assert Image.open(place / "sheet.png").size[0] > 6 * 128


def test_unreadable_images_are_named_and_the_command_ends_with_1(run: Run, place: Path) -> None:
    (place / "queries" / "bad.png").write_bytes(b"\x89PNG but not for long")
    (place / "gallery" / "cut.jpg").write_bytes(b"")
    status, out, err = run(*asked(place), "--top", 1)
    assert status == 1 and len(out.splitlines()) == 4
    assert "skipped bad.png" in err and "skipped cut.jpg" in err and "2 of the images cannot be read" in err


@pytest.mark.parametrize("which", ["queries", "gallery"])
def test_a_folder_without_images_ends_with_2(run: Run, place: Path, which: str) -> None:
    for path in (place / which).iterdir():
        path.unlink()
    (place / which / "notes.txt").write_text("nothing to see")
    status, out, err = run(*asked(place))
    assert (status, out) == (2, "") and re.search(rf"^error: .*{which}: holds no image .*$", err, re.MULTILINE)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--top", 0], "--top must be at least 1, got 0"),
        (["--rows", 0], "--rows must be at least 1"),
        (["--batch", -1], "--batch must be at least 1"),
        (["--sheet", "sheet.gif"], "sheet.gif: a sheet is a picture"),
        (["--gallery", "nowhere"], "nowhere: no such folder"),
        (["--gallery", "nowhere.npz"], "nowhere.npz: no such file"),
        (["--checkpoint", "none.pt"], "none.pt: no such file"),
    ],
)
def test_unusable_arguments_end_with_2_before_any_work(run: Run, place: Path, more: list[object], message: str) -> None:
    status, out, err = run(*asked(place), *more)
    assert (status, out) == (2, "") and message in err and "Traceback" not in err


def test_an_index_of_another_checkpoint_is_refused(run: Run, place: Path, network: MatchingNetwork) -> None:
    run(*asked(place), "--index", place / "index.npz")
    with torch.no_grad():
        network.fc8.bias += 1
    save_network(place / "network.pt", network, method="siamese")
    status, _, err = run(*asked(place), "--index", place / "index.npz")
    assert status == 2 and "was made by another network" in err


def test_faiss_that_is_not_installed_is_named(run: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outlier_matching.gallery.find_spec", lambda name: None)
    status, _, err = run(*asked(place), "--engine", "faiss")
    assert status == 2 and 'pip install "outlier_matching[faiss]"' in err
    assert run(*asked(place))[0] == 0


def test_help_and_devices(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments in (["--help"], ["match", "--help"], ["train", "--help"], ["evaluate", "--help"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 0
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == "cpu"
    for name, message in (("cuda", "finds no CUDA device"), ("tpu", "must be auto, cpu or cuda")):
        with pytest.raises(UsageError, match=message):
            resolve_device(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == resolve_device("cuda") == "cuda"
