"""``location-anticipation detect``: from end to end, its progress, and how it ends."""

import csv
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from location_anticipation import DetectorConfig, build_detector, camera, detect, detect_command, save_detector
from location_anticipation.cli import main

pytestmark = pytest.mark.usefixtures("one_thread", "tidy")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], checkpoint: Path) -> Run:
    """Run the command on the checkpoint; returns exit status, standard output and standard error."""

    def command(*arguments: object) -> tuple[int, str, str]:
        words = ["detect", *arguments, "--checkpoint", checkpoint, "--device", "cpu"]
        with pytest.raises(SystemExit) as caught:
            main([str(word) for word in words])
        captured = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, captured.out, captured.err

    return command


@pytest.fixture
def checkpoint(tmp_path: Path, tiny: Callable[..., DetectorConfig]) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_detector(tiny())
        torch.nn.init.normal_(model.roi_heads.box_predictor.cls_score.weight, std=2)
        save_detector(tmp_path / "detector.pt", model, ["filled", "hollow"])
    return tmp_path / "detector.pt"


def images(count: int) -> list[np.ndarray]:
    """Noise that drifts to the right, 64 by 48."""
    noise = np.random.default_rng(0).integers(0, 255, (48, 64 + 2 * count, 3), dtype=np.uint8)
    return [np.ascontiguousarray(noise[:, 2 * (count - t) :][:, :64]) for t in range(count)]


