"""Label-video files, the form of Move4MNIST."""

import json
import multiprocessing
import pickle

import h5py
import numpy as np
import pytest
import torch

from full_video.errors import BrokenVideo, UsageError
from full_video.frames import frame_chunks
from full_video.label_videos import KINDS
from full_video.video_sets import open_videos

CLASSES = ["left", "right", "up", "down"]


@pytest.fixture
def write(tmp_path):
    """A function that writes ``train.h5``; None leaves an array or attribute out."""

    def write(shape=(5, 12, 16, 16), chunks=None, attributes=(), **arrays):
        rng = np.random.default_rng(0)
        content = {
            "frames": rng.integers(0, 256, shape, dtype=np.uint8),
            "label": np.arange(shape[0], dtype=np.int64) % 4,
            "kind": rng.integers(0, 4, shape[:2], dtype=np.uint8),
        } | arrays
        facts = {
            "format": "label-video", "name": "Move4MNIST", "source": "digits", "split": "train",
            "class_names": json.dumps(CLASSES), "content_digest": "0123",
        } | dict(attributes)  # fmt: skip
        path = tmp_path / "train.h5"
        with h5py.File(path, "w") as file:
            for name, array in content.items():
                if array is not None:
                    cut = chunks or (1, *array.shape[1:])
                    file.create_dataset(
                        name, data=array, chunks=cut if name == "frames" else None,
                        compression="gzip" if name == "frames" else None,
                    )  # fmt: skip
            file.attrs.update({key: value for key, value in facts.items() if value is not None})
        return path, content

    return write


@pytest.mark.parametrize("chunks", [None, (1, 4, 16, 16)])
def test_frames_labels_and_kinds(write, chunks):
    path, content = write(chunks=chunks)
    videos = open_videos(path.parent, "move4mnist", "train")
    assert len(videos) == 5
    assert videos.facts.class_names == tuple(CLASSES)
    assert (videos.facts.name, videos.facts.source, videos.facts.content_digest) == ("Move4MNIST", "digits", "0123")
    assert [videos.label(i) for i in range(5)] == [0, 1, 2, 3, 0]
    assert videos.name(3) == "train/000003"
    np.testing.assert_array_equal(videos.kinds, content["kind"])
    assert len(KINDS) == 4
    for i in range(5):
        expected = torch.from_numpy(content["frames"][i])[:, None].expand(-1, 3, -1, -1)
        source = videos.frames(i)
        assert len(source) == 12
        assert torch.equal(source[:], expected)
        assert torch.equal(torch.cat(list(frame_chunks(source, 5))), expected)
        for wanted in ([0, 0, 3, 11], [4], [2, 5, 5, 9], list(range(12)), []):
            assert torch.equal(source[np.array(wanted, dtype=np.int64)], expected[wanted])


def test_colour(write):
    path, content = write(shape=(2, 3, 8, 10, 3))
    frames = open_videos(path, "move4mnist", "train").frames(1)[:]
    assert torch.equal(frames, torch.from_numpy(content["frames"][1]).permute(0, 3, 1, 2))


def test_a_file_without_kinds(write):
    assert open_videos(write(kind=None)[0], "move4mnist", "train").kinds is None


def _sum(videos) -> int:
    return int(videos.frames(2)[:].sum())


def test_other_processes(write):
    path, _ = write()
    videos = open_videos(path, "move4mnist", "train")
    here = _sum(videos)  # the file is open now
    assert _sum(pickle.loads(pickle.dumps(videos))) == here
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(_sum, [videos] * 4) == [here] * 4


@pytest.mark.parametrize(
    ("arrays", "attributes", "message"),
    [
        ({"label": None}, {}, "array 'label' is missing"),
        ({"label": np.zeros(4, dtype=np.int64)}, {}, r"array 'label' is \(4,\), beside frames .* must be \(5,\)"),
        ({"label": np.full(5, 4)}, {}, "video 0 has label 4, expected 0 to 3"),
        ({"label": np.zeros(5)}, {}, "array 'label' has the wrong type, float64"),
        ({"kind": np.zeros((5, 3), dtype=np.uint8)}, {}, "array 'kind' is"),
        ({"frames": np.zeros((5, 12, 8), dtype=np.uint8)}, {}, r"expected frames \(S, T, H, W\)"),
        ({"frames": np.zeros((5, 12, 8, 8), dtype=np.uint16)}, {}, "array 'frames' has the wrong type, uint16"),
        ({}, {"format": "track-video"}, "not a label-video file .*'track-video'"),
        ({}, {"format": None}, "not a label-video file"),
        ({}, {"class_names": None}, "attribute 'class_names' is not a JSON list"),
        ({}, {"class_names": "left right"}, "attribute 'class_names' is not a JSON list"),
        ({}, {"split": "test"}, "is the test split, expected train"),
    ],
)
def test_wrong_files(write, arrays, attributes, message):
    path, _ = write(attributes=attributes, **arrays)
    with pytest.raises(UsageError, match=message):
        open_videos(path, "move4mnist", "train")


def test_no_file_and_no_hdf5(tmp_path):
    with pytest.raises(UsageError, match=r"train\.h5: no such file"):
        open_videos(tmp_path, "move4mnist", "train")
    (tmp_path / "train.h5").write_text("words")
    with pytest.raises(UsageError, match="not a readable HDF5 file"):
        open_videos(tmp_path, "move4mnist", "train")


def test_one_damaged_video_among_sound_ones(write):
    path, content = write()
    with h5py.File(path) as file:
        place = file["frames"].id.get_chunk_info(3)
    damaged = bytearray(path.read_bytes())
    damaged[place.byte_offset + 20 : place.byte_offset + 60] = bytes(40)
    path.write_bytes(damaged)
    videos = open_videos(path, "move4mnist", "train")
    with pytest.raises(BrokenVideo, match="damaged") as raised:
        videos.frames(3)[:]
    assert raised.value.name == "train/000003"
    assert torch.equal(videos.frames(4)[:][:, 0], torch.from_numpy(content["frames"][4]))


@pytest.mark.parametrize("video", [5, -6])
def test_a_video_that_is_not_there(write, video):
    videos = open_videos(write()[0], "move4mnist", "train")
    with pytest.raises(IndexError):
        videos.frames(video)
