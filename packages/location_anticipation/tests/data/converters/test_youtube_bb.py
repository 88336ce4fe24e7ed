"""YouTube-BoundingBoxes tables in their layout, with frames or sizes, to CocoVID."""

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from efficiency_core.errors import UsageError
from location_anticipation.data.cocovid import CocoVideos
from location_anticipation.data.converters.cocovid_writer import write_cocovid
from location_anticipation.data.converters.youtube_bb import convert_youtube_bb

# The order is xmin, xmax, ymin, ymax. Frames are 40 wide and 20 high.
TABLE = """AAB6lO-XiKE,238000,0,person,0,present,0.1,0.5,0.2,0.6
AAB6lO-XiKE,239000,0,person,0,absent,-1.0,-1.0,-1.0,-1.0
AAB6lO-XiKE,240000,0,person,0,present,0.25,0.75,0.5,1.0
AAB6lO-XiKE,239000,23,car,1,present,0.0,1.0,0.0,1.0
AAB6lO-XiKE,240000,23,car,1,present,0.0,1.0,0.5,1.0
AAB6lO-XiKE,250000,23,car,2,present,0.5,0.5,0.5,1.0
gone,1000,7,cat,0,present,0.1,0.5,0.2,0.6
"""


def frames(root: Path, video: str, numbers: list[int]) -> None:
    folder = root / "frames" / video
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        Image.new("RGB", (40, 20)).save(folder / f"{number:06d}.jpg")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "youtube-bb"
    folder.mkdir()
    (folder / "yt_bb_detection_train.csv").write_text(TABLE)
    frames(folder, "AAB6lO-XiKE", [238, 239, 240, 250])
    return folder


def read(tmp_path: Path, content: dict[str, object], root: Path) -> CocoVideos:
    write_cocovid(tmp_path / "out.json", content)
    return CocoVideos(tmp_path / "out.json", root / "frames")


def test_tracks_at_one_frame_a_second(root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    content = convert_youtube_bb(root, "train")
    videos = read(tmp_path, content, root)
    assert videos.info.class_names == ("person", "cat", "car")  # of the whole table, by class_id
    assert [videos.name(v) for v in range(len(videos))] == ["AAB6lO-XiKE/000238", "AAB6lO-XiKE/000250"]
    tracks = videos.tracks(0)
    assert tracks.annotated.tolist() == [True] * 3 and tracks.labels.tolist() == [0, 2]
    assert tracks.present.tolist() == [[True, False], [False, True], [True, True]]
    np.testing.assert_allclose(tracks.boxes[0, 0], [4, 4, 20, 12], rtol=1e-6)
    np.testing.assert_allclose(tracks.boxes[2], [[10, 10, 30, 20], [0, 10, 40, 20]])
    assert videos.frame(0, 2).shape == (3, 20, 40)
    assert videos.tracks(1).annotated.tolist() == [True] and videos.tracks(1).present.size == 0  # its box has no area
    assert content["info"]["notes"] == {
        "videos that are not there": 1,
        "boxes without an area inside the image, left out": 1,
    }
    assert any(message.startswith("1 videos; 1 more of ") for message in caplog.messages)


def test_frames_in_between_are_not_annotated(root: Path, tmp_path: Path) -> None:
    (root / "yt_bb_detection_train.csv").rename(root / "youtube_boundingboxes_detection_train.csv")
    frames(root, "AAB6lO-XiKE", [n for n in range(4 * 238, 4 * 240 + 1) if n != 955] + [1000])
    videos = read(tmp_path, convert_youtube_bb(root, "train", fps=4), root)
    tracks = videos.tracks(0)
    assert (np.flatnonzero(tracks.annotated)).tolist() == [0, 4, 8] and len(tracks.annotated) == 9
    assert videos.frame(0, 2).shape == (3, 20, 40)
    with pytest.raises(UsageError, match=r"frame 3 of video 'AAB6lO-XiKE/000952' .* has no image"):
        videos.frame(0, 3)  # 955 was not there


def test_sizes_instead_of_frames(root: Path, tmp_path: Path) -> None:
    (tmp_path / "sizes.csv").write_text("youtube_id,width,height\ngone,100,50\nunknown,1,1\n")
    content = convert_youtube_bb(root, "train", sizes=tmp_path / "sizes.csv")
    videos = read(tmp_path, content, root)
    assert [videos.name(v) for v in range(len(videos))] == ["gone/000001"]
    assert videos.info.class_names == ("person", "cat", "car")
    np.testing.assert_allclose(videos.tracks(0).boxes[0, 0], [10, 10, 50, 30], rtol=1e-6)
    assert content["images"][0]["file_name"] == "gone/000001.jpg"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("240000,0", "soon,0", r"train\.csv:3: timestamp_ms must be a whole number of 0 or more, got 'soon'"),
        ("gone,1000,7", "gone,1000,seven", r"train\.csv:7: class_id must be a whole number of 0 or more, got .seven."),
        ("240000,0,person", "240000,0,dog", r"train\.csv:3: class 0 is called 'dog' here and 'person' before"),
        ("absent", "hidden", r"train\.csv:2: object_presence must be present or absent, got 'hidden'"),
        (",0.25,0.75", ",a,0.75", r"train\.csv:3: xmin must be a number, got 'a'"),
        (",0.25,0.75", ",0.25,75", r"train\.csv:3: a box must be relative to the image, 0 to 1, got 0\.25, 75"),
        (",0.25,0.75", ",0.75,0.25", r"train\.csv:3: expected xmin <= xmax and ymin <= ymax"),
        ("XiKE,239000,0", "XiKE,238000,0", r"train\.csv:2: object 0 of class 0 is there twice in frame 238 of AAB6"),
    ],
)  # fmt: skip
def test_malformed_tables(root: Path, old: str, new: str, message: str) -> None:
    path = root / "yt_bb_detection_train.csv"
    assert TABLE.count(old) == 1
    path.write_text(TABLE.replace(old, new))
    with pytest.raises(UsageError, match=message):
        convert_youtube_bb(root, "train")


