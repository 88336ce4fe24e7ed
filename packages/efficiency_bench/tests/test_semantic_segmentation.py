"""Semantic segmentation at the smallest scale: its record, the same again, and a training that diverges."""

from pathlib import Path

import pytest

from efficiency_bench.cli import main
from efficiency_bench.experiments.semantic_segmentation import FOUND
from efficiency_bench.records import RunRecord, load_record
from synthetic_datasets import build, get_generator

TINY = {"backbone": "resnet18", "width": 4, "head_channels": 8, "epochs": 2, "crop": 33}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "shape_scenes-drawn"
    generator = get_generator("shape-scenes")
    build(generator, generator.config_type(train=8, test=4, size=48), folder)
    return folder


def run(scenes: Path, out: Path, **settings: object) -> RunRecord:
    words = [text for key, value in {**TINY, **settings}.items() for text in ("--set", f"{key}={value}")]
    main(["run", "semantic_segmentation", *words, "--data", f"voc2012={scenes}", "--device", "cpu", "--out", str(out)])
    return load_record(out)


def test_a_run_and_its_record(scenes: Path, tmp_path: Path) -> None:
    record = run(scenes, tmp_path / "run.json", images=4)
    values = {name: metric.value for name, metric in record.metrics.items()}
    assert set(FOUND) <= set(values) and not record.absent
    assert 0 <= values["miou"] <= 100 and 0 <= values["pixel_accuracy"] <= 100
    assert (values["train_images"], values["test_images"], values["epochs"], values["diverged"]) == (4, 4, 2, 0)
    assert record.protocol["network"]["align"] and record.protocol["head"]["multi_grid"] == [1, 1, 1]
    by_class = record.protocol["iou_by_class"]
    assert "background" in by_class and values["miou"] == pytest.approx(
        sum(by_class.values()) / len(by_class), abs=1e-3
    )
    again = run(scenes, tmp_path / "again.json", images=4)
    assert (
        again.metrics["miou"] == record.metrics["miou"] and again.metrics["train_loss"] == record.metrics["train_loss"]
    )


def test_a_training_that_diverges_has_a_record_that_says_so(scenes: Path, tmp_path: Path) -> None:
    record = run(scenes, tmp_path / "run.json", norm="none", align="false", learning_rate=1e6)
    assert record.metrics["diverged"].value == 1 and set(record.absent) == set(FOUND)
    assert "not finite" in record.absent["miou"]
