"""Video files in: what is read, what is refused, what counts as damage."""

import logging
import sys
import wave
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from location_anticipation.errors import UsageError
from location_anticipation.video_reader import VideoReader, frame_to_rgb, frame_to_tensor, open_video

WIDTH, HEIGHT, SIDE = 64, 48, 10

Images = list[NDArray[np.uint8]]


def square_images(count: int, width: int = WIDTH, height: int = HEIGHT) -> Images:
    """A bright square that moves right by two pixels a frame, on noise, which makes files large."""
    rng = np.random.default_rng(0)
    images = []
    for t in range(count):
        image = rng.integers(0, 80, (height, width, 3), dtype=np.uint8)
        image[8 : 8 + SIDE, 2 * t : 2 * t + SIDE] = 255
        images.append(image)
    return images


def encode(
    path: Path,
    images: Images,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    rotation: int = 0,
    **options: str,
) -> Path:
    with av.open(str(path), "w", options=options) as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = *images[0].shape[:2], pix_fmt
        if rotation:
            stream.set_display_rotation(rotation)
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def cut(path: Path, share: float, name: str = "cut") -> Path:
    content = path.read_bytes()
    shorter = path.with_stem(name)
    shorter.write_bytes(content[: int(len(content) * share)])
    return shorter


def square_corners(image: NDArray[np.uint8]) -> tuple[list[int], list[int]]:
    """Top-left and bottom-right pixel (x, y) of the bright square."""
    places = np.argwhere(image.min(-1) > 160)[:, ::-1]
    return places.min(0).tolist(), places.max(0).tolist()


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "size"),
    [
        ("clip.mp4", "libx264", "yuv420p", (64, 48)),
        ("clip.mp4", "libx264", "yuv444p", (65, 47)),
        ("clip.avi", "mpeg4", "yuv420p", (64, 48)),
        ("clip.avi", "mjpeg", "yuvj444p", (65, 47)),
        ("clip.mkv", "ffv1", "yuv420p", (65, 47)),
        ("clip.ts", "libx264", "yuv420p", (64, 48)),
    ],
)
def test_reads_every_frame_in_order(tmp_path: Path, name: str, codec: str, pix_fmt: str, size: tuple[int, int]) -> None:
    images = square_images(24, *size)
    with open_video(encode(tmp_path / name, images, codec, pix_fmt)) as video:
        assert (video.width, video.height) == size
        assert video.rate == 25
        assert video.frame_count in (24, None)
        pixels = [frame_to_rgb(frame) for frame in video]
    assert video.damage is None
    assert len(pixels) == 24
    for image, expected in zip(pixels, images, strict=True):
        assert image.shape == expected.shape and image.dtype == np.uint8
        got, want = square_corners(image), square_corners(expected)
        assert np.abs(np.array(got) - np.array(want)).max() <= 1
    with pytest.raises(RuntimeError, match="read already"):
        next(iter(video))


def test_frames_are_converted_only_on_request(tmp_path: Path) -> None:
    with open_video(encode(tmp_path / "clip.mp4", square_images(3))) as video:
        assert [frame.format.name for frame in video] == ["yuv420p"] * 3


def test_reader_converts_as_the_function_does(tmp_path: Path) -> None:
    with open_video(encode(tmp_path / "phone.mp4", square_images(3), rotation=90)) as video:
        for frame in video:
            assert np.array_equal(video.rgb(frame), frame_to_rgb(frame))


def test_tensor_is_a_float_image_of_the_same_pixels(tmp_path: Path) -> None:
    with open_video(encode(tmp_path / "clip.mp4", square_images(1))) as video:
        (frame,) = video
        tensor, pixels = frame_to_tensor(frame), frame_to_rgb(frame)
    assert tensor.shape == (3, HEIGHT, WIDTH) and tensor.dtype == torch.float32
    torch.testing.assert_close(tensor, torch.from_numpy(pixels).permute(2, 0, 1) / 255)
    assert torch.equal(frame_to_tensor(frame, torch.uint8), torch.from_numpy(pixels).permute(2, 0, 1))


@pytest.mark.parametrize(
    ("rotation", "corner"), [(-90, (HEIGHT - 8 - SIDE, 0)), (90, (8, WIDTH - SIDE)), (180, (54, 30))]
)
def test_rotated_video_is_given_upright(tmp_path: Path, rotation: int, corner: tuple[int, int]) -> None:
    """-90 is what a phone held upright writes: the picture has to be turned a quarter clockwise."""
    with open_video(encode(tmp_path / "phone.mp4", square_images(1), rotation=rotation)) as video:
        image = frame_to_rgb(next(iter(video)))
    assert (video.width, video.height) == ((WIDTH, HEIGHT) if rotation == 180 else (HEIGHT, WIDTH))
    assert image.shape == (video.height, video.width, 3)
    (x, y), _ = square_corners(image)
    assert abs(x - corner[0]) <= 1 and abs(y - corner[1]) <= 1


def test_frames_of_another_size_are_scaled_to_the_first(tmp_path: Path) -> None:
    """Two raw H.264 streams one after the other are one stream that changes its size."""
    small = encode(tmp_path / "small.h264", square_images(6, 64, 48)).read_bytes()
    large = encode(tmp_path / "large.h264", square_images(6, 128, 96)).read_bytes()
    (tmp_path / "both.h264").write_bytes(small + large)
    with open_video(tmp_path / "both.h264") as video:
        shapes = [frame_to_rgb(frame).shape for frame in video]
    assert shapes == [(48, 64, 3)] * 12


def sound(path: Path) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16000))


