"""One training looked through at several keyframe steps, at the smallest scale, against the package's own evaluation."""

from pathlib import Path

import pytest

from efficiency_bench.cli import main
from efficiency_bench.records import load_record
from location_anticipation.auto_step import AutoStep
from location_anticipation.checkpoint import load_detector
from location_anticipation.evaluation import evaluate_method
from location_anticipation.video import VideoDetector
from location_anticipation.videos import open_videos
from synthetic_datasets import MovingDigitsConfig, build, get_generator

SETTINGS = {
    "iterations": 2, "batch_size": 2, "channels": 16, "representation": 16, "rois_per_image": 8, "proposals": 8,
    "detections": 4, "horizon": 4, "steps": [1, 2, 5], "tolerances": [0.1], "timed_videos": 2, "rounds": 1,
    "warmup": 0,
}  # fmt: skip


def measure(data: Path, out: Path) -> None:
    settings = [text for name, value in SETTINGS.items() for text in ("--set", f"{name}={value}")]
    main(
        [
            "measure",
            "video_speed_accuracy",
            *settings,
            "--data",
            f"moving_digits={data}",
            "--device",
            "cpu",
            "--out",
            str(out),
        ]
    )


def test_every_step_is_scored_on_all_videos_and_timed_on_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EFFICIENCY_DATA", raising=False)
    data, out = tmp_path / "moving_digits-sklearn", tmp_path / "run.json"
    build(get_generator("moving-digits"), MovingDigitsConfig(train=10, test=10, frames=12), data)
    measure(data, out)
    record = load_record(out)
    value = {name: metric.value for name, metric in record.metrics.items()}
    names = ("step1", "step2", "step5", "auto0_1")
    assert set(record.protocol["units"]) == set(names)
    assert record.protocol["timed_videos"] == [0, 5] and set(record.protocol["units"].values()) == {24}

    # Keyframes of 12 frames: 12, 6, and ceil(12 / 5) = 3.
    assert [value[f"keyframe_share_{name}"] for name in names[:3]] == pytest.approx([100, 50, 25])
    assert 25 <= value["keyframe_share_auto0_1"] <= 100
    for name in names:
        share = value[f"keyframe_share_{name}"] / 100
        assert value[f"flops_g_{name}"] == pytest.approx(value["flops_g_step1"] * share)
        assert value[f"fps_p10_{name}"] <= value[f"fps_{name}"] <= value[f"fps_p90_{name}"]
    assert value["speedup_step1"] == 1 and value["speedup_step5"] > 1

    model, _ = load_detector(tmp_path / "run" / "detector.pt")
    test = open_videos(data / "test.h5")
    for name, step in (("step2", 2), ("auto0_1", AutoStep(tolerance=0.1))):
        expected = evaluate_method(VideoDetector(model, step), test, flavours=("coco",))
        assert value[f"video_map_{name}"] == pytest.approx(100 * expected.scores.overall["coco"].map, abs=1e-9)
        assert value[f"keyframe_share_{name}"] == pytest.approx(100 * expected.keyframe_share)
