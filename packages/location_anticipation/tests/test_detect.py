"""detect_video: from a video file or a folder to JSON, CSV and a video with boxes."""

import csv
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import AbstractContextManager
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from location_anticipation import video_reader
from location_anticipation.auto_step import AutoStep
from location_anticipation.detect import DetectSummary, detect_video
from location_anticipation.errors import UsageError, WorkError
from location_anticipation.video import VideoDetector

SizeLimit = Callable[[int], AbstractContextManager[None]]

WIDTH, HEIGHT, SIDE = 64, 48, 10
REAL_VIDEOS = Path(os.environ.get("EFFICIENCY_DATA", "")) / "videos"


class SquareDetector(nn.Module):
    """Finds the bright square, and expects it to move right by two pixels a frame."""

    horizon = 7

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        outputs = []
        for image in images:
            ys, xs = (image.amin(0) > 0.6).nonzero(as_tuple=True)
            sides = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) if len(xs) else ()
            boxes = torch.tensor([float(side) for side in sides]).reshape(-1, 4)
            offsets = torch.arange(1, self.horizon + 1)[:, None] * torch.tensor([2.0, 0, 2, 0])
            outputs.append(
                {
                    "boxes": boxes,
                    "labels": torch.full((len(boxes),), 2),
                    "scores": torch.full((len(boxes),), 0.75),
                    "trajectories": boxes[:, None] + offsets,
                }
            )
        return outputs


def make_video(path: Path, count: int = 24, size: tuple[int, int] = (WIDTH, HEIGHT), **options: str) -> Path:
    """A bright square moving right by two pixels a frame on noise; after frame 24 it stays where it is."""
    noise = np.random.default_rng(0).integers(0, 80, (size[1], size[0] + 24, 3), dtype=np.uint8)
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv444p"
        for t in range(count):
            image = noise[:, t % 24 :][:, : size[0]].copy()
            image[8 : 8 + SIDE, 2 * min(t, 24) : 2 * min(t, 24) + SIDE] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def read_frames(path: Path) -> list[np.ndarray]:
    with video_reader.open_video(path) as video:
        return [video_reader.frame_to_rgb(frame) for frame in video]


@pytest.mark.parametrize("size", [(64, 48), (65, 47)])
@pytest.mark.parametrize("keyframe_step", [1, 5, 8])
def test_all_outputs_hold_every_frame(tmp_path: Path, keyframe_step: int, size: tuple[int, int]) -> None:
    source = make_video(tmp_path / "in.mp4", size=size)
    folder = tmp_path / "out"
    summary = detect_video(
        SquareDetector(),
        source,
        keyframe_step=keyframe_step,
        out_json=folder / "boxes.json",
        out_csv=folder / "boxes.csv",
        out_video=folder / "boxes.mp4",
        class_names=["dog", "cat"],
    )
    assert summary.frames == 24
    assert summary.keyframes == len(range(0, 24, keyframe_step))
    assert summary.fps == pytest.approx(24 / summary.seconds)
    assert min(summary.waiting, summary.detecting, summary.writing) > 0
    assert summary.waiting + summary.detecting + summary.writing < summary.seconds
    assert summary.damaged is None
    assert sorted(path.name for path in folder.iterdir()) == ["boxes.csv", "boxes.json", "boxes.mp4"]

    document = json.loads((folder / "boxes.json").read_text())
    assert document["videos"] == [{"id": 1, "name": "in", "width": size[0], "height": size[1], "fps": 25.0}]
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


