"""Video files as tensors; the tests of efficiency_core show which damage is found."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from efficiency_core.errors import BrokenFile
from efficiency_core.readers import read_ahead
from full_video.data.video_file import VideoFile
from full_video.networks import frame_chunks


@pytest.fixture(scope="module")
def clip(tmp_path_factory, write_clip) -> Path:
    """Thirty grey frames that differ."""
    pictures = [np.full((48, 64, 3), 20 + 7 * number, dtype=np.uint8) for number in range(30)]
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", pictures)


@pytest.mark.parametrize("size", [1, 7, 30, 100])
def test_chunks_are_all_frames_in_order_once(clip, size):
    chunks = list(frame_chunks(VideoFile(clip), size))
    assert all(chunk.dtype == torch.uint8 and chunk.shape[1:] == (3, 48, 64) for chunk in chunks)
    assert all(chunk.is_contiguous() for chunk in chunks)
    assert all(len(chunk) == size for chunk in chunks[:-1])
    levels = torch.cat(chunks).float().mean((1, 2, 3))
    assert (levels - (20 + 7 * torch.arange(30))).abs().max() < 4


def test_any_rising_part_is_the_same_frames(clip):
    source = VideoFile(clip)
    whole = source[:]
    assert len(source) == 30 and torch.equal(whole, torch.cat(list(frame_chunks(source, 7))))
    for start in range(0, 30, 8):
        assert torch.equal(source[start : start + 8], whole[start : start + 8])
    assert torch.equal(source[np.array([0, 0, 5, 29, 29])], whole[[0, 0, 5, 29, 29]])
    assert torch.equal(source[np.array([3])], whole[[3]])  # back again
    assert source[4:4].shape == (0, 3, 48, 64)
    copy = pickle.loads(pickle.dumps(source))
    assert torch.equal(copy[:10], whole[:10])


def test_worker_processes_read_the_same(clip):
    source = VideoFile(clip)
    parts = [slice(0, 9), slice(9, 30)]
    for part, frames in zip(parts, read_ahead(lambda part: source[part], parts, 1, processes=True), strict=True):
        assert torch.equal(frames, source[part])


def test_a_damaged_file_is_broken(clip, tmp_path):
    cut = tmp_path / "clip.mp4"
    cut.write_bytes(clip.read_bytes()[:-2000])
    for read in (len, lambda source: source[:], lambda source: list(frame_chunks(source, 8))):
        with pytest.raises(BrokenFile) as raised:
            read(VideoFile(cut, "folder/clip"))
        assert raised.value.name == "folder/clip"
    with pytest.raises(BrokenFile, match="31 frames are declared, the file holds 30"):
        list(frame_chunks(VideoFile(clip, least=31), 8))
