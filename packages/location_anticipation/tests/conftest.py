"""Tiny data and models that the tests of this package share."""

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from location_anticipation import DetectorConfig

Writer = Callable[..., Path]


@pytest.fixture
def write_videos(tmp_path: Path) -> Writer:
    """A function that writes a track-video file: bright squares of two sizes (the classes) that move right or down."""

    def write(
        name: str = "videos.h5",
        videos: int = 4,
        frames: int = 10,
        objects: int = 1,
        side: int = 64,
        **attributes: object,
    ) -> Path:
        rng = np.random.default_rng(0)
        video = np.zeros((videos, frames, side, side), np.uint8)
        boxes = np.zeros((videos, frames, objects, 4), np.float32)
        labels = (np.arange(videos)[:, None] + np.arange(objects)) % 2
        for v in range(videos):
            for o in range(objects):
                size = 16 if labels[v, o] == 0 else 26
                x, y = rng.integers(0, side - size - frames, 2)
                for t in range(frames):
                    left, top = (x + t, y) if labels[v, o] == 0 else (x, y + t)
                    boxes[v, t, o] = left, top, left + size, top + size
                    video[v, t, top : top + size, left : left + size] = 255
        path = tmp_path / name
        with h5py.File(path, "w") as file:
            file["video"], file["boxes"] = video, boxes
            file["present"] = np.ones((videos, frames, objects), bool)
            file["labels"] = labels.astype(np.int64)
            known = {"format": "track-video", "name": "Squares", "source": "test", "content_digest": "0" * 64}
            known |= {"class_names": json.dumps(["small", "large"])}
            file.attrs.update(known | attributes)
        return path

    return write


@pytest.fixture
def tiny() -> Callable[..., DetectorConfig]:
    """A function that makes the configuration of a detector small enough for a test."""

    def make(**changes: object) -> DetectorConfig:
        small: dict[str, object] = dict(
            num_classes=2, horizon=3, backbone="resnet18", channels=16, representation=16, trajectory_hidden=24,
            min_size=64, max_size=64, rois_per_image=16, proposals_train=50, proposals_test=30,
        )  # fmt: skip
        return DetectorConfig(**(small | changes))  # type: ignore[arg-type]

    return make


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Small tensors gain nothing from more, and a fixed number keeps results the same on every machine."""
    torch.set_num_threads(1)
