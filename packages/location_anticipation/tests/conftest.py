"""What several test files need: a small track-video file, a small detector, one thread."""

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

from location_anticipation import DetectorConfig, build_detector, save_detector
from location_anticipation.commands.cli import main

SIDE = 14
TRAVEL = {0: (2, 0), 1: (0, 2)}
"""Pixels per frame, (x, y), by class: class 0 moves right, class 1 moves down."""


def moving_squares(videos: int, frames: int, size: int, seed: int) -> dict[str, np.ndarray]:
    """Videos of one bright square each, filled (class 0) or hollow (class 1), whose class decides where it goes."""
    rng = np.random.default_rng(seed)
    labels = np.arange(videos, dtype=np.int64)[:, None] % 2
    video = rng.integers(0, 40, (videos, frames, size, size), dtype=np.uint8)
    boxes = np.zeros((videos, frames, 1, 4), dtype=np.float32)
    for v in range(videos):
        step = np.array(TRAVEL[int(labels[v, 0])])
        start = rng.integers(0, size - SIDE - (frames - 1) * step + 1)
        for t in range(frames):
            x, y = start + t * step
            boxes[v, t, 0] = x, y, x + SIDE, y + SIDE
            video[v, t, y : y + SIDE, x : x + SIDE] = 230
            if labels[v, 0] == 1:
                video[v, t, y + 4 : y + SIDE - 4, x + 4 : x + SIDE - 4] = 20
    return {"video": video, "boxes": boxes, "present": np.ones((videos, frames, 1), dtype=bool), "labels": labels}


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
def write_tracks(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a track-video file into the test's folder.

    ``arrays`` replaces or, with None, leaves out arrays of the file; ``attributes`` does so for attributes.
    """

    def write(
        name: str = "train.h5",
        *,
        videos: int = 4,
        frames: int = 6,
        size: int = 48,
        seed: int = 0,
        arrays: dict[str, np.ndarray | None] | None = None,
        attributes: dict[str, Any] | None = None,
    ) -> Path:
        content: dict[str, Any] = moving_squares(videos, frames, size, seed) | (arrays or {})
        facts = {
            "format": "track-video",
            "format_version": 1,
            "name": "Squares",
            "source": "generated",
            "class_names": json.dumps(["filled", "hollow"]),
            "content_digest": f"{videos}-{frames}-{size}-{seed}",
        } | (attributes or {})
        path = tmp_path / name
        with h5py.File(path, "w") as file:
            for key, array in content.items():
                if array is not None:
                    options = {"chunks": (1, *array.shape[1:]), "compression": "gzip"} if key == "video" else {}
                    file.create_dataset(key, data=array, **options)
            file.attrs.update({key: value for key, value in facts.items() if value is not None})
        return path

    return write


SMALL: dict[str, Any] = {
    "horizon": 3, "backbone": "resnet18", "channels": 32, "representation": 32, "trajectory_hidden": 48, "min_size": 48,
    "max_size": 80, "proposals_train": 50, "proposals_test": 20, "rois_per_image": 16,
    "anchor_sizes": (12, 16, 24, 32, 48), "trajectory_weight": 0.05,
}  # fmt: skip
"""A detector small enough to train in a test."""


@pytest.fixture
def tiny() -> Callable[..., DetectorConfig]:
    """A function that makes the configuration of a small detector of two classes."""
    return lambda **changes: DetectorConfig(**{"num_classes": 2} | SMALL | changes)


@pytest.fixture
def small_options() -> list[str]:
    """A small detector and two steps of training as options of the command."""
    words = []
    for name, value in SMALL.items():
        values = value if isinstance(value, tuple) else (value,)
        words += [f"--{name.replace('_', '-')}", *map(str, values)]
    return [*words, "--iterations", "2", "--batch-size", "2", "--learning-rate", "0.02"]


@pytest.fixture
def checkpoint(tmp_path: Path, tiny: Callable[..., DetectorConfig]) -> Path:
    """A file of an untrained small detector that finds something in every image."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_detector(tiny())
        torch.nn.init.normal_(model.roi_heads.box_predictor.cls_score.weight, std=2)
        save_detector(tmp_path / "detector.safetensors", model, ["filled", "hollow"])
    return tmp_path / "detector.safetensors"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command; returns exit status, standard output and standard error."""

    def command(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, captured.out, captured.err

    return command


@pytest.fixture
def tidy(tmp_path: Path) -> Iterator[None]:
    """Removes checkpoints after the test: pytest keeps the folders of several sessions, at 90 MB a training."""
    yield
    for path in (*tmp_path.rglob("*.pt"), *tmp_path.rglob("*.safetensors")):
        path.unlink()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One torch thread: small tensors are faster so, and another job on the machine does not get in the way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
