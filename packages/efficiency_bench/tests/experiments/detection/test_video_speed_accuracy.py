"""One training evaluated at several keyframe steps, at the smallest scale, against the package's own evaluation."""

from collections.abc import Callable
from pathlib import Path

import pytest

from efficiency_bench.run import RunContext, run_experiment
from location_anticipation import VideoDetector, load_detector
from location_anticipation.data import open_videos
from location_anticipation.inference import AutoStep
from location_anticipation.metrics import evaluate_method

SETTINGS = {
    "detector": {
        "backbone": "resnet18", "channels": 16, "representation": 16, "rois_per_image": 8, "min_size": 64,
        "max_size": 64, "proposals_train": 16, "proposals_test": 8, "detections_per_image": 4, "horizon": 4,
    },
    "training": {"iterations": 2, "batch_size": 2},
    "steps": [1, 2, 5], "tolerances": [0.1], "timed_videos": 2, "rounds": 1, "warmup": 0,
}  # fmt: skip


def test_every_step_is_scored_on_all_videos_and_timed_on_some(data_set: Callable[..., Path], tmp_path: Path) -> None:
    data = data_set("moving-digits", "moving_digits-sklearn", train=4, test=4, frames=12)
    context = RunContext(tmp_path / "run.json", {"moving_digits": data}, device="cpu")
    record = run_experiment("video_speed_accuracy", SETTINGS, context)
    value = {name: metric.value for name, metric in record.metrics.items()}
    names = ("step1", "step2", "step5", "auto0_1")
    assert set(record.protocol["units"]) == set(names)
    assert record.protocol["timed_videos"] == [0, 2] and set(record.protocol["units"].values()) == {24}

    # Keyframes of 12 frames: 12, 6, and ceil(12 / 5) = 3.
    assert [value[f"keyframe_share_{name}"] for name in names[:3]] == pytest.approx([100, 50, 25])
    assert 25 <= value["keyframe_share_auto0_1"] <= 100
    for name in names:
        share = value[f"keyframe_share_{name}"] / 100
        assert value[f"flops_g_{name}"] == pytest.approx(value["flops_g_step1"] * share)
        assert value[f"fps_p10_{name}"] <= value[f"fps_{name}"] <= value[f"fps_p90_{name}"]
    assert value["speedup_step1"] == 1 and value["speedup_step5"] > 0

    model, _ = load_detector(tmp_path / "run" / "detector.safetensors")
    test = open_videos(data / "test.h5")
    for name, step in (("step2", 2), ("auto0_1", AutoStep(tolerance=0.1))):
        expected = evaluate_method(VideoDetector(model, step), test, flavours=("coco",))
        assert value[f"video_map_{name}"] == pytest.approx(100 * expected.scores.overall["coco"].map, abs=1e-9)
        assert value[f"keyframe_share_{name}"] == pytest.approx(100 * expected.keyframe_share)
