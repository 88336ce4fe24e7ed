"""The two lists of detections: CocoVID JSON and CSV."""

import csv
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from location_anticipation.detections_csv import COLUMNS, create_csv
from location_anticipation.detections_json import create_json
from location_anticipation.image_folder import ImageFolder
from location_anticipation.video import FrameDetections


def found(index: int, step: int, *rows: tuple[list[float], int, float, int]) -> FrameDetections:
    return FrameDetections(
        index=index,
        keyframe=step == 0,
        step=step,
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


def test_json_is_cocovid(tmp_path: Path, folder: ImageFolder) -> None:
    with create_json(tmp_path / "out.json", folder) as document:
        for frame in FRAMES:
            document.add(frame)
        document.finish(["dog", "cat"], {"damaged": None})
    content: dict[str, Any] = json.loads((tmp_path / "out.json").read_text())
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
        "info": {"damaged": None},
    }  # fmt: skip
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["out.json"]


def test_json_without_names_lists_the_categories_that_occur(tmp_path: Path, folder: ImageFolder) -> None:
    with create_json(tmp_path / "out.json", folder) as document:
        document.add(FRAMES[2])
        document.finish(None, {})
    assert json.loads((tmp_path / "out.json").read_text())["categories"] == [{"id": 2, "name": "2"}]


def test_many_annotations_are_copied_whole(tmp_path: Path, folder: ImageFolder) -> None:
    crowd = found(0, 0, *(([0.0, 0, k + 1, 1], 1, 0.5, k + 1) for k in range(9000)))
    with create_json(tmp_path / "out.json", folder) as document:
        document.add(crowd)
        document.finish(["dog"], {})
    widths = [box["bbox"][2] for box in json.loads((tmp_path / "out.json").read_text())["annotations"]]
    assert widths == [k + 1 for k in range(9000)]
    assert (tmp_path / "out.json").stat().st_size > 1 << 20  # more than is copied at once


def test_what_detect_writes_is_a_set_of_videos(tmp_path: Path, folder: ImageFolder) -> None:
    videos = pytest.importorskip("location_anticipation.videos")
    with create_json(tmp_path / "out.json", folder) as document:
        for frame in FRAMES:
            document.add(frame)
        document.finish(["dog", "cat"], {})
    read = videos.open_videos(tmp_path / "out.json", tmp_path / "walk")
    assert len(read) == 1 and read.facts.class_names == ("dog", "cat") and read.image_size(0) == (24, 32)
    tracks = read.tracks(0)
    assert tracks.present.sum(0).tolist() == [2, 1] and tracks.labels.tolist() == [1, 0]
    assert tracks.boxes[2, 0].tolist() == [2, 2, 5.5, 8.25]
    assert read.frame(0, 1).shape == (3, 24, 32)


def test_csv_has_a_line_for_each_box(tmp_path: Path) -> None:
    with create_csv(tmp_path / "out.csv", Fraction(30000, 1001), ["dog", "cat, black"]) as table:
        for frame in FRAMES:
            table.add(frame)
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
    with create_csv(tmp_path / "out.csv") as table:
        table.add(FrameDetections(5, False, 2, plain.boxes, plain.labels, plain.scores))
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[1:] == ["5,,0,2,,2,2,0.500000,2.000,2.000,5.500,8.250"]
