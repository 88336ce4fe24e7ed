"""Runs of the detection experiments through `effbench`, at the smallest scale."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from efficiency_bench.cli import main
from efficiency_bench.records.artifacts import Example, load_artifacts
from efficiency_bench.records.run_record import load_record

TINY = [
    "detector.backbone=resnet18", "detector.channels=16", "detector.representation=16", "detector.min_size=64",
    "detector.max_size=64", "detector.rois_per_image=8", "detector.proposals_test=50", "training.iterations=2",
    "training.batch_size=2", "keyframe_step=8",
]  # fmt: skip


@pytest.fixture(scope="module")
def digits(data_set: Callable[..., Path]) -> Path:
    return data_set("moving-digits", "moving_digits-sklearn", train=10, test=10)


def status(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def train(digits: Path, out: Path, *more: str) -> int:
    settings = [text for setting in [*TINY, *more] for text in ("--set", setting)]
    where = ["--data", f"moving_digits={digits}", "--device", "cpu", "--out", out]
    return status("run", "video_detection", *settings, *where)


def test_a_training_run_and_its_record(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run.json"
    assert train(digits, out) == 0
    record = load_record(out)
    assert record.kind == "train" and record.seed == 0 and record.settings["training"]["iterations"] == 2
    assert record.data["moving_digits"]["name"] == "MovingDigits" and len(record.data["moving_digits"]["digest"]) == 64
    assert record.metrics["keyframe_map"].unit == "%" and 0 <= record.metrics["trajectory_iou"].value <= 1
    assert record.protocol["keyframes"] == 40 and record.protocol["frames"] == 320
    assert {"efficiency_bench", "location_anticipation"} <= set(record.sources)
    assert "keyframe_map" in capsys.readouterr().out
    again = tmp_path / "again.json"
    assert train(digits, again) == 0
    timeless = [
        {name: metric.value for name, metric in load_record(path).metrics.items() if "time" not in name}
        for path in (out, again)
    ]
    assert timeless[0] == timeless[1], "same seed, same device, same numbers"


def test_the_plain_detector_has_no_trajectories(digits: Path, tmp_path: Path) -> None:
    assert train(digits, tmp_path / "plain.json", "supervision.motion=none", "detector.horizon=0") == 0
    metrics = load_record(tmp_path / "plain.json").metrics
    assert "trajectory_iou" not in metrics and "no_motion_iou" in metrics


def test_a_measurement_and_its_record(tmp_path: Path) -> None:
    out = tmp_path / "speed.json"
    small = [
        "detector.backbone=resnet18", "detector.min_size=96", "detector.max_size=128", "detector.proposals_test=50",
        "detector.horizon=4", "height=96", "width=128", "rounds=2", "warmup=1", "keyframe_steps=[2,4]", "peer.window=1",
        "peer.references=1", "peer.keyframe_step=2",
    ]  # fmt: skip
    settings = [text for setting in small for text in ("--set", setting)]
    assert status("measure", "video_detection_speed", *settings, "--device", "cpu", "--out", out) == 0
    record = load_record(out)
    value = {name: metric.value for name, metric in record.metrics.items()}
    assert value["speedup_per_frame"] == 1 and min(value["fps_step4"], value["fps_step2"]) > 0
    head = value["head_macs_share"] / 100
    assert head > 0 and value["flops_g_step4"] == pytest.approx(value["flops_g_per_frame"] * (1 + head) / 4)
    assert value["activation_mb_step2"] == pytest.approx(2 * value["activation_mb_step4"])
    assert record.protocol["boxes_per_keyframe"] > 10, "the trajectory head has something to do"
    assert record.protocol["fvcore_over_torch_macs"] == pytest.approx(1)
    key_boxes = {"key_boxes_copied": 2, "constant_velocity": 2, "interpolation": 2, "dff": 2}
    ours = {"per_frame": 1, "step2": 2, "step4": 4}
    assert record.protocol["units"] == {**ours, **key_boxes, "fgfa": 1, "selsa": 1}
    assert min(value["speedup_key_boxes_copied"], value["speedup_fgfa"]) > 0
    for name in ("step2", "step4", "key_boxes_copied", "fgfa"):
        quotient = value[f"fps_{name}"] / value["fps_per_frame"]
        assert value[f"speedup_{name}"] == pytest.approx(quotient), "whoever divides two columns gets the third"


def test_the_example_of_simulated_motion_and_its_arrays(tmp_path: Path) -> None:
    out = tmp_path / "example.json"
    assert status("measure", "simulated_motion_example", "--device", "cpu", "--out", out) == 0
    record = load_record(out)
    example = Example.read(load_artifacts(out, record), "simulated", "run")
    assert example.index.tolist() == list(range(25)) and example.index[example.keyframe].tolist() == [0, 8, 16, 24]
    keyframes, moved = example.true[example.keyframe, 0], example.found[:, 0]
    np.testing.assert_allclose(moved[example.keyframe], keyframes, atol=1e-5)
    # Equation 2.5: half way between two keyframes the bow is dx^2 / (16 f) with f = 8, to the other side in turn.
    dx = keyframes[1, 0] - keyframes[0, 0]
    for segment, side in enumerate((-1, 1, -1)):
        middle = (keyframes[segment] + keyframes[segment + 1]) / 2
        np.testing.assert_allclose(moved[8 * segment + 4, 1] - middle[1], side * dx**2 / (16 * 8), atol=1e-4)
    assert record.metrics["bow_px"].value == pytest.approx(dx**2 / (16 * 8), abs=1e-4)
    assert record.metrics["keyframe_error_px"].value < 1e-4


def test_settings_that_do_not_go_together_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, setting = tmp_path / "out.json", "detector.horizon=4"
    assert status("measure", "video_detection_speed", "--set", setting, "--device", "cpu", "--out", out) == 2
    error = capsys.readouterr().err
    assert "keyframe_steps 8 needs 7" in error and error.count("\n") == 1 and not out.exists()
