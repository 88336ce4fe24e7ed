"""The converter as a command: a file or an error, filters, and a training on what it writes."""

import copy
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from location_anticipation.cli import main
from location_anticipation.cocovid import CocoVideos
from location_anticipation.cocovid_writer import write_cocovid
from location_anticipation.convert import convert, select
from location_anticipation.errors import UsageError

Content = dict[str, Any]
Run = Callable[..., tuple[int, str, str]]
DOG, FOX, PANDA = "n02084071", "n02118333", "n02510455"
SIDE = 12


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, captured.out, captured.err

    return command


@pytest.fixture
def vid(tmp_path: Path) -> Path:
    """ILSVRC2015 VID of two training videos: a bright dog and a dark fox that move on grey, of two image sizes."""
    root = tmp_path / "ILSVRC2015"
    for number, (wordnet, colour, size) in enumerate(((DOG, 250, (48, 64)), (FOX, 5, (64, 48)))):
        folder = f"train/ILSVRC2015_VID_train_0000/ILSVRC2015_train_{number:08d}"
        for frame in range(6):
            x, y = 2 + 3 * frame, 10 + 2 * frame
            pixels = np.full((*size, 3), 128, dtype=np.uint8)
            pixels[y : y + SIDE, x : x + SIDE] = colour
            image = root / "Data/VID" / folder / f"{frame:06d}.JPEG"
            image.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(image, "JPEG")
            annotation = root / "Annotations/VID" / folder / f"{frame:06d}.xml"
            annotation.parent.mkdir(parents=True, exist_ok=True)
            annotation.write_text(
                f"<annotation><size><width>{size[1]}</width><height>{size[0]}</height></size><object><trackid>0</trackid>"
                f"<name>{wordnet}</name><bndbox><xmax>{x + SIDE}</xmax><xmin>{x}</xmin><ymax>{y + SIDE}</ymax>"
                f"<ymin>{y}</ymin></bndbox></object></annotation>"
            )
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