def test_folder_of_images_gives_what_the_video_gives(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4")
    folder = tmp_path / "in"
    folder.mkdir()
    for t, image in enumerate(read_frames(source)):
        Image.fromarray(image).save(folder / f"{t}.png")
    documents = []
    for path in (source, folder):
        detect_video(SquareDetector(), path, keyframe_step=4, out_json=tmp_path / "out.json")
        documents.append(json.loads((tmp_path / "out.json").read_text()))
    assert documents[0]["annotations"] == documents[1]["annotations"]
    assert [image["file_name"] for image in documents[0]["images"]] == [f"in/{t:06d}.jpg" for t in range(24)]
    assert [image["file_name"] for image in documents[1]["images"]] == [f"{t}.png" for t in range(24)]
    assert documents[0]["videos"][0]["fps"] == 25 and "fps" not in documents[1]["videos"][0]
    for rate in (None, Fraction(10)):
        detect_video(SquareDetector(), folder, keyframe_step=4, out_video=tmp_path / "out.mp4", rate=rate)
        with video_reader.open_video(tmp_path / "out.mp4") as video:
            assert video.rate == (rate or 25)


def test_keyframes_where_they_are_needed(tmp_path: Path) -> None:
    """The square goes right as anticipated, then stops at frame 24 while it is anticipated to go on."""
    source = make_video(tmp_path / "in.mp4", 60)
    rule = AutoStep(tolerance=0.12)
    summary = detect_video(SquareDetector(), source, keyframe_step=rule, out_json=tmp_path / "out.json")
    document = json.loads((tmp_path / "out.json").read_text())
    assert document["info"]["keyframe_step"]["tolerance"] == 0.12
    keyframes = [image["frame_id"] for image in document["images"] if image["keyframe"]]
    assert len(keyframes) == summary.keyframes < 60
    assert len([t for t in keyframes if 10 <= t < 24]) < len([t for t in keyframes if 40 <= t < 54])


def test_end_after_a_number_of_frames_or_on_request(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4")
    calls: list[tuple[int, int | None]] = []
    summary = detect_video(
        SquareDetector(),
        source,
        keyframe_step=4,
        out_json=tmp_path / "out.json",
        max_frames=10,
        progress=lambda *call: calls.append(call),
    )
    assert (summary.frames, summary.keyframes, summary.damaged) == (10, 3, None)
    assert calls == [(t, 10) for t in range(1, 11)]
    assert len(json.loads((tmp_path / "out.json").read_text())["images"]) == 10
    seen: list[int] = []
    summary = detect_video(
        SquareDetector(),
        source,
        keyframe_step=4,
        out_video=tmp_path / "out.mp4",
        progress=lambda done, total: seen.append(done),
        stop=lambda: len(seen) == 7,
    )
    assert summary.frames == 7 and len(read_frames(tmp_path / "out.mp4")) == 7


@pytest.mark.parametrize(("draw", "expected"), [(False, 5), (True, 5 + 24)])
def test_only_what_is_needed_is_converted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, draw: bool, expected: int
) -> None:
    source = make_video(tmp_path / "in.mp4")
    count = 0
    convert = video_reader.frame_to_rgb

    def counting(frame: av.VideoFrame, *converter: Any) -> Any:
        nonlocal count
        count += 1
        return convert(frame, *converter)

    monkeypatch.setattr(video_reader, "frame_to_rgb", counting)
    out_video = tmp_path / "out.mp4" if draw else None
    detect_video(SquareDetector(), source, keyframe_step=5, out_json=tmp_path / "out.json", out_video=out_video)
    assert count == expected


def test_drawing_does_not_change_the_detections(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4")
    with_video, alone = tmp_path / "a.json", tmp_path / "b.json"
    detect_video(SquareDetector(), source, keyframe_step=4, out_json=with_video, out_video=tmp_path / "out.mp4")
    detect_video(SquareDetector(), source, keyframe_step=4, out_json=alone)
    assert with_video.read_bytes() == alone.read_bytes()


def test_frames_without_objects_and_without_outputs(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4")
    out = tmp_path / "out.json"
    detect_video(SquareDetector(), source, keyframe_step=4, out_json=out, score_threshold=0.8)
    document = json.loads(out.read_text())
    assert document["info"]["score_threshold"] == 0.8
    assert document["categories"] == document["annotations"] == []
    assert len(document["images"]) == 24
    assert detect_video(SquareDetector(), source, keyframe_step=4).frames == 24


def test_progress_tells_every_frame(tmp_path: Path) -> None:
    calls = []
    source = make_video(tmp_path / "in.mp4")
    detect_video(SquareDetector(), source, keyframe_step=4, progress=lambda *call: calls.append(call))
    assert calls == [(t, 24) for t in range(1, 25)]


def test_damaged_video_gives_finished_outputs_and_says_so(tmp_path: Path) -> None:
    whole = make_video(tmp_path / "in.mp4", movflags="faststart")
    source = tmp_path / "cut.mp4"
    source.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    out = {"out_json": tmp_path / "out.json", "out_csv": tmp_path / "out.csv", "out_video": tmp_path / "out.mp4"}
    summary = detect_video(SquareDetector(), source, keyframe_step=4, **out)
    assert summary.damaged is not None
    assert 0 < summary.frames < 24
    document = json.loads(out["out_json"].read_text())
    assert document["info"]["damaged"] == summary.damaged
    assert len(document["images"]) == len(read_frames(out["out_video"])) == summary.frames
    assert len(out["out_csv"].read_text().splitlines()) == summary.frames + 1


@pytest.mark.slow
def test_longer_video_takes_no_more_memory(tmp_path: Path) -> None:
    """Peak memory of the process, which also counts what FFmpeg holds outside of Python."""
    script = textwrap.dedent(
        """
        import importlib.util, json, resource, sys
        spec = importlib.util.spec_from_file_location("test_detect", sys.argv[1])
        tests = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(tests)
        tests.torch.set_num_threads(1)
        peaks = []
        for source in sys.argv[2:]:
            tests.detect_video(
                tests.SquareDetector(),
                source,
                keyframe_step=5,
                out_json=source + ".json",
                out_csv=source + ".csv",
                out_video=source + ".out.mp4",
            )
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        print(json.dumps(peaks))
        """
    )
    size, frames = (320, 240), 300
    short = make_video(tmp_path / "short.mp4", frames // 10, size)
    long = make_video(tmp_path / "long.mp4", frames, size)
    done = subprocess.run(
        [sys.executable, "-c", script, __file__, str(short), str(short), str(long)],
        check=True,
        capture_output=True,
        text=True,
    )
    _, before, after = json.loads(done.stdout)
    assert len(json.loads(Path(f"{long}.json").read_text())["images"]) == frames
    grown, pixels = after - before, frames * size[0] * size[1] * 3
    assert grown < pixels / 4, f"{grown} bytes more for {pixels} bytes of pixels"


def outputs(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in tmp_path.iterdir() if path.name != "in.mp4")


@pytest.mark.parametrize("limit", [0, 600])
@pytest.mark.parametrize("name", ["out.json", "out.csv", "out.mp4"])
def test_full_disk_is_one_clear_line_and_leaves_nothing(
    file_size_limit: SizeLimit, tmp_path: Path, name: str, limit: int
) -> None:
    source = make_video(tmp_path / "in.mp4")
    kinds = {"out.json": "out_json", "out.csv": "out_csv", "out.mp4": "out_video"}
    out: dict[str, Any] = {kinds[name]: tmp_path / name}
    with file_size_limit(limit), pytest.raises(WorkError, match=rf"{name}: cannot be written") as caught:
        detect_video(SquareDetector(), source, keyframe_step=4, **out)
    assert "\n" not in str(caught.value)
    assert outputs(tmp_path) == []


def test_failure_of_one_output_names_that_one_and_leaves_neither(file_size_limit: SizeLimit, tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", count=240)
    out_json, out_video = tmp_path / "out.json", tmp_path / "out.mp4"
    with file_size_limit(8192), pytest.raises(WorkError, match=r"out\.json: cannot be written"):
        detect_video(FixedCrowd(), source, keyframe_step=8, out_json=out_json, out_video=out_video, score_threshold=0)
    assert outputs(tmp_path) == []


class FixedCrowd(SquareDetector):
    """Finds a hundred objects in every frame."""

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        boxes = torch.tensor([[1.0, 2, 30, 40]]).repeat(100, 1)
        labels, scores = torch.ones(100, dtype=torch.int64), torch.linspace(0, 1, 100)
        trajectories = boxes[:, None].repeat(1, self.horizon, 1)
        return [{"boxes": boxes, "labels": labels, "scores": scores, "trajectories": trajectories} for _ in images]


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), KeyboardInterrupt()])
def test_failure_midway_keeps_the_previous_outputs(tmp_path: Path, error: BaseException) -> None:
    source = make_video(tmp_path / "in.mp4")
    out_json, out_video = tmp_path / "out.json", tmp_path / "out.mp4"
    out_json.write_text("previous")

    def fail(done: int, total: int | None) -> None:
        if done == 10:
            raise error

    with pytest.raises(type(error)):
        detect_video(SquareDetector(), source, keyframe_step=4, out_json=out_json, out_video=out_video, progress=fail)
    assert out_json.read_text() == "previous"
    assert outputs(tmp_path) == ["out.json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"keyframe_step": 0}, "keyframe_step must be at least 1"),
        ({"keyframe_step": 9}, "at most 8"),
        ({"out_json": "in.mp4"}, "is the source video"),
        ({"out_video": "in.mp4"}, "is the source video"),
        ({"out_video": "out.avi"}, r"ends in \.mp4"),
        ({"out_video": "out.mp4", "out_json": "out.mp4"}, "same file"),
        ({"out_csv": "out.csv", "out_json": "out.csv"}, "same file"),
        ({"max_frames": 0}, "at least 1 frame"),
        ({"keyframe_step": AutoStep(max_step=9)}, "max_step of at most 8"),
        ({"out_json": "."}, "is a folder"),
        ({"class_names": ["dog"], "out_json": "out.json"}, "label 2, but 1 class names"),
        ({"source": "none.mp4"}, r"none\.mp4: no such file"),
    ],
)
def test_wrong_use_is_refused(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    make_video(tmp_path / "in.mp4")
    before = (tmp_path / "in.mp4").read_bytes()
    for name in ("out_json", "out_csv", "out_video", "source"):
        if name in arguments:
            arguments = {**arguments, name: tmp_path / arguments[name]}
    with pytest.raises(UsageError, match=message):
        detect_video(SquareDetector(), **{"source": tmp_path / "in.mp4", "keyframe_step": 4, **arguments})
    assert (tmp_path / "in.mp4").read_bytes() == before
    assert outputs(tmp_path) == []


@pytest.mark.skipif(not REAL_VIDEOS.is_dir(), reason="needs EFFICIENCY_DATA with videos/")
def test_real_videos(tmp_path: Path) -> None:
    videos = sorted(path for path in REAL_VIDEOS.iterdir() if path.suffix in {".avi", ".mp4"})
    assert videos
    for path in videos:
        out = tmp_path / f"{path.stem}.json"
        summary = detect_video(FixedCrowd(), path, keyframe_step=8, out_json=out)
        assert isinstance(summary, DetectSummary) and summary.damaged is None
        with av.open(str(path)) as container:
            expected = sum(1 for _ in container.decode(video=0))
        assert summary.frames == expected == len(json.loads(out.read_text())["images"])
        with video_reader.open_video(path) as video:
            detector = VideoDetector(FixedCrowd(), 8, to_tensor=video_reader.frame_to_tensor)
            assert [result.step for result in detector(islice(video, 20))] == [t % 8 for t in range(20)]
