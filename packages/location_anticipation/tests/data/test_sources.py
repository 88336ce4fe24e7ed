"""Folders of images, cameras and addresses, and which kind of source a text means."""

import http.server
import logging
import re
import socket
import struct
import sys
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image, ImageFile

from efficiency_core.errors import BrokenFile, UsageError
from efficiency_core.readers.video import open_address
from location_anticipation.data import frame_sources
from location_anticipation.data.frame_sources import camera_address, open_source, outputs_of, parse_source
from location_anticipation.data.image_folder import ImageFolder


def save(path: Path, value: int, size: tuple[int, int] = (32, 24)) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.full((size[1], size[0], 3), value, np.uint8)).save(path)


def make_video(path: Path, count: int, codec: str = "libx264", pixels: str = "yuv420p") -> Path:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        for t in range(count):
            image = np.full((48, 64, 3), 20 * t, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


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


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    folder = tmp_path / "clip"
    folder.mkdir()
    with pytest.raises(UsageError, match=r"clip: no images in this folder"):
        ImageFolder(folder)
    save(folder / "a.png", 1)
    save(folder / "b.png", 1, (40, 24))
    with pytest.raises(UsageError, match=r"b\.png: is 40x24, but a\.png is 32x24: .*one size"):
        ImageFolder(folder)
    (folder / "b.png").write_bytes(b"no image")
    with pytest.raises(UsageError, match=r"b\.png: is no image"):
        ImageFolder(folder)
    noise = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "b.png")
    content = (folder / "b.png").read_bytes()
    (folder / "b.png").write_bytes(content[: len(content) // 2])
    images = ImageFolder(folder)
    with pytest.raises(UsageError, match=r"b\.png: cannot be decoded"):
        images.rgb(list(images)[1])


@pytest.mark.parametrize("size", [(20_000, 20_000), (200_000, 1_000), (2**31 - 1, 2**31 - 1), (0, 5)])
def test_an_image_of_an_absurd_size_is_one_clear_line(tmp_path: Path, size: tuple[int, int]) -> None:
    """A header is enough for that."""
    save(tmp_path / "a.png", 1)
    header = b"IHDR" + struct.pack(">2I", *size) + b"\x08\x02\0\0\0"
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "b.png").write_bytes(content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:])
    with pytest.raises(UsageError, match=r"^.*b\.png: .") as caught:
        ImageFolder(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_number_is_a_camera_unless_a_file_has_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_source("0") == 0 and parse_source("12") == 12
    assert parse_source("clip.mp4") == Path("clip.mp4") and parse_source("-1") == Path("-1")
    (tmp_path / "12").mkdir()
    assert parse_source("12") == Path("12")
    for address in ("http://host/a.mp4", "https://host/a", "rtsp://user:word@host:554/1", "RTMP://host/live"):
        assert parse_source(address) == address
    for other in ("ftp://host/a.mp4", "file:///a.mp4", "htp://host/a.mp4", "http://[host/a.mp4"):
        with pytest.raises(UsageError, match=f"^{re.escape(other)}: "):
            parse_source(other)


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
        open_source(97).__enter__()
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="counted from 0"):
        open_source(-1).__enter__()


def test_camera_without_its_capture_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_sources, "camera_address", lambda index: ("0", "nocapture"))
    with pytest.raises(UsageError, match=r"camera 0: cannot be opened as 0 \(.*nocapture"):
        open_source(0).__enter__()


def test_frames_of_a_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in the place of the device, which no machine that runs tests has."""
    clip = make_video(tmp_path / "clip.mp4", 6)
    monkeypatch.setattr(frame_sources, "camera_address", lambda index: (str(clip), "mp4"))
    with open_source(1) as source:
        values = [source.rgb(frame)[0, 0, 0] for frame in source]
    assert np.abs(np.array(values) - 20.0 * np.arange(6)).max() <= 3
    assert (source.label, source.name, source.file_name(3)) == ("camera 1", "camera1", "camera1/000003.jpg")
    assert (source.width, source.height, source.rate) == (64, 48, 25)


def test_a_cut_video_gives_the_frames_before_the_cut_and_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cut = make_video(tmp_path / "cut.avi", 12, "mjpeg", "yuvj420p")
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 2 // 3])
    with caplog.at_level(logging.WARNING), open_source(cut) as source:
        count = len(list(source))
    assert 2 < count < 12 and source.damage is not None
    (message,) = caplog.messages
    assert message == f"{cut}: {source.damage}; {count} frames were read"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Address of the folder."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, *args: Any) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://user:secret@127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.mark.parametrize(("name", "codec"), [("clip.ts", "mpeg2video"), ("clip.mkv", "libx264"), ("clip.avi", "mjpeg")])
def test_a_video_on_a_server_is_read_as_its_file_is(tmp_path: Path, server: str, name: str, codec: str) -> None:
    path = make_video(tmp_path / name, 12, codec, "yuvj420p" if codec == "mjpeg" else "yuv420p")
    read = []
    for source in (path, f"{server}/{name}?token=secret"):
        with open_source(source) as video:
            read.append([(video.seconds(frame), video.rgb(frame)) for frame in video])
            assert (video.name, video.damage, "secret" in video.label) == ("clip", None, False)
    assert [at for at, _ in read[0]] == [at for at, _ in read[1]]
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(*read, strict=True)) and len(read[0]) == 12


def test_a_server_without_a_video_is_one_clear_line(tmp_path: Path, server: str) -> None:
    (tmp_path / "page.html").write_text("<html>no video</html>" * 50)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for address, why in (
            (f"{server}/none.mp4", "404"),
            (f"{server}/page.html", "not a readable video"),
            (f"rtsp://127.0.0.1:{free_port()}/1", "refused"),
            (f"rtmp://127.0.0.1:{free_port()}/live", "not a readable video"),
        ):
            with pytest.raises(UsageError, match=why) as caught:
                open_source(address).__enter__()
            assert "\n" not in str(caught.value) and "secret" not in str(caught.value)
        port = silent.getsockname()[1]
        for scheme in ("http", "rtsp"):
            with pytest.raises(BrokenFile, match=r"^a label: .*nothing came in time"):
                open_address(f"{scheme}://127.0.0.1:{port}/a", "a label", "a", timeout=0.2).__enter__()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def test_several_sources_have_an_output_each(tmp_path: Path) -> None:
    (tmp_path / "walk").mkdir()
    sources = [tmp_path / "a.mp4", "http://host/b.mp4?x=1", 2, tmp_path / "walk" / ".", "rtsp://host"]
    names = ["a", "b", "camera2", "walk", "host"]
    assert outputs_of(Path("out/{name}.json"), sources) == [Path(f"out/{name}.json") for name in names]
    assert outputs_of(None, sources) == [None] * 5 and outputs_of(Path("a.csv"), sources[:1]) == [Path("a.csv")]
    for path, group in ((Path("a.csv"), sources), (Path("{name}.csv"), ["x/a.mp4", "y/a.avi"])):
        with pytest.raises(UsageError, match=r"a\.csv: .* would both go to it; put \{name\}"):
            outputs_of(path, group)
