"""Video files out: what is written, what is refused, what is left behind."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from location_anticipation.errors import UsageError, WorkError
from location_anticipation.video_reader import frame_to_rgb, open_video
from location_anticipation.video_writer import create_video

SizeLimit = Callable[[int], AbstractContextManager[None]]

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


def square_corners(image: NDArray[np.uint8]) -> tuple[list[int], list[int]]:
    """Top-left and bottom-right pixel (x, y) of the bright square."""
    places = np.argwhere(image.min(-1) > 160)[:, ::-1]
    return places.min(0).tolist(), places.max(0).tolist()


@pytest.mark.parametrize("size", [(64, 48), (65, 47), (1, 1)])
def test_written_video_can_be_read(tmp_path: Path, size: tuple[int, int]) -> None:
    width, height = size
    images = square_images(10, width, height) if width > 1 else [np.zeros((1, 1, 3), np.uint8)] * 10
    path = tmp_path / "out.mp4"
    with create_video(path, 30000 / 1001, size, pixel_aspect=Fraction(64, 51)) as writer:
        for image in images:
            writer.write(image)
        assert not path.exists()
    assert list(tmp_path.iterdir()) == [path]
    with open_video(path) as video:
        assert (video.width, video.height) == (width + width % 2, height + height % 2)
        assert video.rate == Fraction(30000, 1001)
        assert video.pixel_aspect == Fraction(64, 51)
        frames = list(video)
    assert len(frames) == 10 and {frame.format.name for frame in frames} == {"yuv420p"}
    if width > 1:
        for frame, expected in zip(frames, images, strict=True):
            got, want = square_corners(frame_to_rgb(frame)), square_corners(expected)
            assert np.abs(np.array(got) - np.array(want)).max() <= 1


@pytest.mark.parametrize("color", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (250, 120, 10)])
def test_written_colors_come_back(tmp_path: Path, color: tuple[int, int, int]) -> None:
    with create_video(tmp_path / "out.mp4", 25, (64, 48)) as writer:
        writer.write(np.full((48, 64, 3), color, np.uint8))
    with open_video(tmp_path / "out.mp4") as video:
        (frame,) = video
    assert frame.colorspace == 6  # SMPTE 170M: without it, players guess another matrix for large frames
    assert np.abs(frame_to_rgb(frame).mean((0, 1)) - color).max() < 6


def test_writer_refuses_other_names_sizes_and_rates(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match=r"out\.avi.*\.mp4"),
        create_video(tmp_path / "out.avi", 25, (64, 48)),
    ):
        pass
    for fps in (0, -25.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="fps"), create_video(tmp_path / "out.mp4", fps, (64, 48)):
            pass
    with (
        pytest.raises(ValueError, match=r"\(48, 64, 3\), got uint8 \(47, 64, 3\)"),
        create_video(tmp_path / "out.mp4", 25, (64, 48)) as writer,
    ):
        writer.write(np.zeros((47, 64, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("limit", [0, 1000, 20_000])
def test_full_disk_leaves_nothing_behind(file_size_limit: SizeLimit, tmp_path: Path, limit: int) -> None:
    path = tmp_path / "out.mp4"
    with (
        file_size_limit(limit),
        pytest.raises(WorkError, match=r"out\.mp4: cannot be written \(File too large\)"),
        create_video(path, 25, (WIDTH, HEIGHT)) as writer,
    ):
        for image in square_images(27) * 20:
            writer.write(image)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failed_block_keeps_the_previous_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "out.mp4"
    path.write_text("previous")
    with pytest.raises(error), create_video(path, 25, (WIDTH, HEIGHT)) as writer:
        writer.write(square_images(1)[0])
        raise error
    assert path.read_text() == "previous"
    assert list(tmp_path.iterdir()) == [path]