def write_clip(path: Path, count: int = 8, **options: str) -> Path:
    with av.open(str(path), "w", options=options) as container:
        stream: Any = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for image in images(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.mp4")


def outputs(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_from_end_to_end(tmp_path: Path, clip: Path, run: Run) -> None:
    out = tmp_path / "out"
    status, printed, _ = run(
        clip, "--json", out / "a.json", "--csv", out / "a.csv", "--out", out / "a.mp4", "--score-threshold", 0.1
    )
    assert status == 0
    assert printed.startswith("8 frames, 3 keyframes, ")
    assert " frames/s on cpu (detecting " in printed
    document = json.loads((out / "a.json").read_text())
    assert document["info"] == {"keyframe_step": 3, "score_threshold": 0.1, "damaged": None}  # the horizon
    assert document["categories"] == [{"id": 1, "name": "filled"}, {"id": 2, "name": "hollow"}]
    assert [image["keyframe"] for image in document["images"]] == [t % 3 == 0 for t in range(8)]
    boxes = document["annotations"]
    assert len(boxes) > 8
    for x, y, width, height in (box["bbox"] for box in boxes):
        assert 0 <= x < x + width <= 64.001 and 0 <= y < y + height <= 48.001
    assert all(box["score"] >= 0.1 for box in boxes)
    with (out / "a.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(boxes) and {line["class"] for line in lines} <= {"filled", "hollow"}
    with av.open(str(out / "a.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 8


@pytest.mark.parametrize(
    ("arguments", "keyframes"),
    [
        (["--keyframe-step", 1], range(8)),
        (["--keyframe-step", 4], [0, 4]),
        (["--keyframe-step", "auto", "--tolerance", 1e9], [0, 4]),
        (["--keyframe-step", "auto", "--tolerance", 0], range(8)),
        (["--frames", 5], [0, 3]),
        (["--precision", "bf16", "--no-channels-last"], [0, 3, 6]),
    ],
)
def test_options(tmp_path: Path, clip: Path, run: Run, arguments: list[object], keyframes: list[int]) -> None:
    status, printed, _ = run(clip, "--json", tmp_path / "a.json", *arguments)
    assert status == 0 and f"{len(keyframes)} keyframes" in printed
    document = json.loads((tmp_path / "a.json").read_text())
    assert [image["frame_id"] for image in document["images"] if image["keyframe"]] == list(keyframes)


def test_auto_without_tolerance(tmp_path: Path, clip: Path, run: Run) -> None:
    assert run(clip, "--csv", tmp_path / "a.csv", "--keyframe-step", "auto")[0] == 0


def test_folder_of_images(tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for t, image in enumerate(images(12)):
        Image.fromarray(image).save(folder / f"frame{t}.png")
    status, printed, _ = run(folder, "--json", tmp_path / "a.json", "--out", tmp_path / "a.mp4", "--fps", "10")
    assert status == 0 and printed.startswith("12 frames, 4 keyframes")
    document = json.loads((tmp_path / "a.json").read_text())
    assert [image["file_name"] for image in document["images"]] == [f"frame{t}.png" for t in range(12)]
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].average_rate == 10


def test_truncated_video(tmp_path: Path, run: Run) -> None:
    whole = write_clip(tmp_path / "whole.mp4", 40, movflags="faststart")
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    out = tmp_path / "out"
    status, printed, error = run(cut, "--json", out / "a.json", "--csv", out / "a.csv", "--out", out / "a.mp4")
    assert status == 1
    assert f"warning: {cut}: " in error and "the outputs hold the frames before that" in error
    frames = int(printed.split()[0])
    assert 10 < frames < 40
    document = json.loads((out / "a.json").read_text())
    assert len(document["images"]) == frames and document["info"]["damaged"] in error
    with av.open(str(out / "a.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == frames
    assert outputs(out) == ["a.csv", "a.json", "a.mp4"]


def test_interrupt_leaves_nothing(tmp_path: Path, clip: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: object, done: int, total: int | None) -> None:
        if done == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(detect_command._Progress, "__call__", interrupt)
    out = tmp_path / "out"
    status, _, error = run(clip, "--json", out / "a.json", "--csv", out / "a.csv", "--out", out / "a.mp4")
    assert status == 130
    assert error == "error: interrupted; nothing was written\n"
    assert outputs(out) == []


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_interrupt_of_the_process_leaves_nothing(tmp_path: Path, checkpoint: Path) -> None:
    clip, out = write_clip(tmp_path / "long.mp4", 200), tmp_path / "out"
    arguments = ["detect", clip, "--checkpoint", checkpoint, "--device", "cpu", "--keyframe-step", "1"]
    code = (
        "import os, signal, sys; from location_anticipation import cli, detect_command as d\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a job of a script's background starts without it
        "told = d._Progress.__call__\n"
        "def call(self, done, total):\n"
        "    told(self, done, total)\n"
        "    if done == 3: os.kill(os.getpid(), signal.SIGINT)\n"
        "d._Progress.__call__ = call\n"
        "cli.main(sys.argv[1:])"
    )
    words = [str(word) for word in (*arguments, "--json", out / "a.json", "--out", out / "a.mp4")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, env=environment)
    assert done.returncode == 130
    assert done.stderr.endswith("error: interrupted; nothing was written\n")
    assert outputs(out) == []


def test_interrupt_ends_a_camera_and_keeps_what_was_seen(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = write_clip(tmp_path / "endless.mp4", 400)
    monkeypatch.setattr(camera, "camera_address", lambda index: (str(clip), "mp4"))

    def interrupt(self: object, done: int, total: int | None) -> None:
        if done == 5:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(detect_command._Progress, "__call__", interrupt)
    before = signal.getsignal(signal.SIGINT)
    status, printed, _ = run("0", "--json", tmp_path / "a.json", "--out", tmp_path / "a.mp4")
    assert status == 0 and printed.startswith("5 frames, 2 keyframes")
    assert len(json.loads((tmp_path / "a.json").read_text())["images"]) == 5
    assert signal.getsignal(signal.SIGINT) == before


def test_progress_off_a_terminal_is_lines_in_the_log(
    tmp_path: Path, clip: Path, run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(detect_command, "_SECONDS_BETWEEN_LINES", 0.0)
    with caplog.at_level(logging.INFO):
        run(clip, "--csv", tmp_path / "a.csv")
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 8
    assert lines[2].startswith("3 of 8 frames, ") and lines[2].endswith(" frames/s")


def test_progress_on_a_terminal_is_a_bar(tmp_path: Path, clip: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    _, _, error = run(clip, "--csv", tmp_path / "a.csv")
    assert "8/8" in error and "frame" in error


def test_failed_compilation_is_one_line(tmp_path: Path, clip: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._dynamo.exc import BackendCompilerFailed

    def broken(*arguments: object) -> None:
        raise BackendCompilerFailed("inductor", RuntimeError("no C++ compiler\nmore"), None)

    monkeypatch.setattr("location_anticipation.inference.Inference.prepare", lambda self, model: model)
    monkeypatch.setattr(detect.VideoDetector, "_detect", broken)
    status, _, error = run(clip, "--csv", tmp_path / "a.csv", "--compile")
    assert status == 1
    assert error.startswith("error: torch.compile failed (") and error.count("\n") == 1
    assert not (tmp_path / "a.csv").exists()


def test_wrong_usage(tmp_path: Path, clip: Path, run: Run) -> None:
    odd, empty = tmp_path / "odd.mp4", tmp_path / "empty"
    odd.write_bytes(b"odd")
    empty.mkdir()
    out = ["--json", tmp_path / "boxes.json"]
    for arguments, message in (
        ([clip], "nothing to write: give --out OUT.mp4, --json OUT.json, --csv OUT.csv, or several"),
        ([odd, *out], "odd.mp4"),
        ([empty, *out], "empty: no images in this folder"),
        (["97", *out], "camera 97: cannot be opened"),
        ([tmp_path / "none.mp4", *out], "none.mp4: no such file"),
        ([clip, "--keyframe-step", 5, *out], "use a keyframe_step of at most 4"),
        ([clip, "--keyframe-step", 0, *out], "keyframe_step must be at least 1, got 0"),
        ([clip, "--keyframe-step", "auto", "--tolerance", -1, *out], "--tolerance must be 0 or more, got -1"),
        ([clip, "--tolerance", 0.1, *out], "--tolerance is for --keyframe-step auto"),
        ([clip, "--frames", 0, *out], "at least 1 frame is needed, got 0"),
        ([clip, "--json", clip], "clip.mp4: is the source video"),
    ):
        status, _, error = run(*arguments)
        assert status == 2, arguments
        assert error.startswith("error: ") and error.count("\n") == 1 and message in error
    for arguments, message in (
        (["--keyframe-step", "often"], "expected a whole number or auto, got 'often'"),
        (["--fps", "fast"], "expected a number above 0 such as 25 or 30000/1001, got 'fast'"),
        (["--fps", "0"], "expected a number above 0"),
        (["--precision", "8"], "invalid choice"),
    ):
        status, _, error = run(clip, *arguments)
        assert status == 2 and message in error
    assert not (tmp_path / "boxes.json").exists()