def sound_with_cover(path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        audio = container.add_stream("aac", rate=8000)
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 16, 16, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 8000
        container.mux(cover.encode(av.VideoFrame(16, 16, "yuvj420p")))
        container.mux(audio.encode(silence))
        container.mux(audio.encode(None))


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("text.mp4", lambda path: path.write_text("no video\n" * 100)),
        ("text.txt", lambda path: path.write_text("no video\n" * 100)),
        ("empty.mp4", lambda path: path.touch()),
        ("sound.wav", sound),
        ("cover.mp4", sound_with_cover),
        ("missing.mp4", lambda path: None),
        ("folder.mp4", lambda path: path.mkdir()),
    ],
)
def test_refuses_what_is_no_video_and_names_the_file(tmp_path: Path, name: str, make: object) -> None:
    assert callable(make)
    make(tmp_path / name)
    with pytest.raises(UsageError, match=name) as caught, open_video(tmp_path / name):
        pass
    assert "\n" not in str(caught.value)


def test_without_pyav_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with (
        pytest.raises(UsageError, match=r'pip install "location_anticipation\[video\]"'),
        open_video(tmp_path),
    ):
        pass


@pytest.mark.parametrize("share", [0.45, 0.6, 0.75])
@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("clip.mp4", "libx264", "yuv420p"),
        ("clip.avi", "mjpeg", "yuvj420p"),
        ("clip.avi", "ffv1", "yuv420p"),
        ("clip.mkv", "libx264", "yuv420p"),
    ],
)
def test_cut_file_gives_exactly_the_frames_before_the_cut(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, codec: str, pix_fmt: str, share: float
) -> None:
    options: dict[str, Any] = {"movflags": "faststart"} if name.endswith("mp4") else {}
    whole = encode(tmp_path / name, square_images(24), codec, pix_fmt, **options)
    with open_video(whole) as video:
        expected = [frame_to_rgb(frame) for frame in video]
    assert video.damage is None and not caplog.records

    shorter = cut(whole, share)
    with av.open(str(whole)) as container:
        ends = [(packet.pos or 0) + packet.size for packet in container.demux(video=0) if packet.size]
    complete = sum(end <= shorter.stat().st_size for end in ends)
    with caplog.at_level(logging.WARNING), open_video(shorter) as video:
        got = [frame_to_rgb(frame) for frame in video]
    assert max(complete - 8, 0) < len(got) <= complete < 24
    assert all(np.array_equal(a, b) for a, b in zip(got, expected, strict=False))
    assert video.damage is not None and "\n" not in video.damage
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert video.label in caplog.text and f"{len(got)} frames" in caplog.text


@pytest.mark.parametrize("kept", [6, 20])
def test_file_cut_between_two_frames_is_noticed(tmp_path: Path, kept: int) -> None:
    """Nothing fails to decode then: only the header tells that there was more."""
    whole = encode(tmp_path / "clip.mp4", square_images(24), "mpeg4", movflags="faststart")
    with av.open(str(whole)) as container:
        ends = [(packet.pos or 0) + packet.size for packet in container.demux(video=0) if packet.size]
    (tmp_path / "cut.mp4").write_bytes(whole.read_bytes()[: ends[kept - 1]])
    with open_video(tmp_path / "cut.mp4") as video:
        assert len(list(video)) == kept
    assert video.damage is not None and "0.96 s" in video.damage


def test_frames_of_uneven_length_are_no_damage(tmp_path: Path) -> None:
    """A recording of a screen may have one frame for seconds on end, in the middle and as its last."""
    with av.open(str(tmp_path / "uneven.mp4"), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        images, times = square_images(24), [*range(12), *range(62, 74)]
        packets = []
        for image, pts in zip(images, times, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = pts, Fraction(1, 25)
            packets += stream.encode(frame)
        packets += stream.encode(None)
        packets[-1].duration = 250
        container.mux(packets)
    with open_video(tmp_path / "uneven.mp4") as video:
        assert len(list(video)) == 24
    assert video.damage is None


def test_damage_inside_the_file_ends_the_video_there(tmp_path: Path) -> None:
    whole = encode(tmp_path / "clip.avi", square_images(24), "ffv1")
    with av.open(str(whole)) as container:
        places = [(packet.pos or 0, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(whole.read_bytes())
    position, size = places[10]
    content[position + 8 : position + 8 + size] = b"\xff" * size
    whole.write_bytes(content)
    with open_video(whole) as video:
        count = len(list(video))
    assert video.damage is not None
    assert count >= 10


def test_file_without_one_whole_frame_is_refused(tmp_path: Path) -> None:
    whole = encode(tmp_path / "clip.mp4", square_images(24))
    with pytest.raises(UsageError, match=r"cut\.mp4"), open_video(cut(whole, 0.5)):
        pass  # the index of an MP4 file is at its end


def test_reading_may_stop_early(tmp_path: Path) -> None:
    with open_video(encode(tmp_path / "clip.mp4", square_images(24))) as video:
        assert len(list(islice(video, 5))) == 5
    assert video.damage is None


def test_a_camera_that_has_no_picture_yet_is_asked_again(tmp_path: Path) -> None:
    class Hesitant:
        """A container that says twice in between that it has nothing yet."""

        def __init__(self, container: Any) -> None:
            self.packets = container.demux(video=0)
            self.format, self.duration, self.calls = container.format, container.duration, 0

        def demux(self, stream: Any) -> Any:
            self.calls += 1
            if self.calls == 3:
                yield from self.packets
                return
            yield from islice(self.packets, 5)
            raise BlockingIOError

    with av.open(str(encode(tmp_path / "clip.mp4", square_images(24)))) as container:
        hesitant: Any = Hesitant(container)
        video = VideoReader("camera 0", "camera0", hesitant, container.streams.video[0])
        assert len(list(video)) == 24
    assert hesitant.calls == 3 and video.damage is None
