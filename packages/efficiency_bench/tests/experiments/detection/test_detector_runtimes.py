"""Runtimes of one detector: every form gives boxes and a speed; boxes are compared by class and side."""

from pathlib import Path

import pytest
import torch

from efficiency_bench.experiments.detection.detector_runtimes import same_boxes
from efficiency_bench.run import RunContext, run_experiment
from efficiency_core.errors import UsageError

TINY = {
    "detector": {
        "num_classes": 3, "horizon": 1, "backbone": "resnet18", "channels": 16, "representation": 16, "min_size": 128,
        "max_size": 128, "proposals_test": 20,
    },
    "height": 128, "width": 128, "rounds": 5,
}  # fmt: skip


def test_every_form_has_a_speed_and_its_boxes_are_compared(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    settings = {**TINY, "forms": ["torch", "channels_last", "bf16"]}
    record = run_experiment("detector_runtimes", settings, RunContext(tmp_path / "run.json", {}, device="cpu"))
    values = {name: metric.value for name, metric in record.metrics.items()}
    assert values["boxes"] > 0 and values["speedup_torch"] == 1 and values["same_boxes_torch"] == 100
    assert values["same_boxes_channels_last"] >= 90 and 0 <= values["same_boxes_bf16"] <= 100
    assert min(values[f"fps_{name}"] for name in settings["forms"]) > 0  # type: ignore[attr-defined]
    assert record.protocol["threads"] == 1 and torch.get_num_threads() == before


def test_openvino_is_a_form(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    settings = {**TINY, "forms": ["torch", "openvino"]}
    record = run_experiment("detector_runtimes", settings, RunContext(tmp_path / "run.json", {}, device="cpu"))
    assert record.metrics["same_boxes_openvino"].value >= 90 and record.metrics["speedup_openvino"].value > 0


def test_the_same_box_has_the_class_and_every_side_within_half_a_pixel() -> None:
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [5.0, 5.0, 9.0, 9.0], [1.0, 1.0, 2.0, 2.0], [3.0, 3.0, 4.0, 4.0]])
    labels = torch.tensor([1, 1, 2, 2])
    moved = boxes + torch.tensor([[0.5, 0, 0, -0.5], [0.0, 0, 0, 0.6], [0.0, 0, 0, 0], [0.0, 0, 0, 0]])
    found = {"boxes": moved.flip(0), "labels": torch.tensor([2, 1, 1, 1])}
    assert same_boxes({"boxes": boxes, "labels": labels}, found) == 0.5
    none = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    assert same_boxes(none, found) == 1 and same_boxes(found, none) == 0


def test_it_refuses_another_device() -> None:
    from efficiency_bench.experiments.base import Context
    from efficiency_bench.experiments.detection.detector_runtimes import Settings, run

    with pytest.raises(UsageError, match="compares runtimes of the CPU; set the device to cpu, not meta"):
        run(Settings(), Context({}, torch.device("meta"), 0, Path()))
