"""What several test files need: small videos, small networks, one thread."""

import json
import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

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
            x = (start + (2 * t if label[v] else -2 * t)) % size
            columns = np.arange(x, x + side) % size
            rows = np.arange(top, top + side) % size
            pixels[v, t][np.ix_(rows, columns)] = 230
    return {"frames": pixels, "label": label}


@pytest.fixture
def write_videos(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a label-video file into the test's folder; ``attributes`` replaces some of its own."""

    def write(
        name: str = "train.h5",
        *,
        videos: int = 6,
        frames: int = 8,
        size: int = 32,
        seed: int = 0,
        attributes: dict[str, Any] | None = None,
    ) -> Path:
        facts = {
            "format": "label-video",
            "format_version": 1,
            "name": "Squares",
            "source": "generated",
            "class_names": json.dumps(CLASS_NAMES),
            "content_digest": f"{videos}-{frames}-{size}-{seed}",
        }
        path = tmp_path / name
        with h5py.File(path, "w") as file:
            for key, array in moving_squares(videos, frames, size, seed).items():
                options = {"chunks": (1, *array.shape[1:]), "compression": "gzip"} if key == "frames" else {}
                file.create_dataset(key, data=array, **options)
            file.attrs.update(facts | (attributes or {}))
        return path

    return write


@contextmanager
def _file_size_limit(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def file_size_limit() -> Callable[[int], AbstractContextManager[None]]:
    """A disk as good as full: inside ``with file_size_limit(n)`` no file can grow beyond n bytes."""
    return _file_size_limit


@pytest.fixture
def tidy(tmp_path: Path) -> Iterator[None]:
    """Removes checkpoints after the test: pytest keeps the folders of several sessions, at 90 MB a training."""
    yield
    for path in tmp_path.rglob("*.pt"):
        path.unlink()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One torch thread: small tensors are faster so, and another job on the machine does not get in the way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
