"""The converter as a command: a file or an error, filters, and a training on what it writes."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from efficiency_core.errors import UsageError
from location_anticipation.data.cocovid import CocoVideos
from location_anticipation.data.converters.cocovid_writer import write_cocovid
from location_anticipation.data.converters.registry import convert, select

Content = dict[str, Any]
Run = Callable[..., tuple[int, str, str]]
DOG, FOX, PANDA = "n02084071", "n02118333", "n02510455"


@pytest.fixture
def vid(tmp_path: Path, add: Callable[..., None]) -> Path:
    """ILSVRC2015 VID of two training videos of one object each, a dog and a fox that move, of two image sizes."""
    root = tmp_path / "ILSVRC2015"
    for number, (wordnet, size) in enumerate(((DOG, (48, 64)), (FOX, (64, 48)))):
        for t in range(6):
            name = f"train/ILSVRC2015_VID_train_0000/ILSVRC2015_train_{number:08d}/{t:06d}"
            add(root, "VID", name, [(wordnet, 0, (2 + 3 * t, 10 + 2 * t, 14 + 3 * t, 22 + 2 * t))], size)
    return root


def content() -> Content:
    """Out of order, with numbers that jump, a crowd and keys of one's own."""
    size = {"height": 30, "width": 40}
    return {
        "info": {"name": "mine"},
        "categories": [
            {"id": 5, "name": "fox", "encode_name": FOX}, {"id": 2, "name": "dog", "encode_name": DOG, "mine": 1},
        ],
        "videos": [{"id": 8, "name": "b"}, {"id": 3, "name": "a", "fps": 25}, {"id": 4, "name": "empty"}],
        "images": [
            {"id": 30, "video_id": 3, "frame_id": 2, "file_name": "a2", **size, "annotated": False},
            {"id": 31, "video_id": 3, "frame_id": 0, "file_name": "a0", **size},
            {"id": 80, "video_id": 8, "frame_id": 7, "file_name": "b7", **size},
        ],
        "annotations": [
            {"id": 9, "image_id": 31, "category_id": 5, "instance_id": 70, "bbox": [1, 2, 3, 4], "occluded": True},
            {"id": 7, "image_id": 80, "category_id": 2, "instance_id": 70, "bbox": [1, 2, 3, 4], "area": 11},
            {"id": 6, "image_id": 31, "category_id": 2, "instance_id": 71, "bbox": [5, 5, 6, 6], "iscrowd": 1},
        ],
    }  # fmt: skip


def test_cocovid_is_put_in_order_and_keeps_its_ids() -> None:
    original = content()
    made = select(original)
    assert original == content()
    assert [(entry["id"], entry["name"]) for entry in made["categories"]] == [(2, "dog"), (5, "fox")]
    assert made["categories"][0]["mine"] == 1 and made["info"] == {"name": "mine"}
    assert made["videos"] == [{"id": 8, "name": "b"}, {"id": 3, "name": "a", "fps": 25}]
    assert [(i["id"], i["video_id"], i["frame_id"], i["file_name"]) for i in made["images"]] == [
        (80, 8, 7, "b7"), (31, 3, 0, "a0"), (30, 3, 2, "a2"),
    ]  # fmt: skip
    assert made["images"][2]["annotated"] is False
    box = {"bbox": [1, 2, 3, 4], "iscrowd": 0, "instance_id": 70}
    assert made["annotations"] == [
        box | {"id": 7, "image_id": 80, "video_id": 8, "category_id": 2, "area": 11},
        box | {"id": 9, "image_id": 31, "video_id": 3, "category_id": 5, "area": 12, "occluded": True},
        {"id": 6, "image_id": 31, "video_id": 3, "category_id": 2, "instance_id": 71, "bbox": [5, 5, 6, 6], "area": 36,
         "iscrowd": 1},
    ]  # fmt: skip
    assert select(made) == made


@pytest.mark.parametrize("classes", [["fox"], [FOX], ["fox", FOX]])
def test_a_choice_of_classes(classes: list[str]) -> None:
    made = select(content(), classes)
    assert made["categories"] == [{"id": 5, "name": "fox", "encode_name": FOX}]
    assert [video["name"] for video in made["videos"]] == ["a"]
    assert [image["frame_id"] for image in made["images"]] == [0, 2]
    assert [(box["category_id"], box["instance_id"]) for box in made["annotations"]] == [(5, 70)]


def test_choices_that_leave_nothing() -> None:
    with pytest.raises(UsageError, match="--classes: 'cat' is none of dog, fox"):
        select(content(), ["cat"])
    with pytest.raises(UsageError, match="no video is left of these classes"):
        select(content() | {"annotations": []}, ["dog"])
    with pytest.raises(UsageError, match="no video has an image"):
        select(content() | {"annotations": [], "images": []})


