"""A world of boxes that move, and what a detector finds in it."""

from collections.abc import Callable

import pytest
import torch

from location_anticipation.adaptation.observation import Observation


@pytest.fixture
def world() -> Callable[..., Observation]:
    """A function that makes a video of boxes that go straight on, each with its own velocity, as a detector saw it."""

    def make(seed: int = 0, frames: int = 24, objects: int = 3, jitter: float = 0.0, features: int = 0) -> Observation:
        generator = torch.Generator().manual_seed(seed)
        corner = torch.rand(objects, 2, generator=generator) * 120 + 60
        side = torch.rand(objects, 2, generator=generator) * 30 + 30
        speed = torch.rand(objects, 2, generator=generator) * 8 - 4
        boxes = []
        for time in range(frames):
            place = corner + time * speed + jitter * torch.randn(objects, 2, generator=generator)
            boxes.append(torch.cat((place, place + side), dim=1))
        labels = [torch.arange(1, objects + 1)] * frames
        scores = [torch.full((objects,), 0.9)] * frames
        return Observation(
            (240, 320), 1, frames, boxes, labels, scores, [torch.zeros(objects, features).half()] * frames
        )

    return make
