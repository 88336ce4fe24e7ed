"""EPIC-KITCHENS-55 objects in their layout on disk, to CocoVID."""

import logging
from pathlib import Path

import pytest
from PIL import Image

from efficiency_core.errors import UsageError
from location_anticipation.data.cocovid import CocoVideos
from location_anticipation.data.converters.cocovid_writer import write_cocovid
from location_anticipation.data.converters.epic import convert_epic, hold_out, link

LABELS = """noun_class,noun,participant_id,video_id,frame,bounding_boxes
1,pan,P01,P01_01,31,"[(2, 1, 20, 10), (5, 60, 10, 20)]"
3,cut board,P01,P01_01,31,"[(2, 1, 20, 10)]"
1,pan,P01,P01_01,61,"[(5, 62, 10, 20), (3, 2, 20, 10)]"
3,cut board,P01,P01_01,61,[]
1,pan,P01,P01_01,91,"[(40, 80, 10, 40)]"
1,pan,P01,P01_01,301,"[(5, 60, 10, 20)]"
1,pan,P02,P02_07,1,"[(0, 0, 5, 5), (0, 0, 0, 5)]"
"""
NOUNS = "noun_id,class_key,nouns\n0,none,\"['none']\"\n1,pan,\"['pan', 'frying pan']\"\n3,board:cutting,\"['board']\"\n"
VIDEOS = "video,resolution,duration,fps\nP01_01,100x50,1652.15,59.94\nP02_07,80x60,10.0,29.97\n"


def picture(root: Path, video: str, frame: int, size: tuple[int, int]) -> None:
    path = root / "object_detection_images" / "train" / video[:3] / video / f"{frame:010d}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    tables = tmp_path / "EPIC" / "annotations"
    tables.mkdir(parents=True)
    (tables / "EPIC_train_object_labels.csv").write_text(LABELS)
    (tables / "EPIC_noun_classes.csv").write_text(NOUNS)
    (tables / "EPIC_video_info.csv").write_text(VIDEOS)
    for frame in (31, 61, 91, 301):
        picture(tmp_path / "EPIC", "P01_01", frame, (100, 50))
    picture(tmp_path / "EPIC", "P02_07", 1, (80, 60))
    return tmp_path / "EPIC"


