"""Video files out: what is written, what is refused, what is left behind."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from efficiency_core.errors import UsageError
from efficiency_core.readers.video import frame_pixels, open_video
from location_anticipation.inference.video_writer import create_video


@pytest.mark.parametrize("size", [(64, 48), (65, 47), (1, 1)])
def test_written_video_can_be_read(tmp_path: Path, size: tuple[int, int]) -> None:
    width, height = size
    images = [np.full((height, width, 3), 20 + 20 * k, np.uint8) for k in range(10)]
    path = tmp_path / "out.mp4"
    with create_video(path, Fraction(30000, 1001), size, pixel_aspect=Fraction(64, 51)) as write:
        for image in images:
            write(image)
        assert not path.exists()
    assert list(tmp_path.iterdir()) == [path]
    with open_video(path) as video:
        assert (video.width, video.height) == (width + width % 2, height + height % 2)
        assert video.rate == Fraction(30000, 1001)
        assert video.pixel_aspect == Fraction(64, 51)
        frames = list(video)
    assert len(frames) == 10 and {frame.format.name for frame in frames} == {"yuv420p"}
    for frame, image in zip(frames, images, strict=True):
        assert np.abs(frame_pixels(frame).astype(int) - image[0, 0]).max() <= 3


@pytest.mark.parametrize("color", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (250, 120, 10)])
def test_written_colors_come_back(tmp_path: Path, color: tuple[int, int, int]) -> None:
    with create_video(tmp_path / "out.mp4", Fraction(25), (64, 48)) as write:
        write(np.full((48, 64, 3), color, np.uint8))
    with open_video(tmp_path / "out.mp4") as video:
        (frame,) = video
    assert frame.colorspace == 6  # SMPTE 170M: without it, players guess another matrix for large frames
    assert np.abs(frame_pixels(frame).mean((0, 1)) - color).max() < 6


def test_other_names_sizes_and_rates_are_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match=r"out\.avi.*\.mp4"),
        create_video(tmp_path / "out.avi", Fraction(25), (64, 48)),
    ):
        pass
    with pytest.raises(ValueError, match="fps"), create_video(tmp_path / "out.mp4", Fraction(-25), (64, 48)):
        pass
    with (
        pytest.raises(ValueError, match=r"\(48, 64, 3\), got uint8 \(47, 64, 3\)"),
        create_video(tmp_path / "out.mp4", Fraction(25), (64, 48)) as write,
    ):
        write(np.zeros((47, 64, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("times", "shown"),
    [
        ([0.0, 0.04, 1.5, 1.54, 3.0], [0, 0.04, 1.5, 1.54, 3]),  # uneven
        ([3.0, 3.04, 3.08], [3, 3.04, 3.08]),  # starts late
        ([95000.0, 95000.5, 95001.0], [0, 0.5, 1]),  # the clock of a broadcast
        ([1.0, 1.04, 0.5, 0.54, 9.0], [1, 1.04, 1.08, 1.12, 9.58]),  # jumps back
        ([-0.08, -0.04, 0.0], [0, 0.04, 0.08]),
        ([None, None, None], [0, 0.04, 0.08]),
        ([0.0, 1001 / 24000, 2002 / 24000], [0, 0.0417, 0.0834]),
    ],
)
def test_frames_are_shown_at_their_times(tmp_path: Path, times: list[float | None], shown: list[float]) -> None:
    with create_video(tmp_path / "out.mp4", Fraction(25), (64, 48)) as write:
        for k, seconds in enumerate(times):
            write(np.full((48, 64, 3), 40 * k, np.uint8), seconds)
    with open_video(tmp_path / "out.mp4") as video:
        assert [round(video.seconds(frame) or 0, 4) for frame in video] == pytest.approx(shown, abs=1e-4)
    assert video.damage is None


def test_a_video_plays_while_it_is_loaded(tmp_path: Path) -> None:
    """The table of frames (moov) comes before the frames (mdat)."""
    with create_video(tmp_path / "out.mp4", Fraction(25), (64, 48)) as write:
        write(np.zeros((48, 64, 3), np.uint8))
    content = (tmp_path / "out.mp4").read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat")
