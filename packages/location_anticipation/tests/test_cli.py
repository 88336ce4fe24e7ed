"""The command: exit statuses, one-line errors, and the way from a data file to a video with boxes."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from location_anticipation import DetectorConfig, build_detector, save_detector
from location_anticipation.cli import main, parse_settings
from location_anticipation.errors import UsageError
from location_anticipation.training import TrainConfig
from location_anticipation.video_io import create_video

Writer = Callable[..., Path]
Tiny = Callable[..., DetectorConfig]
SMALL = [
    argument
    for setting in (
        "backbone=resnet18", "channels=16", "representation=16", "trajectory_hidden=24", "horizon=3", "min_size=64",
        "max_size=64", "rois_per_image=16", "proposals_train=50", "proposals_test=30", "iterations=2", "batch_size=2",
    )
    for argument in ("--set", setting)
]  # fmt: skip


def status(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


@pytest.fixture
def checkpoint(tiny: Tiny, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_detector(tmp_path / "detector.pt", build_detector(tiny(score_threshold=0.0)), ["small", "large"])
    return tmp_path / "detector.pt"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    with create_video(path, 12, (64, 48)) as writer:
        for t in range(9):
            image = np.zeros((48, 64, 3), np.uint8)
            image[10:30, 5 + t : 25 + t] = 255
            writer.write(image)
    return path


def test_from_data_to_figures(write_videos: Writer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_videos(videos=2, frames=6)
    assert status("train", path, "--out", tmp_path / "run", "--device", "cpu", *SMALL) == 0
    assert "loss_trajectory" in capsys.readouterr().out
    detector = tmp_path / "run" / "detector.pt"
    out = tmp_path / "figures.json"
    assert status("evaluate", detector, path, "--keyframe-step", 3, "--device", "cpu", "--out", out) == 0
    figures = json.loads(out.read_text())
    assert figures["keyframes"] == 4 and figures["frames"] == 12
    assert 0 <= figures["trajectory_iou"] <= 1 and 0 < figures["no_motion_iou"] < 1


def test_from_a_video_to_boxes(
    checkpoint: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mp4, found = tmp_path / "out.mp4", tmp_path / "out.json"
    assert status("detect", clip, "--checkpoint", checkpoint, "--keyframe-step", 4, "--score-threshold", 0,
                  "--device", "cpu", "--out", mp4, "--json", found) == 0  # fmt: skip
    assert "9 frames, 3 keyframes" in capsys.readouterr().out
    document = json.loads(found.read_text())
    assert [frame["keyframe"] for frame in document["frames"]] == [i % 4 == 0 for i in range(9)]
    assert [category["name"] for category in document["categories"]] == ["small", "large"]
    assert any(frame["boxes"] for frame in document["frames"]) and mp4.stat().st_size > 500


def test_a_damaged_video_gives_what_there_is_and_status_1(
    checkpoint: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    avi = tmp_path / "cut.mkv"
    with create_video(tmp_path / "long.mp4", 12, (64, 48)) as writer:
        for t in range(60):
            writer.write(np.random.default_rng(t).integers(0, 255, (48, 64, 3), dtype=np.uint8))
    remux(tmp_path / "long.mp4", avi)
    avi.write_bytes(avi.read_bytes()[: int(avi.stat().st_size * 0.6)])
    found = tmp_path / "out.json"
    assert status("detect", avi, "--checkpoint", checkpoint, "--device", "cpu", "--json", found) == 1
    assert "warning" in capsys.readouterr().err
    document = json.loads(found.read_text())
    assert 5 < len(document["frames"]) < 60 and document["damaged"]


def remux(source: Path, target: Path) -> None:
    import av

    with av.open(str(source)) as one, av.open(str(target), "w") as two:
        stream = two.add_stream_from_template(one.streams.video[0])
        for packet in one.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                two.mux(packet)


def test_every_kind_of_wrong_use_is_one_line_and_status_2(
    write_videos: Writer, checkpoint: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = write_videos(), tmp_path / "run"
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    cases: list[tuple[str, list[object]]] = [
        ("no such file", ["train", tmp_path / "no.h5", "--out", out]),
        ("horizon", ["train", data, "--out", out, "--set", "horizon=-1"]),
        ("iterationz", ["train", data, "--out", out, "--set", "iterationz=3"]),
        ("expected KEY=VALUE", ["train", data, "--out", out, "--set", "iterations"]),
        ("--motion", ["train", data, "--out", out, "--motion", "jumping"]),
        ("keyframe_step must be at least 1", ["evaluate", checkpoint, data, "--keyframe-step", 0]),
        ("anticipates 3 steps", ["evaluate", checkpoint, data, "--keyframe-step", 9]),
        ("not a readable checkpoint", ["evaluate", text, data]),
        ("nothing to write", ["detect", clip, "--checkpoint", checkpoint]),
        ("keyframe_step", ["detect", clip, "--checkpoint", checkpoint, "--keyframe-step", 0, "--json", out]),
        ("text.mp4", ["detect", text, "--checkpoint", checkpoint, "--json", out]),
        ("no such file", ["detect", clip, "--checkpoint", tmp_path / "no.pt", "--json", out]),
        ("auto, cpu or cuda", ["detect", clip, "--checkpoint", checkpoint, "--json", out, "--device", "tpu"]),
    ]
    if not torch.cuda.is_available():
        cases.append(("no CUDA device", ["evaluate", checkpoint, data, "--device", "cuda"]))
    for message, arguments in cases:
        assert status(*arguments) == 2, arguments
        error = capsys.readouterr().err
        assert message in error and error.startswith("error: ") and "Traceback" not in error, arguments
        assert error.count("\n") <= 2 and not out.exists(), arguments
    assert status("evaluate", text, data, "--debug") == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_checkpoint_with_other_classes_is_refused(
    write_videos: Writer, tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_detector(tmp_path / "three.pt", build_detector(tiny(num_classes=3)), ["a", "b", "c"])
    assert status("evaluate", tmp_path / "three.pt", write_videos()) == 2
    assert "knows 3 classes" in capsys.readouterr().err


def test_help_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ([], ["train"], ["evaluate"], ["detect"]):
        assert status(*command, "--help") == 0
        assert "usage: location-anticipation" in capsys.readouterr().out


def test_settings_find_their_dataclass() -> None:
    shape, recipe = parse_settings(
        ["backbone=resnet18", "iterations=5", "anchor_sizes=[8,16]"], DetectorConfig, TrainConfig
    )
    assert shape == {"backbone": "resnet18", "anchor_sizes": (8, 16)} and recipe == {"iterations": 5}
    with pytest.raises(UsageError, match="expected KEY=VALUE"):
        parse_settings(["colour=red"], DetectorConfig, TrainConfig)
