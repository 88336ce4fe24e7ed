"""Semantic segmentation at the smallest scale: its record, the same again, and a training that diverges."""

from collections.abc import Callable
from pathlib import Path

import pytest

from efficiency_bench.experiments.normalisation.semantic_segmentation import FOUND
from efficiency_bench.records.run_record import RunRecord
from efficiency_bench.run import RunContext, run_experiment
from efficiency_bench.workflow.presets import overlaid

TINY = {
    "network": {"backbone": "resnet18", "width": 4},
    "head": {"channels": 8},
    "training": {"epochs": 2, "crop": 33, "images": 4, "normalisation": "data"},
}


@pytest.fixture(scope="module")
def scenes(data_set: Callable[..., Path]) -> Path:
    return data_set("shape-scenes", "shape_scenes-drawn", train=8, test=4, size=48)


def run(scenes: Path, out: Path, **settings: object) -> RunRecord:
    context = RunContext(out, {"voc2012": scenes}, device="cpu")
    return run_experiment("semantic_segmentation", overlaid(TINY, settings), context)


def test_a_run_and_its_record(scenes: Path, tmp_path: Path) -> None:
    record = run(scenes, tmp_path / "run.json")
    values = {name: metric.value for name, metric in record.metrics.items()}
    assert set(FOUND) <= set(values) and not record.absent
    assert 0 <= values["miou"] <= 100 and 0 <= values["pixel_accuracy"] <= 100
    assert (values["train_images"], values["test_images"], values["epochs"], values["diverged"]) == (4, 4, 2, 0)
    assert record.protocol["network"]["align"] and record.protocol["head"]["multi_grid"] == (1, 1, 1)
    by_class = record.protocol["iou_by_class"]
    mean = sum(by_class.values()) / len(by_class)
    assert "background" in by_class and values["miou"] == pytest.approx(mean, abs=1e-3)
    again = run(scenes, tmp_path / "again.json").metrics
    assert again["miou"] == record.metrics["miou"] and again["train_loss"] == record.metrics["train_loss"]


def test_a_training_that_diverges_has_a_record_that_says_so(scenes: Path, tmp_path: Path) -> None:
    network = {"norm": "none", "align": False}
    record = run(scenes, tmp_path / "run.json", network=network, training={"learning_rate": 1e6})
    assert record.metrics["diverged"].value == 1 and set(record.absent) == set(FOUND)
    assert "not finite" in record.absent["miou"]
