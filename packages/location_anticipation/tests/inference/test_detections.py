"""The two lists of detections: CocoVID JSON and CSV."""

import csv
import json
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from location_anticipation.data import open_videos
from location_anticipation.data.image_folder import ImageFolder
from location_anticipation.inference.detections import COLUMNS, create_csv, create_json
from location_anticipation.inference.stream import FrameDetections


def found(index: int, step: int, *rows: tuple[list[float], int, float, int]) -> FrameDetections:
    return FrameDetections(
        index,
        step == 0,
        step,
        boxes=torch.tensor([row[0] for row in rows]).reshape(-1, 4),
        labels=torch.tensor([row[1] for row in rows], dtype=torch.int64),
        scores=torch.tensor([row[2] for row in rows]),
        instances=torch.tensor([row[3] for row in rows], dtype=torch.int64),
    )


FRAMES = (
    found(0, 0, ([1.0, 2, 4.5, 8.25], 2, 0.5, 1), ([0, 0, 10, 10], 1, 0.75, 2)),
    found(1, 1),
    found(2, 0, ([2.0, 2, 5.5, 8.25], 2, 0.5, 1)),
)


@pytest.fixture
def folder(tmp_path: Path) -> ImageFolder:
    (tmp_path / "walk").mkdir()
    for k in range(3):
        Image.fromarray(np.zeros((24, 32, 3), np.uint8)).save(tmp_path / "walk" / f"{k}.png")
    return ImageFolder(tmp_path / "walk")


def written(
    path: Path, folder: ImageFolder, frames: Iterable[FrameDetections], names: list[str] | None
) -> dict[str, Any]:
    """Content of the JSON file of some frames."""
    with create_json(path, folder, names, {"keyframe_step": 2}) as add:
        for frame in frames:
            add(frame)
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def test_json_is_cocovid(tmp_path: Path, folder: ImageFolder) -> None:
    content = written(tmp_path / "out.json", folder, FRAMES, ["dog", "cat"])
    size = {"width": 32, "height": 24}
    assert content == {
        "videos": [{"id": 1, "name": "walk", **size}],
        "images": [
            {"id": 1, "video_id": 1, "frame_id": 0, "file_name": "0.png", **size, "keyframe": True, "step": 0},
            {"id": 2, "video_id": 1, "frame_id": 1, "file_name": "1.png", **size, "keyframe": False, "step": 1},
            {"id": 3, "video_id": 1, "frame_id": 2, "file_name": "2.png", **size, "keyframe": True, "step": 0},
        ],
        "annotations": [
            {"id": i, "image_id": image, "video_id": 1, "category_id": label, "bbox": box, "area": area, "iscrowd": 0,
             "score": score, "instance_id": instance}
            for i, image, label, box, area, score, instance in (
                (1, 1, 2, [1, 2, 3.5, 6.25], 21.875, 0.5, 1),
                (2, 1, 1, [0, 0, 10, 10], 100, 0.75, 2),
                (3, 3, 2, [2, 2, 3.5, 6.25], 21.875, 0.5, 1),
            )
        ],
        "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}],
        "info": {"keyframe_step": 2, "damaged": None},
    }  # fmt: skip
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["out.json"]


def test_json_without_names_lists_the_categories_that_occur(tmp_path: Path, folder: ImageFolder) -> None:
    assert written(tmp_path / "out.json", folder, FRAMES[2:], None)["categories"] == [{"id": 2, "name": "2"}]


def test_many_annotations_are_copied_whole(tmp_path: Path, folder: ImageFolder) -> None:
    crowd = found(0, 0, *(([0.0, 0, k + 1, 1], 1, 0.5, k + 1) for k in range(9000)))
    content = written(tmp_path / "out.json", folder, [crowd], ["dog"])
    assert [box["bbox"][2] for box in content["annotations"]] == [k + 1 for k in range(9000)]
    assert (tmp_path / "out.json").stat().st_size > 1 << 20  # more than is copied at once


def test_what_detect_writes_is_a_set_of_videos(tmp_path: Path, folder: ImageFolder) -> None:
    written(tmp_path / "out.json", folder, FRAMES, ["dog", "cat"])
    read = open_videos(tmp_path / "out.json", tmp_path / "walk")
    assert len(read) == 1 and read.info.class_names == ("dog", "cat") and read.image_size(0) == (24, 32)
    tracks = read.tracks(0)
    assert tracks.present.sum(0).tolist() == [2, 1] and tracks.labels.tolist() == [1, 0]
    assert tracks.boxes[2, 0].tolist() == [2, 2, 5.5, 8.25]
    assert read.frame(0, 1).shape == (3, 24, 32)


def test_csv_has_a_line_for_each_box(tmp_path: Path) -> None:
    with create_csv(tmp_path / "out.csv", Fraction(30000, 1001), ["dog", "cat, black"]) as add:
        for frame in FRAMES:
            add(frame)
    with (tmp_path / "out.csv").open(newline="") as file:
        header, *lines = csv.reader(file)
    assert tuple(header) == COLUMNS
    assert lines == [
        ["0", "0.0000", "1", "0", "2", "1", "dog", "0.750000", "0.000", "0.000", "10.000", "10.000"],
        ["0", "0.0000", "1", "0", "1", "2", "cat, black", "0.500000", "1.000", "2.000", "4.500", "8.250"],
        ["2", "0.0667", "1", "0", "1", "2", "cat, black", "0.500000", "2.000", "2.000", "5.500", "8.250"],
    ]


def test_csv_without_names_rate_and_numbers(tmp_path: Path) -> None:
    plain = FRAMES[2]
    with create_csv(tmp_path / "out.csv") as add:
        add(FrameDetections(5, False, 2, plain.boxes, plain.labels, plain.scores))
    assert (tmp_path / "out.csv").read_text().splitlines()[1:] == ["5,,0,2,,2,2,0.500000,2.000,2.000,5.500,8.250"]


def test_frames_have_the_times_of_the_source(tmp_path: Path, folder: ImageFolder) -> None:
    """Given times go before the rate, which serves frames without one."""
    folder.rate = Fraction(10)
    times = (3.0, 3.04, None)
    with create_json(tmp_path / "a.json", folder, None, {}) as add, create_csv(tmp_path / "a.csv", folder.rate) as line:
        for frame, seconds in zip(FRAMES, times, strict=True):
            add(frame, seconds)
            line(frame, seconds)
    assert [image["seconds"] for image in json.loads((tmp_path / "a.json").read_text())["images"]] == [3, 3.04, 0.2]
    assert [row.split(",")[1] for row in (tmp_path / "a.csv").read_text().split()[1:]] == ["3.0000", "3.0000", "0.2000"]
