"""detect_video: from a video file or a folder to JSON, CSV and a video with boxes."""

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from efficiency_core.readers.video import VideoReader, frame_pixels, open_video
from location_anticipation.inference.auto_step import AutoStep
from location_anticipation.inference.video_detection import detect_video

MakeVideo = Callable[..., Path]
SIDE = 10


@pytest.fixture
def detector(square_detector: Any) -> Any:
    """Finds the bright square, and expects it to move right by two pixels a frame."""
    return square_detector()


def read_frames(path: Path) -> list[np.ndarray]:
    with open_video(path) as video:
        return [frame_pixels(frame) for frame in video]


@pytest.mark.parametrize("size", [(64, 48), (65, 47)])
@pytest.mark.parametrize("keyframe_step", [1, 5, 8])
def test_all_outputs_hold_every_frame(
    detector: Any, make_video: MakeVideo, tmp_path: Path, keyframe_step: int, size: tuple[int, int]
) -> None:
    source = make_video(tmp_path / "in.mp4", size=size)
    folder = tmp_path / "out"
    out = {"out_json": folder / "boxes.json", "out_csv": folder / "boxes.csv", "out_video": folder / "boxes.mp4"}
    summary = detect_video(detector, source, keyframe_step=keyframe_step, class_names=["dog", "cat"], **out)
    assert summary.frames == 24
    assert summary.keyframes == len(range(0, 24, keyframe_step))
    assert summary.fps == pytest.approx(24 / summary.seconds)
    assert min(summary.waiting, summary.detecting, summary.writing) > 0
    assert summary.waiting + summary.detecting + summary.writing < summary.seconds
    assert summary.damaged is None
    assert sorted(path.name for path in folder.iterdir()) == ["boxes.csv", "boxes.json", "boxes.mp4"]

    document = json.loads((folder / "boxes.json").read_text())
    assert document["videos"] == [
        {"id": 1, "name": "in", "width": size[0], "height": size[1], "file_name": "in.mp4", "fps": 25.0}
    ]
    assert document["categories"] == [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}]
    assert document["info"] == {"keyframe_step": keyframe_step, "score_threshold": 0.5, "damaged": None}
    assert len(document["images"]) == len(document["annotations"]) == 24
    with (folder / "boxes.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    for t, (image, box, line) in enumerate(zip(document["images"], document["annotations"], lines, strict=True)):
        assert (image["frame_id"], image["step"], image["keyframe"]) == (t, t % keyframe_step, t % keyframe_step == 0)
        assert (box["image_id"], box["instance_id"], box["category_id"], box["score"]) == (image["id"], 1, 2, 0.75)
        assert np.abs(np.array(box["bbox"]) - [2 * t, 8, SIDE, SIDE]).max() <= 2  # coding moves the border a little
        x, y, width, height = box["bbox"]
        assert [float(line[name]) for name in ("x1", "y1", "x2", "y2")] == pytest.approx([x, y, x + width, y + height])
        assert (line["class"], line["step"], float(line["seconds"])) == ("cat", str(image["step"]), t / 25)

    drawn = read_frames(folder / "boxes.mp4")
    assert len(drawn) == 24
    assert drawn[0].shape == (48, size[0] + size[0] % 2, 3)
    plain = read_frames(source)
    assert all(np.abs(a[:47, :64].astype(int) - b[:47, :64]).max() > 60 for a, b in zip(drawn, plain, strict=True))


def test_folder_of_images_gives_what_the_video_gives(detector: Any, make_video: MakeVideo, tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4")
    folder = tmp_path / "in"
    folder.mkdir()
    for t, image in enumerate(read_frames(source)):
        Image.fromarray(image).save(folder / f"{t}.png")
    documents = []
    for path in (source, folder):
        detect_video(detector, path, keyframe_step=4, out_json=tmp_path / "out.json")
        documents.append(json.loads((tmp_path / "out.json").read_text()))
    assert documents[0]["annotations"] == documents[1]["annotations"]
    assert [image["file_name"] for image in documents[0]["images"]] == [f"in/{t:06d}.jpg" for t in range(24)]
    assert [image["file_name"] for image in documents[1]["images"]] == [f"{t}.png" for t in range(24)]
    assert documents[0]["videos"][0]["fps"] == 25 and "fps" not in documents[1]["videos"][0]
    for rate in (None, Fraction(10)):
        detect_video(detector, folder, keyframe_step=4, out_video=tmp_path / "out.mp4", rate=rate)
        with open_video(tmp_path / "out.mp4") as video:
            assert video.rate == (rate or 25)


def test_keyframes_where_they_are_needed(detector: Any, make_video: MakeVideo, tmp_path: Path) -> None:
    """The square goes right as anticipated, then stops at frame 24 while it is anticipated to go on."""
    source = make_video(tmp_path / "in.mp4", 60)
    rule = AutoStep(tolerance=0.12)
    summary = detect_video(detector, source, keyframe_step=rule, out_json=tmp_path / "out.json")
    document = json.loads((tmp_path / "out.json").read_text())
    assert document["info"]["keyframe_step"]["tolerance"] == 0.12
    keyframes = [image["frame_id"] for image in document["images"] if image["keyframe"]]
    assert len(keyframes) == summary.keyframes < 60
    assert len([t for t in keyframes if 10 <= t < 24]) < len([t for t in keyframes if 40 <= t < 54])


def test_end_after_a_number_of_frames_or_on_request(detector: Any, make_video: MakeVideo, tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4")
    calls: list[tuple[int, int | None]] = []
    rules: dict[str, Any] = {"keyframe_step": 4, "progress": lambda *call: calls.append(call)}
    summary = detect_video(detector, source, out_json=tmp_path / "out.json", max_frames=10, **rules)
    assert (summary.frames, summary.keyframes, summary.damaged) == (10, 3, None)
    assert calls == [(t, 10) for t in range(1, 11)]
    assert len(json.loads((tmp_path / "out.json").read_text())["images"]) == 10
    calls.clear()
    summary = detect_video(detector, source, out_video=tmp_path / "out.mp4", stop=lambda: len(calls) == 7, **rules)
    assert summary.frames == 7 and len(read_frames(tmp_path / "out.mp4")) == 7


def test_only_what_is_needed_is_converted_and_drawing_changes_no_detection(
    detector: Any, make_video: MakeVideo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_video(tmp_path / "in.mp4")
    converted: list[Any] = []
    convert = VideoReader.rgb
    monkeypatch.setattr(VideoReader, "rgb", lambda self, frame: converted.append(frame.pts) or convert(self, frame))
    with_video, alone = tmp_path / "a.json", tmp_path / "b.json"
    detect_video(detector, source, keyframe_step=5, out_json=alone)
    assert len(converted) == 5
    detect_video(detector, source, keyframe_step=5, out_json=with_video, out_video=tmp_path / "out.mp4")
    assert len(converted) == 5 + (5 + 24)
    assert with_video.read_bytes() == alone.read_bytes()


def test_frames_without_objects_and_without_outputs(detector: Any, make_video: MakeVideo, tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4")
    out = tmp_path / "out.json"
    detect_video(detector, source, keyframe_step=4, out_json=out, score_threshold=0.8)
    document = json.loads(out.read_text())
    assert document["info"]["score_threshold"] == 0.8
    assert document["categories"] == document["annotations"] == []
    assert len(document["images"]) == 24
    calls: list[tuple[int, int | None]] = []
    assert detect_video(detector, source, keyframe_step=4, progress=lambda *call: calls.append(call)).frames == 24
    assert calls == [(t, 24) for t in range(1, 25)]


def test_damaged_video_gives_finished_outputs_and_says_so(detector: Any, make_video: MakeVideo, tmp_path: Path) -> None:
    whole = make_video(tmp_path / "in.mp4", movflags="faststart")
    source = tmp_path / "cut.mp4"
    source.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    out = {"out_json": tmp_path / "out.json", "out_csv": tmp_path / "out.csv", "out_video": tmp_path / "out.mp4"}
    summary = detect_video(detector, source, keyframe_step=4, **out)
    assert summary.damaged is not None
    assert 0 < summary.frames < 24
    document = json.loads(out["out_json"].read_text())
    assert document["info"]["damaged"] == summary.damaged
    assert len(document["images"]) == len(read_frames(out["out_video"])) == summary.frames
    assert len(out["out_csv"].read_text().splitlines()) == summary.frames + 1


MEMORY = """
import importlib.util, json, resource, sys
import torch
from location_anticipation.inference import detect_video

spec = importlib.util.spec_from_file_location("detectors", sys.argv[1])
detectors = importlib.util.module_from_spec(spec)
spec.loader.exec_module(detectors)
torch.set_num_threads(1)
peaks = []
for source in sys.argv[2:]:
    out = {"out_json": source + ".json", "out_csv": source + ".csv", "out_video": source + ".out.mp4"}
    detect_video(detectors.SquareDetector(), source, keyframe_step=5, **out)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
print(json.dumps(peaks))
"""


@pytest.mark.slow
def test_longer_video_takes_no_more_memory(make_video: MakeVideo, tmp_path: Path) -> None:
    """Peak memory of the process, which also counts what FFmpeg holds outside of Python."""
    size, frames = (320, 240), 300
    short = make_video(tmp_path / "short.mp4", frames // 10, size)
    long = make_video(tmp_path / "long.mp4", frames, size)
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(Path(__file__).with_name("conftest.py")), str(short), str(short), str(long)],
        check=True,
        capture_output=True,
        text=True,
    )
    _, before, after = json.loads(done.stdout)
    assert len(json.loads(Path(f"{long}.json").read_text())["images"]) == frames
    grown, pixels = after - before, frames * size[0] * size[1] * 3
    assert grown < pixels / 4, f"{grown} bytes more for {pixels} bytes of pixels"
