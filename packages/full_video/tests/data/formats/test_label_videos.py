"""Label-video files, the form of Move4MNIST; the tests of efficiency_core show the rest."""

import h5py
import numpy as np
import pytest
import torch

from efficiency_core.errors import UsageError
from full_video.data import KINDS, open_videos
from full_video.networks.frames import frame_chunks

KIND = np.random.default_rng(0).integers(0, 4, (6, 8), dtype=np.uint8)


@pytest.mark.parametrize("chunks", [None, (1, 4, 16, 16)])
def test_frames_labels_and_kinds(write_videos, chunks):
    path = write_videos(chunks=chunks, attributes={"split": "train"}, kind=KIND)
    videos = open_videos(path.parent, "move4mnist", "train")
    assert len(videos) == 6
    assert videos.info.class_names == ("move left", "move right")
    assert (videos.info.name, videos.info.source, videos.info.content_digest) == ("Squares", "generated", "6-8-32-0")
    assert [videos.label(i) for i in range(6)] == [0, 1, 0, 1, 0, 1]
    assert videos.name(3) == "train/000003"
    np.testing.assert_array_equal(videos.kinds, KIND)
    assert len(KINDS) == 4
    with h5py.File(path) as file:
        content = torch.from_numpy(file["frames"][:])
    for i in range(6):
        expected = content[i][:, None].expand(-1, 3, -1, -1)
        source = videos.frames(i)
        assert len(source) == 8
        assert torch.equal(source[:], expected)
        assert torch.equal(torch.cat(list(frame_chunks(source, 5))), expected)
        for wanted in ([0, 0, 3, 7], [4], [2, 5, 5, 7], list(range(8)), []):
            assert torch.equal(source[np.array(wanted, dtype=np.int64)], expected[wanted])


def test_colour_without_kinds(write_videos):
    frames = np.random.default_rng(0).integers(0, 256, (6, 3, 8, 10, 3), dtype=np.uint8)
    videos = open_videos(write_videos(frames=3, pixels=frames), "move4mnist", "train")
    assert torch.equal(videos.frames(1)[:], torch.from_numpy(frames[1]).permute(0, 3, 1, 2))
    assert videos.kinds is None
    for missing in (6, -7):
        with pytest.raises(IndexError):
            videos.frames(missing)


@pytest.mark.parametrize(("arrays", "attributes", "message"), [
    ({"label": np.full(6, 2)}, {}, "video 0 has label 2, expected 0 to 1"),
    ({"kind": KIND[:, :3]}, {}, "array 'kind' has shape"),
    ({"pixels": np.zeros((6, 8, 8), dtype=np.uint8)}, {}, "array 'frames' has shape"),
    ({}, {"format": "track-video"}, "not a label-video file .*'track-video'"),
    ({}, {"split": "test"}, "is the test split, expected train"),
])  # fmt: skip
def test_wrong_files(write_videos, arrays, attributes, message):
    with pytest.raises(UsageError, match=message):
        open_videos(write_videos(attributes=attributes, **arrays), "move4mnist", "train")
