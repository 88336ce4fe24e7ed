"""Exports of CVAT and Label Studio, on files of the published form."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from location_anticipation.data import CocoVideos
from location_anticipation.data.converters.labelling_tools import enclosing, track_boxes

Run = Callable[..., tuple[int, str, str]]
HEIGHT, WIDTH = 30, 40


def pictures(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT)).save(folder / name)


def shown(videos: CocoVideos, video: int) -> dict[tuple[str, int], list[float]]:
    """Boxes by (class and track, frame)."""
    tracks = videos.tracks(video)
    return {
        (f"{videos.info.class_names[tracks.labels[o]]} {o}", int(t)): [round(float(x), 3) for x in tracks.boxes[t, o]]
        for t, o in np.argwhere(tracks.present)
    }


# CVAT


def box(frame: int | None, place: tuple[float, float, float, float], outside: int = 0, **more: Any) -> str:
    sides = dict(zip(("xtl", "ytl", "xbr", "ybr"), place, strict=True))
    attributes = {"frame": frame, "outside": outside, "occluded": 0, "keyframe": 1, **sides, "z_order": 0, **more}
    text = " ".join(f'{name}="{value}"' for name, value in attributes.items() if value is not None)
    return f"<box {text}>\n<attribute name='side'>left</attribute></box>\n"


def cvat_video(*tracks: str, stop: int = 4, start: int = 0, extra: str = "", kind: str = "task") -> str:
    labels = "".join(f"<label><name>{name}</name><type>any</type></label>" for name in ("dog", "cat", "unused"))
    return (
        f"<?xml version='1.0' encoding='utf-8'?>\n<annotations>\n<version>1.1</version>\n<meta>\n<{kind}>\n<id>7</id>"
        f"<name>job one</name><size>5</size><mode>interpolation</mode>\n<start_frame>{start}</start_frame>"
        f"<stop_frame>{stop}</stop_frame>{extra}\n<labels>{labels}</labels>\n"
        f"<original_size><width>{WIDTH}</width><height>{HEIGHT}</height></original_size>\n<source>clip.mp4</source>\n</{kind}>"
        f"\n</meta>\n{''.join(tracks)}</annotations>\n"
    )


def track(number: int, label: str, *shapes: str) -> str:
    return f'<track id="{number}" label="{label}" source="manual">\n{"".join(shapes)}</track>\n'


A, B = (2.0, 3.0, 12.0, 13.0), (6.0, 5.0, 18.0, 15.0)


def test_cvat_for_video(tmp_path: Path, run: Run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    pictures(tmp_path / "images", *(f"frame_{t:06d}.PNG" for t in range(5)))
    polygon = '<polygon frame="0" outside="0" points="1,1;2,2;3,1"></polygon>\n'
    (tmp_path / "annotations.xml").write_text(
        cvat_video(
            track(0, "cat", box(0, A), box(1, B), box(2, B, outside=1)),
            track(1, "dog", box(1, A), box(2, A), box(3, A, outside=1), box(4, B)),
            track(2, "dog", polygon),
            track(3, "cat", box(3, (10, 10, 20, 14), rotation="90.0"), box(4, A, outside=1)),
        )
    )
    out = tmp_path / "out.json"
    status, printed, error = run("convert", "cvat", tmp_path, "--out", out)
    assert status == 0, error
    assert (
        printed.startswith("1 videos, 5 images, 6 boxes, 3 classes\n") and f"--images {tmp_path / 'images'}" in printed
    )
    assert "polygon shapes, left out: 1" in caplog.messages
    content = json.loads(out.read_text())
    assert [(c["id"], c["name"]) for c in content["categories"]] == [(1, "dog"), (2, "cat"), (3, "unused")]
    videos = CocoVideos(out, tmp_path / "images")
    assert videos.name(0) == "clip.mp4" and videos.tracks(0).annotated.tolist() == [True] * 5
    videos.check_frames([(0, t) for t in range(5)])
    assert shown(videos, 0) == {
        ("cat 0", 0): list(A), ("cat 0", 1): list(B), ("dog 1", 1): list(A), ("dog 1", 2): list(A), ("dog 1", 4): list(B),
        ("cat 2", 3): [13, 7, 17, 17],
    }  # fmt: skip


def test_cvat_key_boxes_alone_every_second_frame_and_a_job(tmp_path: Path, run: Run) -> None:
    """Boxes that are not listed frame by frame are interpolated; a task may have every second frame of the video."""
    pictures(tmp_path / "clip", *(f"{t:06d}.jpg" for t in range(2, 11)))
    whole = cvat_video(track(0, "dog", box(2, A), box(6, B)), start=2, stop=10, kind="job")
    half = whole.replace("<labels>", "<frame_filter>step=2</frame_filter><labels>")
    for text, frames in ((whole, range(2, 11)), (half, range(2, 11, 2))):
        (tmp_path / "a.xml").write_text(text)
        status, _, error = run(
            "convert", "cvat", tmp_path / "a.xml", "--images", tmp_path, "--out", tmp_path / "out.json"
        )
        assert status == 0, error
        videos = CocoVideos(tmp_path / "out.json")
        assert np.flatnonzero(videos.tracks(0).annotated).tolist() == list(frames)
        found = shown(videos, 0)
        assert list(found) == [("dog 0", t) for t in frames]
        assert found["dog 0", 4] == [4, 4, 15, 14] and found["dog 0", 10] == list(B)


def test_cvat_for_images(tmp_path: Path, run: Run) -> None:
    pictures(tmp_path / "images", "x/a.jpg", "b.png")
    images = "".join(
        f'<image id="{k}" name="{name}" width="{WIDTH}" height="{HEIGHT}">\n{inside}</image>\n'
        for k, (name, inside) in enumerate(
            (("x/a.jpg", box(None, A, label="dog") + box(None, B, label="dog")), ("b.png", ""))
        )
    )
    (tmp_path / "annotations.xml").write_text(cvat_video().replace("</annotations>", images + "</annotations>"))
    out = tmp_path / "out.json"
    assert run("convert", "cvat", tmp_path / "annotations.xml", "--out", out)[0] == 0
    videos = CocoVideos(out)
    assert [videos.name(v) for v in range(2)] == ["x/a.jpg", "b.png"]
    assert shown(videos, 0) == {("dog 0", 0): list(A), ("dog 1", 0): list(B)}
    assert videos.tracks(1).annotated.tolist() == [True] and not shown(videos, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "<annotations><meta/></annotations>",
            "a.xml: neither holds an image nor says the frames of a task; expected an export",
        ),
        ("<annotation/>", "a.xml:1: expected the root element <annotations>, got <annotation>"),
        ("<annotations>", "a.xml:1: not XML"),
        (cvat_video(track(0, "dog", box(9, A))), "a.xml:14: frame 9 is none of the task's"),
        (cvat_video(track(0, "dog", box(1, A), box(1, A))), "a.xml:16: frame 1 is none of the task's, or not after"),
        (
            cvat_video(track(0, "dog", box(1, A).replace("2.0", "left"))),
            "a.xml:14: xtl of <box> must be a number, got 'left'",
        ),
        (cvat_video(stop=5), "no image of frame 5; `ffmpeg -i VIDEO -start_number 0 FOLDER/%06d.jpg` makes the images"),
        (
            cvat_video().replace(f"<width>{WIDTH}<", "<width>41<"),
            "a.xml:9: the video is 41x30, the image of frame 0 is 40x30",
        ),
    ],
)
def test_cvat_that_cannot_be_used(tmp_path: Path, run: Run, text: str, message: str) -> None:
    pictures(tmp_path / "images", *(f"{t:06d}.jpg" for t in range(5)))
    (tmp_path / "a.xml").write_text(text)
    status, _, error = run("convert", "cvat", tmp_path / "a.xml", "--out", tmp_path / "out.json")
    assert status == 2 and message in error.splitlines()[-1], error
    assert not (tmp_path / "out.json").exists()


# Label Studio


def percent(place: tuple[float, float, float, float]) -> dict[str, float]:
    x1, y1, x2, y2 = place
    scaled = (x1 / WIDTH, y1 / HEIGHT, (x2 - x1) / WIDTH, (y2 - y1) / HEIGHT)
    return dict(zip(("x", "y", "width", "height"), (100 * part for part in scaled), strict=True))


def rectangle(place: tuple[float, float, float, float], label: str, name: str = "r", **more: Any) -> dict[str, Any]:
    value = {**percent(place), "rotation": 0, "rectanglelabels": [label], **more}
    return {"id": name, "type": "rectanglelabels", "original_width": WIDTH, "original_height": HEIGHT, "value": value}


def moving(label: str, frames: int, *keys: tuple[int, tuple[float, float, float, float], bool]) -> dict[str, Any]:
    sequence = [{"frame": t, "enabled": on, "rotation": 0, "time": t / 25, **percent(place)} for t, place, on in keys]
    value = {"framesCount": frames, "duration": frames / 25, "sequence": sequence, "labels": [label]}
    return {"id": f"{label}{keys[0][0]}", "type": "videorectangle", "value": value}


def task(number: int, data: dict[str, str], *results: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "data": data,
        "annotations": [{"id": 1, "was_cancelled": False, "result": list(results), **more}],
    }


def convert_label_studio(tmp_path: Path, run: Run, *tasks: Any) -> tuple[int, CocoVideos | None, str]:
    (tmp_path / "export.json").write_text("[\n" + ",\n".join(map(json.dumps, tasks)) + "\n]")
    out = tmp_path / "out.json"
    status, _, error = run(
        "convert", "label-studio", tmp_path / "export.json", "--images", tmp_path / "in", "--out", out
    )
    return status, CocoVideos(out, tmp_path / "in") if status == 0 else None, error


def test_label_studio_images(tmp_path: Path, run: Run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    pictures(tmp_path / "in", "a b.jpg", "sub/b.jpg", "c.jpg", "d.jpg", "e.jpg")
    plain = rectangle(A, "", "two")
    del plain["value"]["rectanglelabels"]
    label = {"id": "two", "type": "labels", "value": {**plain["value"], "labels": ["cat"]}}
    polygon = {"id": "p", "type": "polygonlabels", "value": {"points": [[1, 2]], "polygonlabels": ["cat"]}}
    status, videos, error = convert_label_studio(
        tmp_path, run,
        task(1, {"image": "/data/upload/1/0a1b2c3d-a%20b.jpg"}, rectangle(A, "dog"), rectangle(B, "cat", "s"), polygon),
        task(2, {"image": "/data/local-files/?d=in/sub/b.jpg"}, plain | {"type": "rectangle"}, label),
        task(3, {"picture": "s3://bucket/some/c.jpg"}),
        task(4, {"image": "https://host/d.jpg"}, rectangle(A, "dog"), was_cancelled=True),
        task(5, {"image": "e.jpg"}, rectangle((10, 10, 20, 14), "dog", rotation=90)),
    )  # fmt: skip
    assert status == 0 and videos is not None, error
    assert videos.info.class_names == ("cat", "dog")
    assert [videos.name(v) for v in range(len(videos))] == ["a b.jpg", "sub/b.jpg", "c.jpg", "e.jpg"]
    videos.check_frames([(v, 0) for v in range(4)])
    assert shown(videos, 0) == {("dog 0", 0): list(A), ("cat 1", 0): list(B)}
    assert shown(videos, 1) == {("cat 0", 0): list(A)}
    assert videos.tracks(2).annotated.all() and not shown(videos, 2)
    assert shown(videos, 3) == {("dog 0", 0): [6, 10, 10, 20]}  # about its upper left corner
    assert "results of type polygonlabels, left out: 1" in caplog.messages
    assert "tasks without annotation, left out: 1" in caplog.messages


def test_label_studio_videos(tmp_path: Path, run: Run) -> None:
    pictures(tmp_path / "in", *(f"clip/{t:06d}.jpg" for t in range(8)), *(f"other/{t}.png" for t in range(3)))
    status, videos, error = convert_label_studio(
        tmp_path, run,
        task(1, {"video": "/data/upload/2/aaaabbbb-clip.mp4"}, moving("dog", 8, (1, A, True), (5, B, False), (7, A, True))),
        task(2, {"video": "other.mp4"}, moving("cat", 4, (2, A, True))),
    )  # fmt: skip
    assert status == 0 and videos is not None, error
    assert [videos.name(v) for v in range(2)] == ["clip", "other"]
    found = shown(videos, 0)  # frames count from 1 in the export
    assert [t for _, t in found] == [0, 1, 2, 3, 4, 6, 7]
    assert found["dog 0", 2] == [4, 4, 15, 14] and found["dog 0", 4] == list(B) and found["dog 0", 7] == list(A)
    assert videos.tracks(1).annotated.tolist() == [True] * 3 and [t for _, t in shown(videos, 1)] == [1, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            [{"image": "a.jpg", "label": []}],
            "export.json: expected a JSON export of Label Studio, a list of tasks with 'annotations'",
        ),
        ([task(4, {"image": "none.jpg"})], "none.jpg: no such file (task 4; --images names the folder of all images)"),
        (
            [task(4, {}, rectangle(A, "dog"))],
            "export.json:2: task 4 is not as Label Studio exports it ('data' names no image",
        ),
        (
            [task(1, {"image": "a.jpg"}), {"id": 2, "annotations": [{}], "data": {}}],
            "export.json:3: task 2 has no 'result'",
        ),
        (
            [task(4, {"image": "a.jpg"}, rectangle(A, "dog", x="left"))],
            "export.json:2: task 4 is not as Label Studio exports it",
        ),
        (
            [task(4, {"video": "clip.mp4"}, moving("dog", 90, (1, A, True)))],
            "has images of 4 frames, the annotation has 90",
        ),
        ([task(4, {"video": "clip.mp4"}, moving("dog", 4, (9, A, True)))], "a key frame is none of 1 to 4"),
    ],
)
def test_label_studio_that_cannot_be_used(tmp_path: Path, run: Run, content: list[Any], message: str) -> None:
    pictures(tmp_path / "in", "a.jpg", *(f"clip/{t:06d}.jpg" for t in range(4)))
    status, _, error = convert_label_studio(tmp_path, run, *content)
    assert status == 2 and message in error.splitlines()[-1], error


# What they share


def test_boxes_between_key_boxes() -> None:
    keys = [(3, (0.0, 0.0, 4.0, 4.0), True), (5, (2.0, 0.0, 6.0, 8.0), False), (8, (1.0, 1.0, 2.0, 2.0), True)]
    assert list(track_boxes(keys, 9)) == [
        (3, (0, 0, 4, 4)), (4, (1, 0, 5, 6)), (5, (2, 0, 6, 8)), (8, (1, 1, 2, 2)), (9, (1, 1, 2, 2)),
    ]  # fmt: skip
    assert [t for t, _ in track_boxes(keys[:1], 3)] == [3]


@pytest.mark.parametrize(
    ("degrees", "expected"),
    [
        (0, (0, 0, 4, 2)),
        (90, (-2, 0, 0, 4)),
        (180, (-4, -2, 0, 0)),
        (-90, (0, -4, 2, 0)),
        (45, (-(2**0.5), 0, 8**0.5, 18**0.5)),
    ],
)
def test_a_turned_box_is_enclosed(degrees: float, expected: tuple[float, ...]) -> None:
    assert enclosing((0, 0, 4, 2), degrees, (0, 0)) == pytest.approx(expected)
