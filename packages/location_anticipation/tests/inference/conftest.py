"""A video to detect in, and detectors whose answers are known."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from torch import Tensor, nn

WIDTH, HEIGHT, SIDE = 64, 48, 10


def _make_video(path: Path, count: int = 24, size: tuple[int, int] = (WIDTH, HEIGHT), **options: str) -> Path:
    """A bright square moving right by two pixels a frame on noise; after frame 24 it stays where it is."""
    noise = np.random.default_rng(0).integers(0, 80, (size[1], size[0] + 24, 3), dtype=np.uint8)
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv444p"
        for t in range(count):
            image = noise[:, t % 24 :][:, : size[0]].copy()
            image[8 : 8 + SIDE, 2 * min(t, 24) : 2 * min(t, 24) + SIDE] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def make_video() -> Callable[..., Path]:
    """The function ``_make_video`` of this file."""
    return _make_video


class SquareDetector(nn.Module):
    """Finds the bright square and expects it to go on by ``velocity`` each frame; boxes are not clipped."""

    def __init__(self, horizon: int = 7, velocity: tuple[float, float] = (2.0, 0.0)) -> None:
        super().__init__()
        self.horizon = horizon
        self.velocity = torch.tensor([*velocity, *velocity])
        self.part = nn.BatchNorm2d(3)

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        outputs = []
        for image in images:
            ys, xs = (image.amin(0) > 0.6).nonzero(as_tuple=True)
            sides = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) if len(xs) else ()
            boxes = torch.tensor([float(side) for side in sides]).reshape(-1, 4)
            trajectories = boxes[:, None] + torch.arange(1, self.horizon + 1)[None, :, None] * self.velocity
            labels, scores = torch.full((len(boxes),), 2), torch.full((len(boxes),), 0.75)
            outputs.append({"boxes": boxes, "labels": labels, "scores": scores, "trajectories": trajectories})
        return outputs


class World(nn.Module):
    """Objects of height and width 40 in rows of 50 pixels; sees frames by number and expects constant velocity.

    ``places[row](t)`` is the left edge of an object, or None while it is not there. ``velocity`` says what the model
    expects of it; None stands for the motion it really begins with.
    """

    horizon = 8

    def __init__(self, places: list[Callable[[int], float | None]], velocity: list[float | None] | None = None) -> None:
        super().__init__()
        self.places = places
        self.velocity = velocity or [None] * len(places)
        self.seen: list[int] = []

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        t = round(float(images[0][0, 0, 0]))
        self.seen.append(t)
        found = []
        for row, (place, velocity) in enumerate(zip(self.places, self.velocity, strict=True)):
            x, ahead = place(t), place(t + 1)
            if x is not None:
                speed = velocity if velocity is not None else 0.0 if ahead is None else ahead - x
                found.append((x, 50.0 * row, speed))
        boxes = torch.tensor([[x, y, x + 40, y + 40] for x, y, _ in found]).reshape(-1, 4)
        speeds = torch.tensor([[speed, 0, speed, 0] for *_, speed in found]).reshape(-1, 1, 4)
        trajectories = boxes[:, None] + torch.arange(1, self.horizon + 1)[None, :, None] * speeds
        labels, scores = torch.ones(len(boxes), dtype=torch.int64), torch.full((len(boxes),), 0.9)
        return [{"boxes": boxes, "labels": labels, "scores": scores, "trajectories": trajectories}]

    @staticmethod
    def frame(t: int) -> Tensor:
        """What the detector sees of frame ``t``."""
        return torch.full((1, 1, 1), float(t)).expand(3, 200, 4000)


@pytest.fixture
def square_detector() -> type[SquareDetector]:
    return SquareDetector


@pytest.fixture
def world() -> type[World]:
    return World
