"""Videos whose detections are known."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from location_anticipation.data import TrackVideos

V, L = 3, 7


@pytest.fixture
def videos(write_tracks: Callable[..., Path]) -> TrackVideos:
    """One object a video, 20 px wide, that moves right by 2 px a frame; its frames carry their number."""
    left = 3.0 * np.arange(V)[:, None] + 2 * np.arange(L)
    boxes = np.stack((left, np.full_like(left, 5), left + 20, np.full_like(left, 15)), axis=-1)[:, :, None]
    numbers = np.zeros((V, L, 48, 48), np.uint8)
    numbers[:, :, 0, 0] = np.arange(V * L).reshape(V, L)
    arrays = {
        "video": numbers,
        "boxes": boxes.astype(np.float32),
        "present": np.ones((V, L, 1), bool),
        "labels": np.array([[0], [1], [0]]),
    }
    return TrackVideos(write_tracks(arrays=arrays))
