"""``location-anticipation adapt`` from end to end, and ``detect`` with any detector."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from efficiency_core.readers.video import frame_pixels, open_video

pytestmark = pytest.mark.usefixtures("one_thread")
Run = Callable[..., tuple[int, str, str]]
DETECTOR = '''
import torch

CALLS = []

def detect(image):
    """The bright square, with a box."""
    CALLS.append(1)
    bright = torch.nonzero(image.mean(0) > 0.6)
    if not len(bright):
        return [], [], []
    (y1, x1), (y2, x2) = bright.min(0).values.tolist(), bright.max(0).values.tolist()
    return [[x1, y1, x2 + 1, y2 + 1]], [1], [0.9]

def make():
    return detect, ["square"]
'''


def picture(time: int) -> np.ndarray:
    """A bright square that goes right by two pixels a frame."""
    image = np.full((64, 128, 3), 30, np.uint8)
    image[20:44, 8 + 2 * time : 32 + 2 * time] = 230
    return image


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    (tmp_path / "own.py").write_text(DETECTOR)
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 128, 64, "yuv420p"
        for time in range(40):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(time), format="rgb24")))
        container.mux(stream.encode(None))
    return tmp_path / "clip.mp4"


def left_edges(path: Path) -> list[float]:
    document = json.loads(path.read_text())
    frame = {image["id"]: image["frame_id"] for image in document["images"]}
    edges = {frame[box["image_id"]]: box["bbox"][0] for box in document["annotations"]}
    return [edges[number] for number in sorted(edges)]


def test_adapt_then_detect(clip: Path, tmp_path: Path, run: Run) -> None:
    detector, out = f"{tmp_path}/own.py:make", tmp_path / "run"
    arguments = ("adapt", clip, "--detector", detector, "--out", out, "--device", "cpu")
    small = ("--horizon", 4, "--hidden", 24, "--iterations", 60, "--training.batch-size", 8)
    status, printed, error = run(*arguments, *small)
    assert status == 0, error
    assert printed.splitlines()[-1] == str(out / "trajectories.safetensors")
    report = json.loads((out / "report.json").read_text())
    rows = {(row["method"], row["keyframe_step"]): row for row in report["agreement"]}
    assert set(rows) == {
        (method, step) for method in ("copied", "velocity", "interpolation", "anticipation") for step in (2, 4)
    }
    assert rows["anticipation", 4]["map"] > rows["copied", 4]["map"] and rows["copied", 4]["frames"] == 6
    assert run(*arguments, *small)[1].splitlines()[-1] == printed.splitlines()[-1]  # nothing is left to do

    json_file = tmp_path / "boxes.json"
    with_head = ("--trajectories", out / "trajectories.safetensors", "--keyframe-step", 4)
    status, printed, error = run(
        "detect", clip, "--detector", detector, *with_head, "--json", json_file, "--device", "cpu"
    )
    assert status == 0 and "40 frames, 10 keyframes" in printed, error
    edges = left_edges(json_file)
    # Standing still is off by up to 6 pixels.
    assert max(abs(edge - (8 + 2 * time)) for time, edge in enumerate(edges) if time >= 4) < 3
    assert {box["instance_id"] for box in json.loads(json_file.read_text())["annotations"]} == {1}


@pytest.mark.parametrize(
    ("between", "error_by_step"),
    [("copied", [0, 2, 4, 6]), ("velocity", [0, 0, 0, 0]), ("interpolation", [0, 0, 0, 0]), (None, [0, 2, 4, 6])],
)
def test_any_detector_with_boxes_between_keyframes(
    clip: Path, tmp_path: Path, run: Run, between: str | None, error_by_step: list[int]
) -> None:
    json_file, video = tmp_path / "boxes.json", tmp_path / "boxes.mp4"
    chosen = () if between is None else ("--between", between)
    detect = ("detect", clip, "--detector", f"{tmp_path}/own.py:make", "--keyframe-step", 4, "--device", "cpu")
    status, printed, error = run(*detect, *chosen, "--json", json_file, "--out", video)
    assert status == 0 and "40 frames, 10 keyframes" in printed, error
    edges = left_edges(json_file)
    for time in range(4, 36):
        assert edges[time] == pytest.approx(8 + 2 * time - error_by_step[time % 4], abs=1.01)
    document = json.loads(json_file.read_text())
    assert document["info"]["between"] == (between or "copied") and document["categories"][0]["name"] == "square"
    assert {box["instance_id"] for box in document["annotations"]} == {1}
    with open_video(video) as frames:  # the picture under the boxes is the frame itself, late results or not
        for time, frame in enumerate(frames):
            row = frame_pixels(frame)[32].mean(axis=1)
            assert np.flatnonzero(row > 130).mean() == pytest.approx(8 + 2 * time + 11.5, abs=1.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give --checkpoint FILE of a training, or --detector"),
        (("--checkpoint", "a.safetensors", "--weights", "w.pth"), "--weights goes with --detector"),
        (("--detector", "own.py:none"), "no such file"),
        (
            ("--detector", "HERE/own.py:make", "--between", "anticipation", "--keyframe-step", "4"),
            "the model anticipates 0",
        ),
        (("--detector", "HERE/own.py:make", "--between", "copied", "--keyframe-step", "auto"), "not copied"),
        (("--detector", "HERE/own.py:make", "--trajectories", "HERE/own.py"), "not a readable network file"),
    ],
)
def test_requests_that_do_not_fit(
    clip: Path, tmp_path: Path, run: Run, arguments: tuple[str, ...], message: str
) -> None:
    words = [word.replace("HERE", str(tmp_path)) for word in arguments]
    status, _, error = run("detect", clip, *words, "--json", tmp_path / "a.json", "--device", "cpu")
    assert status == 2 and message in error and error.count("\n") == 1


def test_adapt_refuses_what_it_cannot_use(clip: Path, tmp_path: Path, run: Run) -> None:
    detector = ("--detector", f"{tmp_path}/own.py:make", "--out", tmp_path / "run", "--device", "cpu")
    for arguments, message in (
        ((), "expected one video or more"),
        ((clip, "--every", 0), "--every must be 1 or more"),
        ((clip, "--backbone-weights", clip), "need --motion.backbone"),
        ((tmp_path / "none.mp4",), "none.mp4"),
    ):
        status, _, error = run("adapt", *arguments, *detector)
        assert status == 2 and message in error, error
