"""What several test files need: small videos in memory and in files, and one thread."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import h5py
import numpy as np
import pytest
import torch
from torch import Tensor

from efficiency_core.errors import BrokenFile
from full_video.data import LabelVideos, VideoSetInfo

CLASS_NAMES = ("move left", "move right")


def moving_squares(videos: int, frames: int, size: int, seed: int) -> dict[str, np.ndarray]:
    """Grey videos of a bright square that moves left (class 0) or right (class 1) by two pixels a frame."""
    rng = np.random.default_rng(seed)
    label = np.arange(videos, dtype=np.int64) % 2
    pixels = rng.integers(0, 40, (videos, frames, size, size), dtype=np.uint8)
    side = size // 3
    for v in range(videos):
        start, top = rng.integers(0, size, 2)
        for t in range(frames):
            corner = top, start + (2 * t if label[v] else -2 * t)
            pixels[v, t][np.ix_(*((place + np.arange(side)) % size for place in corner))] = 230
    return {"frames": pixels, "label": label}


@pytest.fixture
def write_videos(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a label-video file into the test's folder; arrays and ``attributes`` replace its own."""

    def write(
        name: str = "train.h5", *, videos: int = 6, frames: int = 8, size: int = 32, seed: int = 0,
        attributes: dict[str, Any] | None = None, chunks: tuple[int, ...] | None = None,
        pixels: np.ndarray | None = None, **arrays: np.ndarray,
    ) -> Path:  # fmt: skip
        facts = {
            "format": "label-video", "format_version": 1, "name": "Squares", "source": "generated",
            "class_names": json.dumps(CLASS_NAMES), "content_digest": f"{videos}-{frames}-{size}-{seed}",
        }  # fmt: skip
        arrays = moving_squares(videos, frames, size, seed) | arrays
        arrays["frames"] = arrays["frames"] if pixels is None else pixels
        path = tmp_path / name
        with h5py.File(path, "w") as file:
            for key, array in arrays.items():
                options = {"chunks": chunks or (1, *array.shape[1:]), "compression": "gzip"} if key == "frames" else {}
                file.create_dataset(key, data=array, **options)
            file.attrs.update(facts | (attributes or {}))
        return path

    return write


@pytest.fixture(scope="session")
def write_clip() -> Callable[[Path, Sequence[np.ndarray]], Path]:
    """A function that writes pictures u1 (H, W, 3) as a video file."""

    def write(path: Path, pictures: Sequence[np.ndarray]) -> Path:
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=15)
            stream.height, stream.width, stream.pix_fmt = *pictures[0].shape[:2], "yuv420p"
            for picture in pictures:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
            container.mux(stream.encode())
        return path

    return write


class Source:
    """The frames of a video in memory. Notes in ``asked`` what is read; ``broken`` is a frame that cannot be read."""

    def __init__(self, frames: Tensor, broken: int = -1, asked: list[list[int]] | None = None) -> None:
        self.frames, self.broken, self.asked = frames, broken, [] if asked is None else asked

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, wanted: Any) -> Tensor:
        indices = np.arange(len(self))[wanted].tolist()
        if self.broken in indices:
            raise BrokenFile("noise", f"frame {self.broken} is corrupt")
        self.asked.append(indices)
        return self.frames[wanted].clone()


class Videos:
    """A set of videos: their frames, or the (N, H, W) of noise. ``broken`` ones cannot be read. The keyboard interrupts
    after ``interrupt`` videos; ``asked`` is what was read of all."""

    def __init__(
        self, videos: Sequence[Any], labels: Sequence[int], names: Sequence[str], broken: Sequence[int] = (),
        interrupt: int = -1,
    ) -> None:  # fmt: skip
        self.info = VideoSetInfo("Noise", "generated", "", tuple(names))
        self.asked: list[list[int]] = []
        self._videos, self._labels, self._broken, self._left = videos, labels, broken, interrupt

    def __len__(self) -> int:
        return len(self._labels)

    def label(self, video: int) -> int:
        return self._labels[video]

    def name(self, video: int) -> str:
        return f"video{video}"

    def frames(self, video: int) -> Source:
        if self._left == 0:
            raise KeyboardInterrupt
        self._left -= 1
        if video in self._broken:
            raise BrokenFile(self.name(video), "cut off")
        frames = self._videos[video]
        if not isinstance(frames, Tensor):
            shape, generator = (frames[0], 3, *frames[1:]), torch.Generator().manual_seed(video)
            frames = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        return Source(frames, asked=self.asked)


@pytest.fixture
def source() -> type[Source]:
    return Source


@pytest.fixture
def video_set() -> type[Videos]:
    return Videos


@pytest.fixture
def data(write_videos: Callable[..., Path]) -> LabelVideos:
    return LabelVideos(write_videos())


@pytest.fixture
def damaged() -> Callable[..., Videos]:
    """A function that makes a set of squares, some of which cannot be read."""
    squares = moving_squares(6, 8, 32, 0)
    pixels = list(torch.from_numpy(squares["frames"])[:, :, None].expand(-1, -1, 3, -1, -1))
    return lambda *broken, interrupt=-1: Videos(pixels, squares["label"].tolist(), CLASS_NAMES, broken, interrupt)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """One torch thread: small tensors are faster so, and another job on the machine does not get in the way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
