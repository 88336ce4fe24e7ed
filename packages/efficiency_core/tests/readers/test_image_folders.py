"""Folders of images: which files are listed, in which order, and what is left out."""

import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, features

from efficiency_core.errors import UsageError
from efficiency_core.readers.images import IMAGE_SUFFIXES, class_folders, list_frames, list_images, read_image


def touched(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def listed(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in list_images(folder)]


def test_listing_is_sorted_by_path_and_goes_down(tmp_path: Path) -> None:
    names = "b.JPG a/c.png a/._x.jpg a/.DS_Store .cache/d.png notes.txt a/b.webp a-b/e.tif"
    touched(tmp_path, *names.split())
    assert listed(tmp_path) == ["a/b.webp", "a/c.png", "a-b/e.tif", "b.JPG"]


def test_endings_are_those_that_pillow_decodes(tmp_path: Path) -> None:
    """Left out are stubs, formats that it only writes, and those that need Ghostscript or olefile."""
    not_decoded = {"BUFR", "EPS", "FPX", "GRIB", "HDF5", "MIC", "MPEG", "PALM", "PDF", "WMF"}
    known = {ending for ending, format in Image.registered_extensions().items() if format not in not_decoded}
    assert known <= set(IMAGE_SUFFIXES)
    names = ["a.JFIF", "b.jp2", "c.jpe", "d.qoi", "e.tga", "f.pnm", "g.ico"] + ["h.avif"] * features.check("avif")
    for name in names:
        Image.new("RGB", (32, 32)).save(tmp_path / name)
    assert listed(tmp_path) == names and list_frames(tmp_path) == names
    assert all(read_image(tmp_path / name).shape == (32, 32, 3) for name in names)


def test_what_is_left_out_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touched(tmp_path, "a.png", "b/x.heic", "b/y.HEIC", "notes.txt", "LICENSE", ".hidden.txt", ".cache/z.txt")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    assert listed(tmp_path) == ["a.png"]
    said = f"left out 5 files, .heic (2), LICENSE (1), gone (1), .txt (1), the first {tmp_path}/LICENSE"
    assert caplog.messages == [f"{tmp_path}: {said}, by their names no images that Pillow can read"]
    (tmp_path / "a.png").unlink()
    with pytest.raises(UsageError, match=r"holds no image that Pillow can read, but 5 files, .heic \(2\)"):
        list_images(tmp_path)


def test_listing_follows_links_and_takes_each_folder_once(tmp_path: Path) -> None:
    touched(tmp_path, "far/1.png", "set/z/2.png")
    (tmp_path / "set/far").symlink_to(tmp_path / "far")
    (tmp_path / "set/again").symlink_to(tmp_path / "set/z")
    (tmp_path / "set/z/up").symlink_to(tmp_path / "set")
    assert listed(tmp_path / "set") == ["again/2.png", "far/1.png"]


def test_a_folder_that_cannot_be_read_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    touched(tmp_path, "a.png", "locked/b.png")
    scandir = os.scandir

    def refusing(folder: str) -> Any:
        if str(folder).endswith("locked"):
            raise PermissionError(13, "Permission denied", folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    assert listed(tmp_path) == ["a.png"] and "locked: left out, the folder cannot be read (Permission" in caplog.text


def test_folders_that_cannot_be_listed(tmp_path: Path) -> None:
    touched(tmp_path, "notes.txt")
    for name, message in ((".", "holds no image"), ("nowhere", "nowhere: no such folder"), ("notes.txt", "is a file")):
        with pytest.raises(UsageError, match=message):
            list_images(tmp_path / name)


def test_frames_come_in_natural_order(tmp_path: Path) -> None:
    names = "b1.png a10.png a9.png A2.PPM a2b.png 10.png 9.png x.png 007.png"
    touched(tmp_path, *names.split(), ".hidden.png", "notes.txt", "deeper/2.png", "folder.png/x.txt")
    ordered = "007.png 9.png 10.png A2.PPM a2b.png a9.png a10.png b1.png x.png"
    assert list_frames(tmp_path) == ordered.split()
    assert list_frames(tmp_path / "folder.png") == []
    with pytest.raises(FileNotFoundError):
        list_frames(tmp_path / "nowhere")


def test_class_folders(tmp_path: Path) -> None:
    touched(tmp_path, "train/dog/1.png", "train/cat/1.png", "train/.git/1.png", "train/list.txt", "val/1.png")
    assert [folder.name for folder in class_folders(tmp_path / "train")] == ["cat", "dog"]
    with pytest.raises(UsageError, match="val: has no folder of a class"):
        class_folders(tmp_path / "val")
    with pytest.raises(UsageError, match=r"test: no such folder; .*there is train, val"):
        class_folders(tmp_path / "test")
