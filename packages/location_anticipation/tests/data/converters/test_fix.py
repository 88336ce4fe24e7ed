"""``convert --fix``: wrong annotations are left out and boxes cut, with counts; everything else stays as it is."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from location_anticipation.data import CocoVideos
from location_anticipation.data.converters.cocovid_writer import write_cocovid

Run = Callable[..., tuple[int, str, str]]


def content(plain: bool, *wrong: dict[str, Any]) -> dict[str, Any]:
    """Two images of 40x30, as CocoVID or as plain COCO, with a sound annotation and those that are given."""
    images = [{"id": k, "file_name": f"{k}.jpg", "height": 30, "width": 40} for k in (5, 8)]
    annotations = [
        {"id": k, "image_id": 5, "category_id": 18, "bbox": [1, 2, 3, 4]} | e for k, e in enumerate([{}, *wrong])
    ]
    if not plain:
        images = [image | {"video_id": 9, "frame_id": number} for number, image in enumerate(images)]
        annotations = [{"instance_id": number} | entry for number, entry in enumerate(annotations)]
    videos = {} if plain else {"videos": [{"id": 9, "name": "a"}]}
    return {"categories": [{"id": 18, "name": "dog"}], **videos, "images": images, "annotations": annotations}


def save(path: Path, content: dict[str, Any]) -> Path:
    path.write_text("{" + ",\n".join(f'"{key}": {json.dumps(value)}' for key, value in content.items()) + "}")
    return path


LEFT_OUT = {
    "zero width": {"bbox": [5, 5, 0, 4]},
    "zero height": {"bbox": [5, 5, 4, 0.0]},
    "negative": {"bbox": [5, 5, -3, 4]},
    "not a number": {"bbox": [5, 5, float("nan"), 4]},
    "three numbers": {"bbox": [5, 5, 4]},
    "no box": {"bbox": None},
    "outside": {"bbox": [40, 5, 10, 10]},
    "far outside": {"bbox": [-500, -500, 10, 10]},
    "no such image": {"image_id": 6},
    "no such category": {"category_id": 1},
    "sliver": {"bbox": [39.9999999, 5, 10, 10]},
}


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("wrong", LEFT_OUT.values(), ids=LEFT_OUT)
def test_what_cannot_be_used_is_left_out(
    tmp_path: Path, run: Run, caplog: pytest.LogCaptureFixture, wrong: dict[str, Any], plain: bool
) -> None:
    caplog.set_level(logging.INFO)
    path, out = save(tmp_path / "in.json", content(plain, wrong)), tmp_path / "out.json"
    command = ("convert", "coco" if plain else "cocovid", path, "--out", out)
    if "39.9" not in str(wrong):  # part of it is inside; it has no area once it is cut
        status, _, error = run(*command)
        assert status == 2 and not out.exists()
        assert "annotations[1]: '" in error.splitlines()[-1] and "`convert cocovid FILE --fix` leaves it out" in error
    status, printed, error = run(*command, "--fix")
    assert status == 0, error
    assert printed.startswith(f"{2 if plain else 1} videos, 2 images, 1 boxes, 1 classes\n")
    assert "1 annotations left out, 0 boxes cut at the border" in caplog.messages
    assert any(message.startswith("left out: annotations[1]: '") for message in caplog.messages)
    made = json.loads(out.read_text())
    assert [entry["id"] for entry in made["annotations"]] == [0]
    assert [entry["id"] for entry in made["images"]] == [5, 8] and made["categories"][0]["id"] == 18
    assert CocoVideos(out).tracks(0).boxes[0, 0].tolist() == [1, 2, 4, 6]


@pytest.mark.parametrize(
    ("box", "cut"),
    [
        ([-3, 5, 10, 10], [0, 5, 7, 10]),
        ([35, 25, 10, 10], [35, 25, 5, 5]),
        ([-10, -10, 100, 100], [0, 0, 40, 30]),
        ([5.5, 29.5, 4, 2.5], [5.5, 29.5, 4, 0.5]),
    ],
)
def test_boxes_are_cut(
    tmp_path: Path, run: Run, caplog: pytest.LogCaptureFixture, box: list[float], cut: list[float]
) -> None:
    caplog.set_level(logging.INFO)
    path, out = save(tmp_path / "in.json", content(False, {"bbox": box})), tmp_path / "out.json"
    assert run("convert", "cocovid", path, "--out", out)[0] == 0
    assert json.loads(out.read_text())["annotations"][1]["bbox"] == box
    assert run("convert", "cocovid", path, "--out", out, "--fix")[0] == 0
    assert json.loads(out.read_text())["annotations"][1]["bbox"] == cut
    assert "0 annotations left out, 1 boxes cut at the border" in caplog.messages


def test_an_object_that_is_there_twice(tmp_path: Path, run: Run) -> None:
    path, out = save(tmp_path / "in.json", content(False, {"instance_id": 0})), tmp_path / "out.json"
    status, _, error = run("convert", "cocovid", path, "--out", out)
    assert status == 2 and "instance 0 is twice in frame 0 of video 'a'" in error
    assert run("convert", "cocovid", path, "--out", out, "--fix")[0] == 0
    assert len(json.loads(out.read_text())["annotations"]) == 1


def test_nothing_left_and_other_formats(tmp_path: Path, run: Run) -> None:
    wrong = content(False)
    wrong["annotations"][0]["bbox"] = [1, 1, 0, 0]
    write_cocovid(tmp_path / "in.json", wrong)
    out = ("--out", tmp_path / "out.json")
    status, _, error = run("convert", "cocovid", tmp_path / "in.json", *out, "--fix")
    assert status == 2 and "in.json: no annotation can be used; annotations[0]: 'bbox' must be" in error
    for name in ("cvat", "ilsvrc-vid"):
        status, _, error = run("convert", name, tmp_path, *out, "--fix")
        assert status == 2 and f"--fix is no option of {name}" in error
