"""The rules of frame sources, on tensors."""

import numpy as np
import pytest
import torch

from full_video.networks.frames import frame_chunks, rising_indices


def video(count: int) -> torch.Tensor:
    return torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 4, 5).contiguous()


@pytest.mark.parametrize("size", [1, 3, 7, 10])
def test_chunks_are_all_frames_in_order_once(size):
    chunks = list(frame_chunks(video(7), size))
    assert [len(chunk) for chunk in chunks[:-1]] == [size] * (len(chunks) - 1)
    assert torch.equal(torch.cat(chunks), video(7))


@pytest.mark.parametrize(("wanted", "expected"), [
    (slice(None), [0, 1, 2, 3, 4]),
    (slice(1, 4), [1, 2, 3]),
    (slice(1, None, 2), [1, 3]),
    (slice(-2, None), [3, 4]),
    (slice(9, 12), []),
    (np.array([0, 2, 2, 4]), [0, 2, 2, 4]),
    (np.array([], dtype=np.int64), []),
])  # fmt: skip
def test_indices_written_out(wanted, expected):
    indices = rising_indices(wanted, 5)
    assert indices.dtype == np.int64
    assert indices.tolist() == expected


@pytest.mark.parametrize(("wanted", "error"), [
    (slice(None, None, -1), ValueError),
    (np.array([0, 5]), IndexError),
    (np.array([-1, 2]), IndexError),
    (np.array([2, 1]), IndexError),
    (np.array([0.5]), TypeError),
    (np.array([[0]]), TypeError),
    (3, TypeError),
])  # fmt: skip
def test_other_indices_and_sizes_are_refused(wanted, error):
    with pytest.raises(error):
        rising_indices(wanted, 5)
    with pytest.raises(ValueError, match="at least 1 frame, got 0"):
        list(frame_chunks(video(3), 0))