def test_boxes_clips_and_tracks(root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    content = convert_epic(root, "all")
    write_cocovid(tmp_path / "out.json", content)
    videos = CocoVideos(tmp_path / "out.json", root)
    assert videos.info.class_names == ("pan", "board:cutting")  # those that occur, by noun_id
    assert [entry["id"] for entry in content["categories"]] == [2, 4]
    # Frames come 30 apart; 91 to 301 is a pause.
    assert [videos.name(v) for v in range(len(videos))] == [
        "P01_01/0000000031", "P01_01/0000000301", "P02_07/0000000001",
    ]  # fmt: skip
    tracks = videos.tracks(0)
    assert tracks.annotated.tolist() == [True, True, True]
    assert videos.image_size(0) == (50, 100)
    # (top, left, height, width) = (2, 1, 20, 10) is x 1..11, y 2..22. The pans of frame 61 come in another order; the
    # one of frame 91 overlaps neither and is cut at the border, x 80..100; the board has its own track.
    assert tracks.labels.tolist() == [0, 0, 1, 0]
    assert tracks.boxes[0, :3].tolist() == [[1, 2, 11, 22], [60, 5, 80, 15], [1, 2, 11, 22]]
    assert tracks.boxes[1, :2].tolist() == [[2, 3, 12, 23], [62, 5, 82, 15]]
    assert tracks.boxes[2, 3].tolist() == [80, 40, 100, 50]
    assert tracks.present.tolist() == [[True, True, True, False], [True, True, False, False], [False] * 3 + [True]]
    assert videos.frame(0, 1).shape == (3, 50, 100)
    assert videos.tracks(2).boxes.tolist() == [[[0, 0, 5, 5]]]
    assert content["info"]["notes"] == {"boxes without an area inside the image, left out": 1}
    assert "linking boxes of a noun in successive annotated frames by IoU >= 0.3" in content["info"]["tracks"]
    assert any("has no tracks: 6 were made by linking boxes by IoU >= 0.3" in message for message in caplog.messages)


def test_tables_may_lie_in_the_root(root: Path) -> None:
    for path in (root / "annotations").iterdir():
        path.rename(root / path.name)
    assert len(convert_epic(root, "all")["videos"]) == 3


def test_linking() -> None:
    still, apart = (0.0, 0.0, 10.0, 10.0), (50.0, 0.0, 60.0, 10.0)
    third = (5.0, 0.0, 15.0, 10.0)  # IoU 1/3 with `still`
    assert link([[(1, still)], [(1, still)], [(1, apart)]], 0.3) == [[0], [0], [1]]
    assert link([[(1, still)], [(2, still)]], 0.3) == [[0], [1]]  # another class
    assert link([[(1, still)], [(1, third)]], 0.3) == [[0], [0]]
    assert link([[(1, still)], [(1, third)]], 0.34) == [[0], [1]]
    assert link([[(1, still)], [], [(1, still)]], 0.3) == [[0], [], [1]]  # not over a frame that does not show it
    # The largest IoU takes the partner, and each box is taken once.
    assert link([[(1, still)], [(1, third), (1, still)]], 0.3) == [[0], [1, 0]]
    assert link([], 0.3) == []


def test_hold_out_by_kitchen() -> None:
    kitchens = {f"P{k:02d}_{v:02d}": f"P{k:02d}" for k in range(1, 17) for v in range(1, 9)}
    parts = hold_out(kitchens)
    assert parts["s2"] == [f"P{k:02d}_{v:02d}" for k in (15, 16) for v in range(1, 9)]  # 16 / 8 = 2 kitchens
    assert parts["s1"] == [f"P{k:02d}_{v:02d}" for k in range(1, 15) for v in (4, 8)]
    assert sorted(parts["train"] + parts["s1"] + parts["s2"]) == sorted(kitchens)
    assert {video[:3] for video in hold_out(kitchens, ["P03"])["s2"]} == {"P03"}
    assert len(hold_out({f"P{k:02d}_01": f"P{k:02d}" for k in range(28)})["s2"]) == 4  # as in the paper
    assert hold_out({"P01_01": "P01"}) == {"train": ["P01_01"], "s1": [], "s2": []}
    with pytest.raises(UsageError, match="--unseen-kitchens: 'P99' is none of P01, P02"):
        hold_out(kitchens, ["P99"])


def test_splits_have_the_same_classes(root: Path) -> None:
    unseen = convert_epic(root, "s2")
    assert [video["name"] for video in unseen["videos"]] == ["P02_07/0000000001"]
    seen = convert_epic(root, "train")
    assert [video["name"] for video in seen["videos"]] == ["P01_01/0000000031", "P01_01/0000000301"]
    assert unseen["categories"] == seen["categories"]
    with pytest.raises(UsageError, match="split s1 is empty: 2 videos are too few for it"):
        convert_epic(root, "s1")


TABLE = "annotations/EPIC_train_object_labels.csv"


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (TABLE, "61,[]", "sixty,[]", r"object_labels\.csv:5: frame must be a whole number of 0 or more, got 'sixty'"),
        (TABLE, "61,[]", '61,"[(1, 2, 3)]"', r"object_labels\.csv:5: bounding_boxes must be a list"),
        (TABLE, "61,[]", "61,[(1)]", r"object_labels\.csv:5: bounding_boxes must be a list of \(top, left"),
        (TABLE, "61,[]", "61,[", r"object_labels\.csv:5: bounding_boxes must be a list .*, got '\['"),
        (TABLE, "61,[]", '61,"[(1, 2, 3, None)]"', r"object_labels\.csv:5: bounding_boxes must be a list"),
        (TABLE, "3,cut board,P01,P01_01,61", "2,x,P01,P01_01,61", r"csv:5: noun_class 2 is not in EPIC_noun_classes"),
        (TABLE, "cut board,P01,P01_01,61", "x,P01,P09_01,61", r"csv:5: video 'P09_01' is not in EPIC_video_info\.csv"),
        (TABLE, "cut board,P01,P01_01,61", "x,P02,P01_01,61", r"csv:5: video P01_01 is of participant 'P02' here and 'P01'"),
        ("annotations/EPIC_noun_classes.csv", "\n1,pan", "\n0,pan", r"noun_classes\.csv:3: noun 0 is there twice"),
        ("annotations/EPIC_noun_classes.csv", "\n1,", "\n-1,", r"noun_classes\.csv:3: noun_id must be a whole number"),
        ("annotations/EPIC_video_info.csv", "80x60", "0x60", r"video_info\.csv:3: resolution must be like 1920x1080, got"),
        ("annotations/EPIC_video_info.csv", "100x50", "50x100", r"0031\.jpg: is 100x50, EPIC_video_info\.csv says 50x100"),
    ],
)  # fmt: skip
def test_malformed_tables(root: Path, file: str, old: str, new: str, message: str) -> None:
    text = (root / file).read_text()
    assert text.count(old) == 1
    (root / file).write_text(text.replace(old, new))
    with pytest.raises(UsageError, match=message):
        convert_epic(root, "all")


@pytest.mark.parametrize("name", ["EPIC_train_object_labels.csv", "EPIC_noun_classes.csv", "EPIC_video_info.csv"])
def test_missing_tables(root: Path, name: str) -> None:
    (root / "annotations" / name).unlink()
    with pytest.raises(UsageError, match=rf"annotations/{name}: no such file; expected the"):
        convert_epic(root, "all")


def test_missing_images_and_wrong_options(root: Path) -> None:
    with pytest.raises(UsageError, match="--link-iou must be above 0 and at most 1, got 0"):
        convert_epic(root, "all", link_iou=0)
    (root / "object_detection_images/train/P01/P01_01/0000000061.jpg").unlink()
    with pytest.raises(UsageError, match=r"0000000061\.jpg: no such file \(frame 61 of P01_01 in EPIC_train_object"):
        convert_epic(root, "all")