def test_cocovid_is_put_in_order(tmp_path: Path) -> None:
    original = content()
    made = select(original)
    assert original == content()
    assert made["categories"] == [
        {"id": 1, "name": "dog", "encode_name": DOG, "mine": 1}, {"id": 2, "name": "fox", "encode_name": FOX},
    ]  # fmt: skip
    assert made["videos"] == [{"id": 1, "name": "b"}, {"id": 2, "name": "a", "fps": 25}]
    assert [(i["id"], i["video_id"], i["frame_id"], i["file_name"]) for i in made["images"]] == [
        (1, 1, 7, "b7"), (2, 2, 0, "a0"), (3, 2, 2, "a2"),
    ]  # fmt: skip
    assert made["images"][2]["annotated"] is False
    box = {"bbox": [1, 2, 3, 4], "iscrowd": 0}
    assert made["annotations"] == [
        box | {"id": 1, "image_id": 1, "video_id": 1, "category_id": 1, "instance_id": 1, "area": 11},
        box | {"id": 2, "image_id": 2, "video_id": 2, "category_id": 2, "instance_id": 2, "area": 12, "occluded": True},
        {"id": 3, "image_id": 2, "video_id": 2, "category_id": 1, "instance_id": 3, "bbox": [5, 5, 6, 6], "area": 36,
         "iscrowd": 1},
    ]  # fmt: skip
    assert select(made) == made
    # The same tracks, before and after.
    write_cocovid(tmp_path / "before.json", original)
    write_cocovid(tmp_path / "after.json", made)
    before, after = CocoVideos(tmp_path / "before.json"), CocoVideos(tmp_path / "after.json")
    assert before.facts.class_names == after.facts.class_names == ("dog", "fox")
    for video in range(2):
        assert before.name(video) == after.name(video)
        one, other = before.tracks(video), after.tracks(video)
        for name in ("boxes", "present", "labels", "annotated"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("classes", [["fox"], [FOX], ["fox", FOX]])
def test_a_choice_of_classes(classes: list[str]) -> None:
    made = select(content(), classes)
    assert made["categories"] == [{"id": 1, "name": "fox", "encode_name": FOX}]
    assert [video["name"] for video in made["videos"]] == ["a"]
    assert [image["frame_id"] for image in made["images"]] == [0, 2]
    assert [(box["category_id"], box["instance_id"]) for box in made["annotations"]] == [(1, 1)]


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
    broken = copy.deepcopy(content())
    broken["annotations"][1]["image_id"] = 1
    write_cocovid(tmp_path / "broken.json", broken)
    out = tmp_path / "out.json"
    odd = next((vid / "Annotations/VID").rglob("000003.xml"))
    text = odd.read_text()
    for arguments, message in (
        (["imagenet", vid], "format must be one of ilsvrc-vid, ilsvrc-det, epic-kitchens-55, youtube-bb or cocovid, got"),
        (["ilsvrc-vid", vid], "ilsvrc-vid needs --split"),
        (["ilsvrc-vid", vid, "--split", "test"], "--split of ILSVRC must be one of train, val, got 'test'"),
        (["ilsvrc-vid", tmp_path / "none", "--split", "val"], "none: no such folder; expected the layout of ilsvrc-vid"),
        (["ilsvrc-vid", vid, "--split", "val"], "VID/val: no annotations; expected the layout of ILSVRC2015 VID"),
        (["ilsvrc-vid", vid, "--split", "train", "--fps", 2], "--fps is no option of ilsvrc-vid"),
        (["ilsvrc-vid", vid, "--split", "train", "--classes", "cat"], "--classes: 'cat' is none of airplane, antelope"),
        (["ilsvrc-vid", vid, "--split", "train", "--classes", ","], "no video is left of these classes"),
        (["ilsvrc-vid", vid, "--split", "train", "--list", tmp_path / "no.txt"], "no.txt: no such file; expected a list"),
        (["ilsvrc-det", vid, "--split", "train"], "DET/train: no annotations"),
        (["youtube-bb", vid, "--split", "train"], "frames: no such folder; expected a folder of frames"),
        (["epic-kitchens-55", vid, "--split", "all"], "EPIC_noun_classes.csv: no such file"),
        (["cocovid", tmp_path / "broken.json"], "broken.json:19: annotations[1]: 'image_id' 1 is not the id of any entry"),
        (["cocovid", tmp_path / "broken.json", "--split", "train"], "--split is no option of cocovid"),
        (["cocovid", tmp_path / "none.json"], "none.json: no such file; expected a CocoVID JSON file"),
    ):  # fmt: skip
        status, printed, error = run("convert", *arguments, "--out", out)
        assert status == 2 and printed == ""
        last = error.splitlines()[-1]
        assert last.startswith("error: ") and message in last and "Traceback" not in error
    odd.write_text(text.replace("</size>", "</siz>"))
    status, _, error = run("convert", "ilsvrc-vid", vid, "--split", "train", "--out", out)
    assert status == 2 and f"{odd}:1: not XML" in error.splitlines()[-1]
    odd.write_text(text)
    status, _, error = run("convert", "ilsvrc-vid", vid, "--split", "train", "--out", tmp_path / "out.txt")
    assert status == 2 and "out.txt: the name of a CocoVID file ends in .json" in error
    assert not list(tmp_path.glob("*out*"))
    (tmp_path / "folder.json").mkdir()
    status, _, error = run("convert", "ilsvrc-vid", vid, "--split", "train", "--out", tmp_path / "folder.json")
    assert status == 1 and "folder.json: cannot be written" in error


def test_the_subset_of_the_ablations(vid: Path, tmp_path: Path) -> None:
    made = convert("ilsvrc-vid", vid, tmp_path / "dogs.json", split="train", classes=["dog", PANDA, "hamster"])
    assert (made.classes, made.videos, made.frames, made.boxes) == (3, 1, 6, 6)
    videos = CocoVideos(made.path, made.images)
    assert videos.facts.class_names == ("dog", "giant_panda", "hamster")
    assert videos.tracks(0).boxes[5, 0].tolist() == [17, 20, 29, 32]


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread", "tidy")
def test_from_the_data_set_to_a_detector(vid: Path, tmp_path: Path, run: Run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    data, images = tmp_path / "vid.json", vid / "Data" / "VID"
    status, printed, _ = run("convert", "ilsvrc-vid", vid, "--split", "train", "--classes", "dog,fox", "--out", data)
    assert status == 0 and printed.startswith("2 videos, 12 images, 12 boxes, 2 classes\n")
    small = [
        "horizon=3", "backbone=resnet18", "channels=32", "representation=32", "trajectory_hidden=48", "min_size=48",
        "max_size=80", "anchor_sizes=[8,12,16,24,32]", "rois_per_image=16", "iterations=2", "batch_size=2",
    ]  # fmt: skip
    settings = [word for setting in small for word in ("--set", setting)]
    train = ["train", data, data, "--images", images, "--device", "cpu", "--motion", "linear", *settings]
    status, printed, error = run(*train, "--out", tmp_path / "run", "--label-step", 3, "--keyframe-step", 3)
    assert status == 0, error
    assert "loss_trajectory" in printed and (tmp_path / "run" / "detector.pt").is_file()
    for more, message in (
        (["--keyframe-step", 0], "--keyframe-step must be at least 1, got 0"),
        (["--label-step", 0], "--label-step must be at least 1, got 0"),
        (["--images", images, "--images", images], "--images: give one folder, or one for each of the 2 files"),
        (["--label-step", 3, "--keyframe-step", 1], "belongs to a run with other settings (data)"),
    ):
        status, _, error = run(*train, "--out", tmp_path / "run", *more)
        assert status == 2 and message in error.splitlines()[-1], error
    status, _, error = run("train", data, "--out", tmp_path / "other", "--device", "cpu", *settings)
    assert status == 2
    assert "no such image" in error.splitlines()[-1] and "--images names the folder" in error.splitlines()[-1]
