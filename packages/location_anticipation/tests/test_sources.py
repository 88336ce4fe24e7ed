"""Folders of images and cameras, and which of the three kinds of source a text means."""

import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image, ImageFile

from location_anticipation import camera
from location_anticipation.camera import camera_address, open_camera
from location_anticipation.errors import UsageError
from location_anticipation.image_folder import ImageFolder, natural_order
from location_anticipation.sources import open_source, parse_source


def save(path: Path, value: int, size: tuple[int, int] = (32, 24), **options: Any) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.full((size[1], size[0], 3), value, np.uint8)).save(path, **options)
    return path


def make_video(path: Path, count: int = 6) -> Path:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for t in range(count):
            image = np.full((48, 64, 3), 40 * t, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_numbers_in_names_count_as_numbers() -> None:
    names = ["b1.png", "a10.png", "a9.png", "A2.png", "a2b.png", "10.png", "9.png", "x.png", "007.png"]
    assert sorted(names, key=natural_order) == [
        "007.png", "9.png", "10.png", "A2.png", "a2b.png", "a9.png", "a10.png", "b1.png", "x.png",
    ]  # fmt: skip


def test_folder_gives_its_images_in_natural_order(tmp_path: Path) -> None:
    folder = tmp_path / "clip"
    for k in (1, 2, 9, 10, 11):
        save(folder / f"frame{k}.{'png' if k % 2 else 'PPM'}", 10 * k)
    save(folder / ".hidden.png", 0)
    (folder / "notes.txt").write_text("no image")
    (folder / "deeper.png.d").mkdir()
    with open_source(folder) as source:
        frames = list(source)
        assert [int(source.rgb(frame)[0, 0, 0]) for frame in frames] == [10, 20, 90, 100, 110]
        assert [source.file_name(k) for k in (0, 1, 4)] == ["frame1.png", "frame2.PPM", "frame11.png"]
    assert (source.width, source.height, source.frame_count) == (32, 24, 5)
    assert (source.name, source.label, source.rate, source.damage) == ("clip", str(folder), None, None)
    pixels = source.rgb(frames[0])
    assert pixels.shape == (24, 32, 3) and pixels.dtype == np.uint8


def test_only_asked_for_images_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for k in range(4):
        save(tmp_path / f"{k}.png", k)
    decoded = []
    load = ImageFile.ImageFile.load

    def counting(self: ImageFile.ImageFile) -> Any:
        decoded.append(self)
        return load(self)

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", counting)
    folder = ImageFolder(tmp_path)
    frames = list(folder)
    assert not decoded and len(frames) == 4
    folder.rgb(frames[2])
    assert len({image.filename for image in decoded}) == 1


def test_photographs_are_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    image = np.zeros((24, 32, 3), np.uint8)
    image[:8, :8] = 255
    Image.fromarray(image).save(tmp_path / "photo.png", exif=exif)
    folder = ImageFolder(tmp_path)
    assert (folder.width, folder.height) == (24, 32)
    pixels = folder.rgb(next(iter(folder)))
    assert pixels.shape == (32, 24, 3)
    assert pixels[:8, -8:].min() == 255 and pixels[:, :-8].max() == 0


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK"])
def test_images_of_other_kinds_become_rgb(tmp_path: Path, mode: str) -> None:
    Image.new("RGB", (32, 24), (255, 255, 255)).convert(mode).save(tmp_path / "a.tif")
    folder = ImageFolder(tmp_path)
    assert folder.rgb(next(iter(folder))).tolist() == np.full((24, 32, 3), 255).tolist()


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    folder = tmp_path / "clip"
    folder.mkdir()
    with pytest.raises(UsageError, match=r"clip: no images in this folder \(expected \.jpg"):
        ImageFolder(folder)
    save(folder / "a.png", 1)
    save(folder / "b.png", 1, (40, 24))
    with pytest.raises(UsageError, match=r"b\.png: is 40x24, but a\.png is 32x24: .*one size"):
        ImageFolder(folder)
    (folder / "b.png").write_bytes(b"no image")
    with pytest.raises(UsageError, match=r"b\.png: not a readable image"):
        ImageFolder(folder)
    Image.fromarray(np.full((24, 32), 40_000, np.uint16)).save(folder / "b.png")
    with pytest.raises(UsageError, match=r"b\.png: has pixels of type 'I;16', expected 8 bits"):
        ImageFolder(folder)
    (folder / "b.png").unlink()
    noise = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "b.jpg", quality=95)
    content = (folder / "b.jpg").read_bytes()
    (folder / "b.jpg").write_bytes(content[: len(content) // 2 + 400])
    images = ImageFolder(folder)
    with pytest.raises(UsageError, match=r"b\.jpg: not a readable image"):
        images.rgb(list(images)[1])


def test_a_number_is_a_camera_unless_a_file_has_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_source("0") == 0 and parse_source("12") == 12
    assert parse_source("clip.mp4") == Path("clip.mp4") and parse_source("-1") == Path("-1")
    (tmp_path / "12").mkdir()
    assert parse_source("12") == Path("12")


def test_cameras_have_the_names_that_the_platform_gives_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert camera_address(2, "linux") == ("/dev/video2", "v4l2")
    assert camera_address(1, "darwin") == ("1:none", "avfoundation")
    with pytest.raises(UsageError, match="not on aix"):
        camera_address(0, "aix")

    class Device:
        def __init__(self, name: str, *kinds: str) -> None:
            self.name, self.media_types = name, kinds

    devices = [Device("Microphone", "audio"), Device("Front", "video"), Device("Back", "video", "audio")]
    monkeypatch.setattr(av, "enumerate_input_devices", lambda kind: devices if kind == "dshow" else [], raising=False)
    assert camera_address(1, "win32") == ("video=Back", "dshow")
    with pytest.raises(UsageError, match="camera 2: there are 2 cameras, counted from 0"):
        camera_address(2, "win32")
    monkeypatch.delattr(av, "enumerate_input_devices")
    with pytest.raises(UsageError, match="cannot list cameras"):
        camera_address(0, "win32")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names of Video4Linux")
def test_no_camera_is_one_clear_line() -> None:
    with pytest.raises(UsageError, match=r"camera 97: cannot be opened as /dev/video97 \(No such file") as caught:
        open_camera(97).__enter__()
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="counted from 0"):
        open_camera(-1).__enter__()


def test_camera_without_its_capture_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera, "camera_address", lambda index: ("0", "nocapture"))
    with pytest.raises(UsageError, match=r"camera 0: cannot be opened as 0 \(.*nocapture"):
        open_camera(0).__enter__()


def test_frames_of_a_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in the place of the device, which no machine that runs tests has."""
    clip = make_video(tmp_path / "clip.mp4")
    monkeypatch.setattr(camera, "camera_address", lambda index: (str(clip), "mp4"))
    with open_source(1) as source:
        values = [source.rgb(frame)[0, 0, 0] for frame in source]
    assert np.abs(np.array(values) - 40.0 * np.arange(6)).max() <= 3
    assert (source.label, source.name, source.file_name(3)) == ("camera 1", "camera1", "camera1/000003.jpg")
    assert (source.width, source.height, source.rate) == (64, 48, 25)
