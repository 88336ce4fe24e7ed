"""Video files in one pass: all frames in order, upright and at their times."""

import struct
import wave
from collections.abc import Callable
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from making_videos import CONTAINERS, COUNT, HEIGHT, REORDERED, WIDTH, encode, numbers, pictures, read, remux

from efficiency_core.errors import BrokenFile
from efficiency_core.readers.video import VideoFile, VideoReader, frame_pixels, open_video


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "size"),
    [
        ("clip.mp4", "libx264", "yuv420p", (64, 48)),
        ("clip.mp4", "libx264", "yuv444p", (65, 47)),
        ("clip.avi", "mpeg4", "yuv420p", (64, 48)),
        ("clip.avi", "mjpeg", "yuvj444p", (65, 47)),
        ("clip.mkv", "ffv1", "yuv420p", (65, 47)),
        ("clip.webm", "libvpx-vp9", "yuv420p", (64, 48)),
        ("clip.ts", "libx264", "yuv420p", (64, 48)),
    ],
)
def test_every_frame_in_order(tmp_path: Path, name: str, codec: str, pix_fmt: str, size: tuple[int, int]) -> None:
    path = encode(tmp_path / name, pictures(COUNT, *size), codec, pix_fmt)
    with open_video(path) as video:
        assert (video.label, video.name, video.width, video.height) == (str(path), "clip", *size)
        assert video.rate == 25 and video.frame_count in (COUNT, None) and video.pixel_aspect == 1
        frames = []
        for frame in video:
            assert frame.format.name == pix_fmt  # converted only on request
            frames.append(video.rgb(frame))
        assert np.array_equal(frames[-1], frame_pixels(frame)) and frame_pixels(frame, "gray").shape == size[::-1]
        with pytest.raises(RuntimeError, match="read already"):
            next(iter(video))
    assert video.damage is None and video.given == COUNT and numbers(frames) == list(range(COUNT))
    assert all(frame.shape == (size[1], size[0], 3) and frame.dtype == np.uint8 for frame in frames)
    file = VideoFile(path)
    assert all(np.array_equal(a, b) for a, b in zip(file, frames, strict=True)) and len(file) == COUNT


# What a player shows of a picture with the display matrix (a, b, c, d): a pixel (x, y) goes to (a x + c y, b x + d y).
TURNS = {
    (1, 0, 0, 1): lambda image: image,
    (-1, 0, 0, 1): np.fliplr,
    (1, 0, 0, -1): np.flipud,
    (-1, 0, 0, -1): lambda image: np.rot90(image, 2),
    (0, 1, -1, 0): lambda image: np.rot90(image, -1),  # a phone held upright
    (0, -1, 1, 0): lambda image: np.rot90(image, 1),
    (0, 1, 1, 0): lambda image: image.swapaxes(0, 1),
    (0, -1, -1, 0): lambda image: np.rot90(image, 2).swapaxes(0, 1),
    (0.999, 0.03, -0.03, 0.999): lambda image: image,
    (0.2, 0, 0, -0.2): np.flipud,  # scaled too
}


def with_matrix(path: Path, matrix: tuple[float, ...]) -> Path:
    """Write a display matrix into the track header of an MP4 file."""
    a, b, c, d = (round(entry * (1 << 16)) for entry in matrix)
    content = path.read_bytes()
    at = content.index(b"tkhd") + 44
    entries = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content[:at] + entries + content[at + len(entries) :])
    return path


@pytest.mark.parametrize("matrix", list(TURNS))
def test_every_orientation_is_given_upright(tmp_path: Path, matrix: tuple[float, ...]) -> None:
    path = encode(tmp_path / "clip.mp4", pictures(3))
    with open_video(path) as video:
        stored = video.rgb(next(iter(video)))
    expected = TURNS[matrix](stored)
    with open_video(with_matrix(path, matrix)) as video:
        assert (video.height, video.width) == expected.shape[:2]
        frame = next(iter(video))
        assert np.array_equal(video.rgb(frame), expected) and np.array_equal(frame_pixels(frame), expected)
    assert np.array_equal(next(iter(VideoFile(path))), expected)


@pytest.mark.parametrize(("rotation", "corner"), [(-90, (0, -1)), (90, (-1, 0)), (180, (-1, -1))])
def test_rotated_video_is_given_upright(tmp_path: Path, rotation: int, corner: tuple[int, int]) -> None:
    """-90 is what a phone held upright writes: the picture has to be turned a quarter clockwise."""
    path = encode(tmp_path / "phone.mkv", pictures(3), rotation=rotation)
    with open_video(path) as video:
        image = video.rgb(next(iter(video)))
    corners = {(y, x): int(image[y, x].min()) for y in (0, -1) for x in (0, -1)}
    assert corners[corner] > 200 and sorted(corners.values())[-2] < 180


def test_frames_of_another_size_are_scaled_to_the_first(tmp_path: Path) -> None:
    """Two raw H.264 streams one after the other are one stream that changes its size."""
    small = encode(tmp_path / "small.h264", pictures(6), "libx264").read_bytes()
    large = encode(tmp_path / "large.h264", pictures(6, 2 * WIDTH, 2 * HEIGHT), "libx264").read_bytes()
    (tmp_path / "both.h264").write_bytes(small + large)
    frames, damage = read(tmp_path / "both.h264")
    assert [frame.shape for frame in frames] == [(HEIGHT, WIDTH, 3)] * 12 and damage is None
    assert numbers(frames) == [*range(6), *range(6)]