def test_missing_files_and_wrong_options(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"yt_bb_detection_validation\.csv: no such file; expected a detection table"):
        convert_youtube_bb(root, "validation")
    with pytest.raises(UsageError, match="--fps must be above 0, got 0"):
        convert_youtube_bb(root, "train", fps=0)
    with pytest.raises(
        UsageError, match=r"train\.csv:\d: object 0 of class 0 is there twice in frame \d+ of .* at 0.3"
    ):
        convert_youtube_bb(root, "train", fps=0.3)
    (root / "frames/AAB6lO-XiKE/000240.jpg").unlink()
    with pytest.raises(UsageError, match=r"000240\.jpg: no such image \(.*train\.csv:3\)"):
        convert_youtube_bb(root, "train")
    (root / "frames/AAB6lO-XiKE").rename(root / "frames/other")
    with pytest.raises(UsageError, match=r"frames: none of the 2 videos of .*train\.csv is there"):
        convert_youtube_bb(root, "train")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("gone,0,5", r"sizes\.csv:2: width and height must be above 0, got 0 and 5"),
        ("gone,5,5.5", r"sizes\.csv:2: height must be a whole number of 0 or more, got '5.5'"),
        ("other,5,5", r"sizes\.csv: none of the 2 videos"),
    ],
)
def test_malformed_sizes(root: Path, tmp_path: Path, row: str, message: str) -> None:
    (tmp_path / "sizes.csv").write_text(f"youtube_id,width,height\n{row}\n")
    with pytest.raises(UsageError, match=message):
        convert_youtube_bb(root, "train", sizes=tmp_path / "sizes.csv")


def test_times_halfway_between_two_frames_are_of_the_later_one(root: Path) -> None:
    row = "AAB6lO-XiKE,{},0,person,0,present,0.1,0.5,0.2,0.6\n"
    (root / "yt_bb_detection_train.csv").write_text("".join(row.format(time) for time in (237500, 238500, 239500)))
    images = convert_youtube_bb(root, "train")["images"]
    assert [image["file_name"][-10:] for image in images] == ["000238.jpg", "000239.jpg", "000240.jpg"]
