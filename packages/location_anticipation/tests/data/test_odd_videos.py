"""Sources that are videos to FFmpeg and not to everyone: a photograph, an animation, a broadcast that was joined late."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from location_anticipation.data.frame_sources import open_source, outputs_of, parse_source


def encode(path: Path, count: int, codec: str = "libx264", pixels: str = "yuv420p") -> Path:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 64, 48, pixels, 12
        for t in range(count):
            image = np.full((48, 64, 3), 20 + 6 * t, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_a_photograph_is_turned_by_its_exif(tmp_path: Path) -> None:
    pixels = np.zeros((24, 40, 3), np.uint8)
    pixels[:8] = 250
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "photo.jpg", exif=exif, quality=100)
    with open_source(tmp_path / "photo.jpg") as source:
        (frame,) = source
        shown = source.rgb(frame)
    assert (source.width, source.height) == (24, 40)
    assert shown[:, 18:].mean() > 240 and shown[:, :14].mean() < 10  # the upper edge of the file is on the right


def test_an_animation_has_its_times(tmp_path: Path) -> None:
    images = [Image.fromarray(np.full((24, 32, 3), 60 * k, np.uint8)) for k in range(4)]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=[100, 500, 200, 100])
    with open_source(tmp_path / "a.gif") as source:
        read = [(source.seconds(frame), int(source.rgb(frame)[5, 5, 0])) for frame in source]
    assert [round(at or 0, 2) for at, _ in read] == [0, 0.1, 0.6, 0.8]
    assert [value for _, value in read] == pytest.approx([0, 60, 120, 180], abs=3) and source.damage is None


def test_a_broadcast_that_was_joined_late_keeps_its_clock(tmp_path: Path) -> None:
    path = encode(tmp_path / "late.ts", 36, "mpeg2video")
    with open_source(path) as source:
        whole = [(source.seconds(frame), int(source.rgb(frame)[5, 5, 0])) for frame in source]
    packets = path.read_bytes()
    path.write_bytes(packets[: 2 * 188] + packets[10 * 188 :])  # the tables, and later packets
    with open_source(path) as source:
        late = [(source.seconds(frame), int(source.rgb(frame)[5, 5, 0])) for frame in source]
    assert 0 < len(late) < len(whole) and late[-12:] == whole[-12:]


@pytest.mark.parametrize("name", ["100%d.mp4", "it's a clip.mp4", "a:b.mp4", "-dash.mp4", "ключ 鍵.mp4", "{name}.mp4"])
def test_names_that_mean_something_to_others(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    encode(tmp_path / name, 5)
    source = parse_source(name)
    with open_source(source) as video:
        assert sum(1 for _ in video) == 5 and video.name == name.removesuffix(".mp4")
    (out,) = outputs_of(Path("{name}.json"), [source])
    assert out == Path(name.replace(".mp4", ".json"))


@pytest.mark.parametrize(
    ("codec", "suffix", "pixels"), [("png", ".mov", "rgba"), ("ffv1", ".mkv", "gray"), ("ffv1", ".avi", "yuv444p10le")]
)
def test_other_kinds_of_pixels(tmp_path: Path, codec: str, suffix: str, pixels: str) -> None:
    with open_source(encode(tmp_path / f"clip{suffix}", 4, codec, pixels)) as source:
        values = [int(source.rgb(frame)[20, 20, 1]) for frame in source]
    assert values == pytest.approx([20, 26, 32, 38], abs=2)