def sound(path: Path) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(16000))


def sound_with_cover(path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        audio: Any = container.add_stream("aac", rate=8000)
        cover: Any = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 16, 16, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 8000
        container.mux(cover.encode(av.VideoFrame(16, 16, "yuvj420p")))
        container.mux(audio.encode(silence))
        container.mux(audio.encode(None))


def unknown_codec(path: Path) -> None:
    encode(path, pictures(3))
    path.write_bytes(path.read_bytes().replace(b"avc1", b"xxx1"))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: path.write_text("no video\n" * 100), "not a readable video"),
        (lambda path: path.touch(), "not a readable video"),
        (sound, "no video stream"),
        (sound_with_cover, "no video stream"),
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "is a folder; name the file"),
        (None, "not a readable video"),  # the beginning of a video
        (unknown_codec, "no decoder for its codec"),
    ],
)
def test_what_is_no_video(tmp_path: Path, make: Callable[[Path], object] | None, why: str) -> None:
    path = tmp_path / "clip.mp4"
    if make is None:
        path.write_bytes(encode(path).read_bytes()[:800])
    else:
        make(path)
    for attempt in (lambda: open_video(path, "a/b").__enter__(), lambda: len(VideoFile(path, "a/b"))):
        with pytest.raises(BrokenFile, match=f"^a/b: .*{why}") as caught:
            attempt()
        assert caught.value.name == "a/b" and "\n" not in caught.value.why


def test_frames_of_uneven_length_are_no_damage(tmp_path: Path) -> None:
    """A recording of a screen may have one frame for seconds on end, in the middle and as its last."""
    times = [*range(12), *range(62, 74)]
    with av.open(str(tmp_path / "uneven.mp4"), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        packets = []
        for image, pts in zip(pictures(), times, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = pts, Fraction(1, 25)
            packets += stream.encode(frame)
        packets += stream.encode(None)
        packets[-1].duration = 250
        container.mux(packets)
    frames, damage = read(tmp_path / "uneven.mp4")
    assert damage is None and numbers(frames) == list(range(COUNT))


def with_times(path: Path, times: list[int]) -> Path:
    """A video whose frames are shown at these hundredths of a second."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(CONTAINERS.get(path.suffix, "libx264"), rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 100)
        for image, pts in zip(pictures(len(times)), times, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = pts, Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.mov", "clip.webm"])
@pytest.mark.parametrize(
    "times",
    [
        [*range(0, 60, 4), *range(300, 336, 4)],  # nothing for a while
        [300 + 4 * k for k in range(24)],  # starts late
        [0, 1, 2, 50, 51, 90, 200, 203, 210, 300],
    ],
)
def test_frames_have_their_own_times(tmp_path: Path, name: str, times: list[int]) -> None:
    with open_video(with_times(tmp_path / name, times)) as video:
        assert [round(video.seconds(frame) or 0, 3) for frame in video] == [t / 100 for t in times]
    assert video.damage is None


def test_times_of_avi_rise(tmp_path: Path) -> None:
    """AVI does not say when a frame is shown, if it comes before one that was stored earlier."""
    for coder in (REORDERED, {}):
        with open_video(remux(encode(tmp_path / "clip.mp4", coder=coder), "clip.avi")) as video:
            assert [round(25 * (video.seconds(frame) or 0)) for frame in video] == list(range(COUNT))


def test_reading_may_stop_early(clip: Path) -> None:
    with open_video(clip) as video:
        assert len(list(islice(video, 5))) == 5 == video.given
    assert video.damage is None


@pytest.mark.parametrize("suffix", [".avi", ".mkv"])
def test_odd_titles_and_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    """A title need not be UTF-8, and a name with a colon is no address."""
    path = encode(tmp_path / f"clip{suffix}", pictures(5), title="caf\xe9")
    assert b"caf\xe9" in path.read_bytes()
    path.rename(tmp_path / f"clip:1{suffix}")
    monkeypatch.chdir(tmp_path)
    assert len(VideoFile(f"clip:1{suffix}")) == 5


def test_a_camera_that_has_no_picture_yet_is_asked_again(tmp_path: Path) -> None:
    class Hesitant:
        """A container that says twice in between that it has nothing yet."""

        def __init__(self, container: Any) -> None:
            self.packets, self.calls = container.demux(video=0), 0

        def demux(self, stream: Any) -> Any:
            self.calls += 1
            if self.calls == 3:
                yield from self.packets
                return
            yield from islice(self.packets, 5)
            raise BlockingIOError

    with av.open(str(encode(tmp_path / "clip.mp4"))) as container:
        hesitant: Any = Hesitant(container)
        video = VideoReader("camera 0", "camera0", hesitant, container.streams.video[0])
        assert len(list(video)) == COUNT
    assert hesitant.calls == 3 and video.damage is None and video.label == "camera 0"
