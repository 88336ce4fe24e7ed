"""Track-video files: what is read, and what is refused. Damage is tested with the reader of HDF5 files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from efficiency_core.errors import UsageError
from location_anticipation.data import Keyframes, TrackVideos

Write = Callable[..., Path]


def test_a_track_video_file_is_a_set_of_videos(write_tracks: Write) -> None:
    videos = TrackVideos(write_tracks(videos=3, frames=4, size=40))
    assert videos.info.content_digest == "3-4-40-0" and videos.info.class_names == ("filled", "hollow")
    assert len(videos) == 3 and videos.name(2) == "000002" and videos.image_size(1) == (40, 40)
    tracks = videos.tracks(2)
    np.testing.assert_array_equal(tracks.boxes, videos.boxes[2])
    assert tracks.present.all() and tracks.annotated.tolist() == [True] * 4 and tracks.labels.tolist() == [0]
    unnamed = {"class_names": None, "name": None, "source": None, "content_digest": None}
    info = TrackVideos(write_tracks(attributes=unnamed)).info
    assert (info.content_digest, info.class_names) == ("", ("0", "1"))


def test_a_file_may_say_what_is_annotated(write_tracks: Write) -> None:
    annotated = np.tile(np.arange(6) % 2 == 0, (4, 1))
    present = annotated[:, :, None].copy()
    videos = TrackVideos(write_tracks(arrays={"annotated": annotated, "present": present}))
    assert videos.tracks(1).annotated.tolist() == [True, False] * 3
    assert [t for v, t in Keyframes(videos, horizon=1).index if v == 0] == [0, 2, 4]
    present[2, 3] = True
    with pytest.raises(UsageError, match=r"train\.h5: video 2, frame 3: an object is present, but the frame is not"):
        TrackVideos(write_tracks(arrays={"annotated": annotated, "present": present}))


def test_frames_are_rgb_from_0_to_1(write_tracks: Write) -> None:
    colour = np.random.default_rng(0).integers(0, 256, (4, 6, 40, 48, 3), dtype=np.uint8)
    frame = TrackVideos(write_tracks(arrays={"video": colour})).frame(1, 4)
    assert frame.shape == (3, 40, 48) and frame.dtype == torch.float32
    np.testing.assert_array_equal(frame.permute(1, 2, 0).numpy(), (colour[1, 4] / 255).astype(np.float32))
    grey = colour[..., 0]
    frame = TrackVideos(write_tracks("grey.h5", arrays={"video": grey})).frame(2, 3)
    np.testing.assert_array_equal(frame.numpy(), np.stack([(grey[2, 3] / 255).astype(np.float32)] * 3))


def test_a_damaged_frame_is_named(write_tracks: Write) -> None:
    path = write_tracks()
    with h5py.File(path) as file:
        where, length = file["video"].id.get_chunk_info(1)[2:4]
    raw = bytearray(path.read_bytes())
    raw[where : where + length] = b"\xff" * length
    path.write_bytes(raw)
    videos = TrackVideos(path)
    assert videos.frame(0, 2).shape == (3, 48, 48)
    with pytest.raises(UsageError, match=r"frame 2 of video train/000001: is damaged in .*train\.h5 \(.*\); build it"):
        videos.frame(1, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arrays": {"boxes": None}}, "array 'boxes' is missing"),
        ({"arrays": {"video": np.zeros((4, 6, 48, 48), np.uint16)}}, "'video' has type uint16, expected uint8"),
        ({"arrays": {"video": np.zeros((4, 6, 48, 48, 2), np.uint8)}}, r"'video' has shape \(4, 6, 48, 48, 2\)"),
        ({"arrays": {"boxes": np.zeros((4, 5, 1, 4), "f4")}}, r"'boxes' has shape .*, expected \(4, 6, o, 4\)"),
        ({"arrays": {"labels": np.zeros((3, 1), np.int64)}}, r"'labels' has shape \(3, 1\), expected \(4, 1\)"),
        ({"arrays": {"annotated": np.ones((4, 5), bool)}}, r"'annotated' has shape \(4, 5\), expected \(4, 6\)"),
        ({"attributes": {"format": "image-classes"}}, "not a track-video file .*image-classes"),
    ],
)
def test_files_that_do_not_fit(write_tracks: Write, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=rf"train\.h5: .*{message}"):
        TrackVideos(write_tracks(**changes))


FLAT = ([1, 1, 1, 9], [9, 1, 1, 9], [1, 1, np.nan, 9], [1, 1, np.inf, 9])
OUTSIDE = ([48, 1, 60, 9], [-9, 1, 0, 9], [1, -20, 9, -2], [90, 90, 99, 99])


@pytest.mark.parametrize(
    ("box", "label"), [*((box, 1) for box in FLAT + OUTSIDE), ([1, 1, 9, 9], -1), ([1, 1, 9, 9], 2)]
)
def test_annotations_that_mean_nothing(write_tracks: Write, box: list[float], label: int) -> None:
    boxes = np.tile(np.array([1, 1, 9, 9], np.float32), (4, 6, 1, 1))
    labels, present = np.zeros((4, 1), np.int64), np.ones((4, 6, 1), bool)
    boxes[2, 5, 0], labels[2, 0] = box, label
    present[2, :5] = False
    arrays = {"boxes": boxes, "labels": labels, "present": present}
    with pytest.raises(UsageError, match=r"train\.h5: video 2, frame 5: object 0 is present with box"):
        TrackVideos(write_tracks(arrays=arrays))
    present[2] = False  # the same numbers beside "not present" are fine
    TrackVideos(write_tracks(arrays=arrays))
