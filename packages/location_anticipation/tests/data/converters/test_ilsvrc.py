"""ILSVRC2015 VID and DET in their layout on disk, to CocoVID."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from efficiency_core.errors import UsageError
from location_anticipation.data.cocovid import CocoVideos
from location_anticipation.data.converters.cocovid_writer import write_cocovid
from location_anticipation.data.converters.ilsvrc import CLASSES, convert_det, convert_vid

DOG, FOX, ZEBRA = "n02084071", "n02118333", "n02391049"
Add = Callable[..., None]
A = "train/ILSVRC2015_VID_train_0000/ILSVRC2015_train_00000000"
B = "train/ILSVRC2015_VID_train_0001/ILSVRC2015_train_00107000"
C = "val/ILSVRC2015_val_00000000"


@pytest.fixture
def vid(tmp_path: Path, add: Add) -> Path:
    """Two training videos and one of the validation set; several tracks a frame, frames without objects."""
    root = tmp_path / "ILSVRC2015"
    a, b = (30, 40), (24, 32)
    add(root, "VID", f"{A}/000000", [(DOG, 0, (1, 2, 11, 22)), (DOG, 1, (20, 0, 39, 29))], a)
    add(root, "VID", f"{A}/000001", [(DOG, 1, (21, 0, 39, 29)), (DOG, 0, (2, 2, 12, 22)), (FOX, 2, (0, 0, 5, 5))], a)
    add(root, "VID", f"{A}/000002", [], a)
    add(root, "VID", f"{B}/000000", [(ZEBRA, 0, (3, 3, 9, 9))], b)
    add(root, "VID", f"{B}/000001", [(ZEBRA, 0, (4, 3, 10, 9))], b)
    add(root, "VID", f"{C}/000000", [(FOX, 0, (3, 3, 9, 9))], b)
    add(root, "VID", f"{C}/000001", [], b)
    lists = root / "ImageSets" / "VID"
    lists.mkdir(parents=True)
    (lists / "VID_train_15frames.txt").write_text(f"{A} 1 1 3\n{A} 1 3 3\n{B} 1 2 2\n")
    (lists / "VID_val_videos.txt").write_text(f"{C} 1 0 2\n")
    (lists / "VID_val_frames.txt").write_text(f"{C}/000000 1 0 2\n{C}/000001 2 1 2\n")
    return root


def read(root: Path, content: dict[str, object], task: str = "VID") -> CocoVideos:
    write_cocovid(root.parent / "out.json", content)
    return CocoVideos(root.parent / "out.json", root / "Data" / task)


def test_the_thirty_classes() -> None:
    assert len(CLASSES) == 30 and list(CLASSES.values()) == sorted(CLASSES.values())
    assert (CLASSES["n02691156"], CLASSES["n02958343"], CLASSES["n02391049"]) == ("airplane", "car", "zebra")


def test_training_videos(vid: Path) -> None:
    content = convert_vid(vid, "train")
    assert [video["name"] for video in content["videos"]] == [A, B]
    assert content["videos"][0]["vid_train_frames"] == [0, 2]
    assert [image["is_vid_train_frame"] for image in content["images"]] == [True, False, True, False, True]
    assert content["images"][1] | {"id": 0} == {
        "id": 0, "file_name": f"{A}/000001.JPEG", "height": 30, "width": 40, "video_id": 1, "frame_id": 1,
        "is_vid_train_frame": False,
    }  # fmt: skip
    assert content["annotations"][0] == {
        "id": 1, "image_id": 1, "video_id": 1, "category_id": 9, "instance_id": 1, "bbox": [1, 2, 10, 20], "area": 200,
        "iscrowd": 0, "occluded": False, "generated": True,
    }  # fmt: skip
    assert content["categories"][8] == {"id": 9, "name": "dog", "encode_name": DOG}

    videos = read(vid, content)
    assert videos.info.class_names == tuple(CLASSES.values()) and content["info"]["name"] == "ILSVRC2015 VID train"
    assert [videos.image_size(v) for v in range(2)] == [(30, 40), (24, 32)]
    tracks = videos.tracks(0)
    assert tracks.annotated.all() and tracks.labels.tolist() == [8, 8, 11]
    assert tracks.present.tolist() == [[True, True, False], [True, True, True], [False, False, False]]
    assert tracks.boxes[1].tolist() == [[2, 2, 12, 22], [21, 0, 39, 29], [0, 0, 5, 5]]
    assert videos.tracks(1).labels.tolist() == [29]
    np.testing.assert_allclose(videos.frame(0, 2)[:, 5, 5].numpy(), [200 / 255, 0, 0], atol=0.02)


@pytest.mark.parametrize(
    ("folder", "kept"),
    [("ImageSets/VID", "VID_val_videos.txt"), ("ImageSets", "VID_val_frames.txt"), ("Lists", None)],
)
def test_lists_may_lie_elsewhere_or_not_at_all(
    vid: Path, folder: str, kept: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    lists = (vid / "ImageSets" / "VID").rename(vid / "kept")
    (vid / folder).mkdir(exist_ok=True)
    if kept:
        (lists / kept).rename(vid / folder / kept)
    content = convert_vid(vid, "val")
    assert [video["name"] for video in content["videos"]] == [C]
    assert [image["frame_id"] for image in content["images"]] == [0, 1]
    assert content["info"]["list"] == (kept or "every annotation")
    said = "as listed in" if kept else "no list (VID_val_videos.txt, VID_val_frames.txt)"
    assert any(said in message for message in caplog.messages)


def test_frames_that_no_list_names_may_have_gaps(vid: Path) -> None:
    for path in (vid / "ImageSets" / "VID").iterdir():
        path.unlink()
    (vid / "Annotations" / "VID" / f"{A}/000001.xml").unlink()
    content = convert_vid(vid, "train")
    assert "is_vid_train_frame" not in content["images"][0]
    videos = read(vid, content)
    assert videos.name(0) == A and videos.tracks(0).annotated.tolist() == [True, False, True]


def test_a_list_of_ones_own(vid: Path, tmp_path: Path) -> None:
    # The devkit's lists leave out the name of the split.
    (tmp_path / "mine.txt").write_text(f"\n{B.removeprefix('train/')} 1 0 2\n")
    content = convert_vid(vid, "train", list_file=tmp_path / "mine.txt")
    assert [video["name"] for video in content["videos"]] == [B]
    assert "vid_train_frames" not in content["videos"][0]


def test_boxes_without_an_area_are_counted(vid: Path, add: Add, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    add(vid, "VID", f"{B}/000001", [(ZEBRA, 0, (4, 3, 4, 9)), (ZEBRA, 1, (4, 9, 8, 3))], (24, 32))
    content = convert_vid(vid, "train")
    assert content["info"]["notes"] == {"boxes without an area inside the image, left out": 2}
    assert "boxes without an area inside the image, left out: 2" in caplog.messages
    assert not read(vid, content).tracks(1).present[1].any()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (f"{A} 1 1 3\n{A} 1 3\n", r"list\.txt:2: expected 4 columns \(folder, number, frame, length\) or 2 .*, got 3"),
        (f"{A} 1 1 3\n\n{A} 1 x 3\n", r"list\.txt:3: the frame number must be a whole number of 0 or more, got 'x'"),
        (f"{A} 1 1 0\n", r"list\.txt:1: the length must be at least 1, got 0"),
        (f"{A} 1 1 3\n{A} 1 2 4\n", r"list\.txt:2: train/.* has length 4 here and 3 in .*list\.txt:1"),
        (f"{A} 1 4 3\n", r"list\.txt:1: frame 4 of a video of length 3"),
        (f"{A} 1 1 4\n", r"000003\.xml: no such annotation \(.*list\.txt:1\)"),
    ],
)
def test_malformed_lists(vid: Path, tmp_path: Path, rows: str, message: str) -> None:
    (tmp_path / "list.txt").write_text(rows)
    with pytest.raises(UsageError, match=message):
        convert_vid(vid, "train", list_file=tmp_path / "list.txt")


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("</annotation>", "", 36, "not XML"),
        (None, "<other/>", 1, "expected the root element <annotation>, got <other>"),
        ("<width>40</width>", "", 7, "<size> has no <width>"),
        ("<width>40</width>", "<width>wide</width>", 8, "<width> must be a number, got 'wide'"),
        ("<width>40</width>", "<width>0</width>", 7, "<size> must be whole numbers above 0, got width 0 and height 30"),
        ("<width>40</width>", "<width>41</width>", 7, "<size> is 41x30, the image is 40x30"),
        ("<trackid>1</trackid>", "", 23, "<object> has no <trackid>"),
        ("<trackid>1</trackid>", "<trackid> </trackid>", 24, "<trackid> is empty"),
        ("<ymax>29</ymax>", "", 26, "<bndbox> has no <ymax>"),
        ("<ymax>29</ymax>", "<ymax>nan</ymax>", 29, "<ymax> must be a number, got 'nan'"),
        ("<trackid>1</trackid>\n\t\t<name>n02084071", "<trackid>1</trackid>\n\t\t<name>n1", 25, "<name> 'n1' is none of the 30"),
    ],
)  # fmt: skip
def test_malformed_annotations(vid: Path, old: str | None, new: str, line: int, message: str) -> None:
    path = vid / "Annotations" / "VID" / f"{A}/000000.xml"
    text = path.read_text()
    assert old is None or old in text
    path.write_text(new if old is None else text.replace(old, new))
    with pytest.raises(UsageError) as caught:
        convert_vid(vid, "train")
    assert str(caught.value).startswith(f"{path}:{line}: {message}")


def test_missing_images(vid: Path) -> None:
    first, second = (vid / "Data" / "VID" / f"{A}/00000{k}.JPEG" for k in (0, 1))
    second.unlink()
    with pytest.raises(UsageError, match=r"000001\.JPEG: no such image \(.*VID_train_15frames\.txt:1\)"):
        convert_vid(vid, "train")
    first.unlink()
    with pytest.raises(UsageError, match=r"000000\.JPEG: no such file \(.*VID_train_15frames\.txt:1\)"):
        convert_vid(vid, "train")


def test_frames_of_another_size(vid: Path, add: Add) -> None:
    add(vid, "VID", f"{A}/000001", [], (30, 41))
    with pytest.raises(UsageError, match=r"000001\.xml:7: <size> is 41x30, the frames before it are 40x30"):
        convert_vid(vid, "train")


# DET

D = "train/ILSVRC2013_train/n02691156/n02691156_10011"
E = "train/ILSVRC2013_train/n00007846/n00007846_103856"
PERSON = "n00007846"  # one of the 200 classes of DET, none of the 30 of VID


@pytest.fixture
def det(tmp_path: Path, add: Add) -> Path:
    root = tmp_path / "ILSVRC2015"
    add(root, "DET", D, [(DOG, 0, (1, 2, 11, 22)), (DOG, 0, (5, 5, 6, 6)), (PERSON, 0, (0, 0, 9, 9))], (30, 40))
    add(root, "DET", E, [(PERSON, 0, (0, 0, 9, 9))], (30, 40))
    (root / "ImageSets").mkdir()
    (root / "ImageSets" / "DET_train_30classes.txt").write_text(f"{D} 1\n{E} 2\n")
    return root


def test_images_become_videos_of_one_frame(det: Path) -> None:
    content = convert_det(det, "train")
    assert content["info"]["notes"]["images of none of the 30 classes, left out"] == 1
    videos = read(det, content, "DET")
    assert len(videos) == 1 and videos.name(0) == D
    tracks = videos.tracks(0)
    assert tracks.labels.tolist() == [8, 8]  # no trackid: every object is its own track
    assert tracks.boxes.tolist() == [[[1, 2, 11, 22], [5, 5, 6, 6]]]
    assert videos.frame(0, 0).shape == (3, 30, 40)
    assert videos.info.class_names == tuple(CLASSES.values())


def test_det_without_a_list_and_images_of_another_size(det: Path, add: Add) -> None:
    (det / "ImageSets" / "DET_train_30classes.txt").unlink()
    add(det, "DET", E, [(FOX, 0, (0, 0, 9, 9))], (30, 40))
    assert [video["name"] for video in convert_det(det, "train")["videos"]] == [E, D]
    Image.new("RGB", (30, 40)).save(det / "Data" / "DET" / f"{E}.JPEG", "JPEG")
    content = convert_det(det, "train")
    assert [video["name"] for video in content["videos"]] == [D]
    assert content["info"]["notes"]["images of another size than annotated, left out"] == 1


def test_malformed_det(det: Path) -> None:
    (det / "ImageSets" / "DET_train_30classes.txt").write_text(f"{D} 1\n{E} 2 3\n")
    with pytest.raises(UsageError, match=r"30classes\.txt:2: expected 2 columns \(image, number\), got 3"):
        convert_det(det, "train")


def test_a_list_of_frames_with_two_columns(vid: Path) -> None:
    frames = vid / "frames.txt"
    frames.write_text(f"{C}/000000 1\n{C}/000001 2\n")
    assert convert_vid(vid, "val", list_file=frames)["images"] == convert_vid(vid, "val")["images"]
    frames.write_text(f"{C.removeprefix('val/')}/000001 2\n")
    (image,) = convert_vid(vid, "val", list_file=frames)["images"]
    assert (image["frame_id"], image["file_name"]) == (1, f"{C}/000001.JPEG")
    frames.write_text(f"{C}/000001 2\n{C}/000001 2\n")
    with pytest.raises(UsageError, match=r"frames.txt:2: the frames of a video must rise, got .*000001 after 000001"):
        convert_vid(vid, "val", list_file=frames)


def test_an_object_is_once_in_a_frame(vid: Path, add: Add) -> None:
    add(vid, "VID", f"{C}/000001", [(FOX, 3, (1, 1, 9, 9)), (DOG, 3, (1, 1, 9, 9)), (FOX, 3, (2, 2, 9, 9))], (24, 32))
    with pytest.raises(UsageError, match=rf"000001.xml:12: <trackid> 3 is there twice, of {FOX}"):
        convert_vid(vid, "val")
