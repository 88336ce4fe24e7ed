"""Domain adaptation at the smallest scale: every direction, its averages, and a pretraining that diverges."""

from pathlib import Path

import pytest

from efficiency_bench.cli import main
from efficiency_bench.errors import UsageError
from efficiency_bench.experiments.domain_adaptation import Settings, averages
from efficiency_bench.records import Metric, RunRecord, load_record
from efficiency_bench.settings import build_settings
from synthetic_datasets import build, get_generator

TINY = {"backbone": "resnet18", "width": 4, "images": 20, "epochs": 1, "batch_size": 10, "tuning_epochs": 1}
DIRECTIONS = ("a_w", "w_a", "a_d", "d_a", "w_d", "d_w")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("data")
    shapes, objects = get_generator("coloured-shapes"), get_generator("objects")
    build(shapes, shapes.config_type(train=20, test=20), folder / "coloured_shapes-drawn")
    domains = {"domains": ("amazon", "dslr", "webcam"), "outlier_classes": ("none",), "size": 32}
    build(objects, objects.config_type(train=93, test=93, **domains), folder / "objects_domains-drawn")
    return {"cifar100": folder / "coloured_shapes-drawn", "office31_domains": folder / "objects_domains-drawn"}


def run(data: dict[str, Path], out: Path, **settings: object) -> RunRecord:
    words = [text for key, value in {**TINY, **settings}.items() for text in ("--set", f"{key}={value}")]
    folders = [text for name, folder in data.items() for text in ("--data", f"{name}={folder}")]
    main(["run", "domain_adaptation", *words, *folders, "--device", "cpu", "--out", str(out)])
    return load_record(out)


def test_a_run_trains_on_each_domain_and_tests_on_the_others(data: dict[str, Path], tmp_path: Path) -> None:
    record = run(data, tmp_path / "run.json", norm="bn")
    values = {name: metric.value for name, metric in record.metrics.items()}
    assert not record.absent and values["diverged"] == 0
    assert values["avg"] == pytest.approx(sum(values[name] for name in DIRECTIONS) / 6)
    assert values["avg_full"] == pytest.approx(sum(values[f"{name}_full"] for name in DIRECTIONS) / 6)
    assert values["source_accuracy"] == pytest.approx((values["a_a"] + values["d_d"] + values["w_w"]) / 3)
    for name in DIRECTIONS:
        assert (values[name] * 31 / 100) % 1 == pytest.approx(0, abs=1e-6), "of 31 held-out images of the target"
        assert (values[f"{name}_full"] * 62 / 100) % 1 == pytest.approx(0, abs=1e-6), "of all 62"
    assert record.protocol["images"] == {"amazon": [31, 31], "dslr": [31, 31], "webcam": [31, 31]}
    assert {path.parent.name for path in (tmp_path / "run").glob("*/network.pt")} == {"pretrained", "amazon", "dslr", "webcam"}
    assert set(record.data) == {"cifar100", "office31_domains"}
    (tmp_path / "run.json").unlink()
    again = run(data, tmp_path / "run.json", norm="bn")
    assert {name: again.metrics[name] for name in DIRECTIONS} == {name: record.metrics[name] for name in DIRECTIONS}


def test_a_pretraining_that_diverges_leaves_every_direction_blank(data: dict[str, Path], tmp_path: Path) -> None:
    record = run(data, tmp_path / "run.json", norm="none", align="false", backbone="vgg16", learning_rate=1e6, epochs=4)
    assert set(record.metrics) == {"width", "diverged"} and record.metrics["diverged"].value == 1
    assert {*DIRECTIONS, "avg", "avg_full", "source_accuracy", "pretrain_error"} <= set(record.absent)
    assert "not finite" in record.absent["a_w"] and "pretraining" in record.absent["a_w"]


def test_an_average_that_lacks_a_part_has_no_number() -> None:
    full = {name: Metric(float(at), "%") for at, name in enumerate(
        [*DIRECTIONS, *(f"{name}_full" for name in DIRECTIONS), "a_a", "d_d", "w_w"]
    )}  # fmt: skip
    assert averages(full, {})["avg"] == Metric(2.5, "%") and averages(full, {})["source_accuracy"] == Metric(13.0, "%")
    reasons = {"w_d": "diverged, step 3"}
    found = averages({name: metric for name, metric in full.items() if name != "w_d"}, reasons)
    assert set(found) == {"avg_full", "source_accuracy"} and reasons["avg"] == "w_d diverged, step 3"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"tuning_epochs": 0}, "tuning_epochs must be 1 or more"),
        ({"tuning_rate": 0.0}, "tuning_rate must be positive"),
        ({"pictured_epochs": 2}, "no pictures are made here"),
    ],
)
def test_settings_that_make_no_sense_are_refused(values: dict[str, object], expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        build_settings(Settings, values, "row")
