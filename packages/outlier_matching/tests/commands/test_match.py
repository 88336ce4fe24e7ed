"""``outlier-matching match`` from end to end: table, sheet, index, exit statuses, errors of one line."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from outlier_matching.checkpoint import save_network
from outlier_matching.networks.network import MatchingNetwork
from outlier_matching.retrieval.gallery import load_gallery
from outlier_matching.retrieval.lookup import describe_folder, match

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def place(tmp_path: Path, network: MatchingNetwork, write_pictures: Callable[..., Path]) -> Path:
    """A folder with queries, a gallery, and checkpoints with and without references."""
    write_pictures(tmp_path / "queries", 3, seed=1)
    write_pictures(tmp_path / "gallery", 8, seed=2)
    references = describe_folder(network, tmp_path / "gallery").gallery.embeddings.split([3, 3, 2])
    save_network(tmp_path / "network.safetensors", network, method="da_outlier_detection", references=references)
    save_network(tmp_path / "siamese.safetensors", network, method="siamese")
    return tmp_path


def asked(place: Path, checkpoint: str = "network.safetensors") -> list[object]:
    return ["match", place / "queries", "--gallery", place / "gallery", "--checkpoint", place / checkpoint]


def test_matches_are_printed_as_csv(run: Run, place: Path, network: MatchingNetwork) -> None:
    status, out, err = run(*asked(place), "--top", 4, "--engine", "torch")
    assert status == 0 and "3 queries in a gallery of 8, searched by torch" in err
    rows = list(csv.DictReader(io.StringIO(out)))
    assert list(rows[0]) == ["query", "rank", "match", "distance", "outlier_probability", "outlier"]
    assert [row["query"] + row["rank"] for row in rows] == [f"{q}.png{r}" for q in range(3) for r in range(1, 5)]
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
    status, out, err = run(*asked(place, "siamese.safetensors"), "--top", 1)
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
    more = ["--gallery", place / "index.npz", "--top", 2, "--sheet", place / "sheet.png"]
    status, out, err = run(*asked(place), *more)
    assert status == 0 and out == table and "not on the sheet" in err
    assert Image.open(place / "sheet.png").size[0] > 6 * 128


def test_unreadable_images_are_named_and_the_command_ends_with_1(run: Run, place: Path) -> None:
    (place / "queries" / "bad.png").write_bytes(b"\x89PNG but not for long")
    (place / "gallery" / "cut.jpg").write_bytes(b"")
    status, out, err = run(*asked(place), "--top", 1)
    assert status == 1 and len(out.splitlines()) == 4
    assert "skipped bad.png" in err and "skipped cut.jpg" in err and "2 of the images cannot be read" in err


def test_a_folder_behind_a_link_is_searched_and_the_rest_is_named(run: Run, place: Path) -> None:
    """Links that lead back end; other kinds of images are read."""
    (place / "gallery").rename(place / "far")
    (place / "gallery").mkdir()
    (place / "gallery" / "link").symlink_to(place / "far")
    (place / "far" / "back").symlink_to(place / "gallery")
    for number, ending in enumerate((".jfif", ".jp2", ".tga")):
        Image.new("RGB", (9, 9), (90 * number, 0, 0)).save(place / "far" / f"x{ending}")
    Image.fromarray(np.linspace(0, 1, 81, dtype=np.float32).reshape(9, 9)).save(place / "far" / "float.tif")
    (place / "far" / "photo.heic").touch()
    status, out, err = run(*asked(place), "--top", 99)
    assert status == 0 and len(out.splitlines()) == 1 + 3 * 12 and "link/x.jp2" in out and "link/float.tif" in out
    assert "left out 1 files, .heic (1)" in err


def test_an_image_too_large_is_one_line(run: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 900)  # at most twice as many are decoded
    Image.new("RGB", (60, 60)).save(place / "gallery" / "huge.png")
    status, _, err = run(*asked(place))
    assert status == 1 and "Traceback" not in err and "skipped huge.png: is too large (Image size (3600 pixels)" in err


def test_a_damaged_index_ends_with_2(run: Run, place: Path) -> None:
    for content in (b"", b"PK\x03\x04 cut", b"another file"):
        (place / "index.npz").write_bytes(content)
        for arguments in (["--index", place / "index.npz"], ["--gallery", place / "index.npz"]):
            status, out, err = run(*asked(place), *arguments)
            assert (status, out) == (2, "") and err.count("\n") == 1 and "index.npz: cannot be read" in err
        assert (place / "index.npz").read_bytes() == content


@pytest.mark.parametrize(("more", "message"), [
    (["--top", 0], "top must be at least 1, got 0"), (["--batch", -1], "batch must be at least 1"),
    (["--sheet", "sheet.gif"], "sheet.gif: a sheet is a picture"),
    (["--gallery", "nowhere"], "nowhere: no such folder"),
    (["--checkpoint", "none.safetensors"], "none.safetensors: no such file"),
])  # fmt: skip
def test_unusable_arguments_end_with_2_before_any_work(run: Run, place: Path, more: list[object], message: str) -> None:
    status, out, err = run(*asked(place), *more)
    assert (status, out) == (2, "") and message in err and "Traceback" not in err
