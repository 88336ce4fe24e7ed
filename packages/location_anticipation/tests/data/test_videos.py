"""Sets of videos: opening by name, sparse annotation, several files as one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from efficiency_core.errors import UsageError
from location_anticipation.data import Concatenated, Keyframes, Sparse, TrackVideos, open_videos
from location_anticipation.data.cocovid import CocoVideos
from location_anticipation.data.converters.cocovid_writer import CocoVidBuilder, write_cocovid

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
    assert sparse.info.class_names == videos.info.class_names and sparse.path == videos.path
    assert sparse.info.content_digest != videos.info.content_digest
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
    assert both.info.class_names == ("filled", "hollow")
    assert both.info.content_digest != Concatenated(second, first, third).info.content_digest
    assert "coco.json" in str(both.path) and "more.h5" in str(both.path)
    assert len(Keyframes(both, horizon=2)) == 5 * 6 + 3
    with pytest.raises(IndexError, match="video 6 of 6"):
        both.tracks(6)


def test_several_files_of_other_classes_are_refused(tmp_path: Path, write_tracks: Write) -> None:
    other = CocoVideos(coco(tmp_path, ("hollow", "filled")))
    with pytest.raises(UsageError, match=r"coco\.json and .*train\.h5 have different classes: 2 \(hollow, filled\)"):
        Concatenated(TrackVideos(write_tracks()), other)
    with pytest.raises(ValueError, match="at least one"):
        Concatenated()