def test_cocovid_as_a_command(tmp_path: Path, run: Run) -> None:
    write_cocovid(tmp_path / "in.json", content())
    status, printed, _ = run("convert", "cocovid", tmp_path / "in.json", "--out", tmp_path / "out.json")
    assert status == 0
    assert printed.splitlines() == [
        "2 videos, 3 images, 3 boxes, 2 classes",
        f"{tmp_path / 'out.json'} (train and evaluate with --images {tmp_path}, or where those of {tmp_path / 'in.json'} are)",
    ]
    assert json.loads((tmp_path / "out.json").read_text()) == select(content())


def test_errors_are_one_line_and_leave_no_file(tmp_path: Path, vid: Path, run: Run) -> None:
    broken = content()
    broken["annotations"][1]["image_id"] = 1
    write_cocovid(tmp_path / "broken.json", broken)
    out = tmp_path / "out.json"
    for arguments, message in (
        (["ilsvrc-vid", vid], "--split of ilsvrc-vid must be one of train, val, got None"),
        (["epic-kitchens-55", vid, "--split", "val"], "must be one of all, train, s1, s2, got 'val'"),
        (["ilsvrc-vid", tmp_path / "none", "--split", "val"], "none: no such folder; expected the layout of ilsvrc-vid"),
        (["ilsvrc-vid", vid, "--split", "val"], "VID/val: no annotations; expected the layout of ILSVRC2015 VID"),
        (["ilsvrc-vid", vid, "--split", "train", "--fps", 2], "--fps is no option of ilsvrc-vid"),
        (["ilsvrc-vid", vid, "--split", "train", "--classes", ","], "expected names separated by commas"),
        (["ilsvrc-vid", vid, "--split", "train", "--list", tmp_path / "no.txt"], "no.txt: no such file; expected a list"),
        (["ilsvrc-det", vid, "--split", "train"], "DET/train: no annotations"),
        (["youtube-bb", vid, "--split", "train"], "frames: no such folder; expected a folder of frames"),
        (["cocovid", tmp_path / "broken.json"], "broken.json:19: annotations[1]: 'image_id' 1 is not the id of any entry"),
        (["cocovid", tmp_path / "broken.json", "--split", "train"], "--split is no option of cocovid"),
    ):  # fmt: skip
        status, printed, error = run("convert", *arguments, "--out", out)
        assert status == 2 and printed == ""
        last = error.splitlines()[-1]
        assert last.startswith("error: ") and message in last and "Traceback" not in error
    status, _, error = run("convert", "ilsvrc-vid", vid, "--split", "train", "--out", tmp_path / "out.txt")
    assert status == 2 and "out.txt: the name of a CocoVID file ends in .json" in error
    assert not list(tmp_path.glob("*out*"))


def test_the_subset_of_the_ablations(vid: Path, tmp_path: Path) -> None:
    images, counts = convert(
        "ilsvrc-vid", vid, tmp_path / "dogs.json", split="train", classes=["dog", PANDA, "hamster"]
    )
    assert counts == {"categories": 3, "videos": 1, "images": 6, "annotations": 6}
    videos = CocoVideos(tmp_path / "dogs.json", images)
    assert videos.info.class_names == ("dog", "giant_panda", "hamster")
    assert videos.info.category_ids == (9, 13, 14)
    assert videos.tracks(0).boxes[5, 0].tolist() == [17, 20, 29, 32]


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread", "tidy")
def test_from_the_data_set_to_a_detector(
    vid: Path, tmp_path: Path, run: Run, small_options: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    data, images = tmp_path / "vid.json", vid / "Data" / "VID"
    status, printed, _ = run("convert", "ilsvrc-vid", vid, "--split", "train", "--classes", "dog,fox", "--out", data)
    assert status == 0 and printed.startswith("2 videos, 12 images, 12 boxes, 2 classes\n")
    train = ["train", data, data, "--images", images, "--device", "cpu", "--motion", "linear", *small_options]
    status, printed, error = run(*train, "--out", tmp_path / "run", "--label-step", 3, "--supervision.keyframe-step", 3)
    assert status == 0, error
    assert "loss_trajectory" in printed and (tmp_path / "run" / "detector.safetensors").is_file()
    for more, message in (
        (["--label-step", 0], "label_step must be 1 or more, got 0"),
        (["--images", images, "--images", images], "--images: give one folder, or one for each of the 2 files"),
        (["--label-step", 3], "data.supervision.keyframe_step (3, now 1)"),
    ):
        status, _, error = run(*train, "--out", tmp_path / "run", *more)
        assert status == 2 and message in error.splitlines()[-1], error
    status, _, error = run("train", data, "--out", tmp_path / "other", "--device", "cpu", *small_options)
    assert status == 2
    assert "no such file" in error.splitlines()[-1] and "--images names the folder" in error.splitlines()[-1]
