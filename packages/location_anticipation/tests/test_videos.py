"""Sets of videos: opening by name, sparse annotation, several files as one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from location_anticipation.cocovid import CocoVideos
from location_anticipation.cocovid_writer import CocoVidBuilder, write_cocovid
from location_anticipation.data import Keyframes, TrackVideos
from location_anticipation.errors import UsageError
from location_anticipation.videos import Concatenated, Sparse, open_videos

Write = Callable[..., Path]


def coco(folder: Path, names: tuple[str, ...] = ("filled", "hollow"), frames: int = 3) -> Path:
    builder = CocoVidBuilder([{"id": k, "name": name} for k, name in enumerate(names, 1)], {"name": "coco"})
    video = builder.add_video("only")
    for frame in range(frames):
        image = builder.add_image(video, frame, f"{frame}.png", (20, 30))
        builder.add_box(video, image, 2, "x", (frame, 1, frame + 5, 6))
    write_cocovid(folder / "coco.json", builder.content)
    return folder / "coco.json"


def test_open_by_name(tmp_path: Path, write_tracks: Write) -> None:
    assert isinstance(open_videos(write_tracks()), TrackVideos)
    opened = open_videos(str(coco(tmp_path)), tmp_path / "images")
    assert isinstance(opened, CocoVideos) and opened.images == tmp_path / "images"
    with pytest.raises(UsageError, match=r"train\.h5: a track-video file holds its frames; --images goes with CocoVID"):
        open_videos(write_tracks(), tmp_path)
    with pytest.raises(UsageError, match=r"none\.h5: no such file"):
        open_videos(tmp_path / "none.h5")


def test_a_track_video_file_is_a_set_of_videos(write_tracks: Write) -> None:
    videos = TrackVideos(write_tracks(videos=3, frames=4, size=40))
    assert len(videos) == 3 and videos.name(2) == "000002" and videos.image_size(1) == (40, 40)
    tracks = videos.tracks(2)
    np.testing.assert_array_equal(tracks.boxes, videos.boxes[2])
    assert tracks.present.all() and tracks.annotated.tolist() == [True] * 4 and tracks.labels.tolist() == [0]


def test_a_track_video_file_may_say_what_is_annotated(write_tracks: Write) -> None:
    annotated = np.tile(np.arange(6) % 2 == 0, (4, 1))
    present = annotated[:, :, None].copy()
    videos = TrackVideos(write_tracks(arrays={"annotated": annotated, "present": present}))
    assert videos.tracks(1).annotated.tolist() == [True, False] * 3
    assert [t for v, t in Keyframes(videos, horizon=1).index if v == 0] == [0, 2, 4]
    present[2, 3] = True
    with pytest.raises(UsageError, match=r"train\.h5: video 2, frame 3: an object is present, but the frame is not"):
        TrackVideos(write_tracks(arrays={"annotated": annotated, "present": present}))
    with pytest.raises(UsageError, match=r"'annotated' is \(4, 5\), .* it must be \(4, 6\)"):
        TrackVideos(write_tracks(arrays={"annotated": annotated[:, 1:]}))
    with pytest.raises(UsageError, match="'annotated' has the wrong type, uint8"):
        TrackVideos(write_tracks(arrays={"annotated": annotated.astype(np.uint8)}))


@pytest.mark.parametrize(("step", "offset"), [(1, 0), (2, 0), (2, 1), (4, 3), (9, 0)])
def test_sparse_keeps_every_so_manieth_frame(write_tracks: Write, step: int, offset: int) -> None:
    videos = TrackVideos(write_tracks(videos=2, frames=7))
    videos.present[1, 4] = False
    sparse = Sparse(videos, step, offset)
    assert len(sparse) == 2 and sparse.name(1) == "000001" and sparse.image_size(0) == (48, 48)
    for video in range(2):
        tracks = sparse.tracks(video)
        for frame in range(7):
            kept = frame in range(offset, 7, step)
            shown = kept and bool(videos.present[video, frame, 0])
            assert tracks.annotated[frame] == kept
            assert tracks.present[frame, 0] == shown
            wanted = videos.boxes[video, frame, 0].tolist() if shown else [0, 0, 0, 0]
            assert tracks.boxes[frame, 0].tolist() == wanted
    assert torch.equal(sparse.frame(1, 3), videos.frame(1, 3))
    assert sparse.facts.class_names == videos.facts.class_names
    assert sparse.facts.content_digest != videos.facts.content_digest
    assert videos.present.sum() == 13  # the videos themselves are as they were


@pytest.mark.parametrize(("step", "offset"), [(0, 0), (3, 3), (3, -1)])
def test_sparse_refuses(write_tracks: Write, step: int, offset: int) -> None:
    with pytest.raises(ValueError, match=r"label_step must be at least 1|offset must be in 0\.\.2"):
        Sparse(TrackVideos(write_tracks()), step, offset)


def test_several_files_are_one_set(tmp_path: Path, write_tracks: Write) -> None:
    first, second = TrackVideos(write_tracks(videos=2)), CocoVideos(coco(tmp_path))
    third = TrackVideos(write_tracks("more.h5", videos=3, seed=1))
    both = Concatenated(first, second, third)
    assert len(both) == 6
    assert [both.name(v) for v in range(6)] == ["000000", "000001", "only", "000000", "000001", "000002"]
    assert [both.image_size(v)[1] for v in range(6)] == [48, 48, 30, 48, 48, 48]
    np.testing.assert_array_equal(both.tracks(2).boxes, second.tracks(0).boxes)
    np.testing.assert_array_equal(both.tracks(5).boxes, third.boxes[2])
    assert torch.equal(both.frame(4, 3), third.frame(1, 3))
    assert both.facts.name == "Squares + coco + Squares" and both.facts.class_names == ("filled", "hollow")
    assert both.facts.content_digest != Concatenated(second, first, third).facts.content_digest
    assert "coco.json" in str(both.path) and "more.h5" in str(both.path)
    assert len(Keyframes(both, horizon=2)) == 5 * 6 + 3
    with pytest.raises(IndexError, match="video 6 of 6"):
        both.tracks(6)


def test_several_files_of_other_classes_are_refused(tmp_path: Path, write_tracks: Write) -> None:
    other = CocoVideos(coco(tmp_path, ("hollow", "filled")))
    with pytest.raises(
        UsageError, match=r"coco\.json and .*train\.h5 have different classes: 2 \(hollow, filled\) and"
    ):
        Concatenated(TrackVideos(write_tracks()), other)
    with pytest.raises(ValueError, match="at least one"):
        Concatenated()
