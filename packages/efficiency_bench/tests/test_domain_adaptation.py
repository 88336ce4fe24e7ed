"""Domain adaptation at the smallest scale: every direction, its averages, and a network before that diverged."""

from pathlib import Path

import pytest

from efficiency_bench.cli import main
from efficiency_bench.errors import UsageError
from efficiency_bench.experiments.domain_adaptation import Settings, averages, start_of
from efficiency_bench.experiments.image_classification import Settings as Classification
from efficiency_bench.records import Metric, RunRecord, load_record
from efficiency_bench.settings import build_settings
from synthetic_datasets import build, get_generator

RECIPE = {"backbone": "resnet18", "width": 4, "images": 20, "test_images": 10, "epochs": 1, "pictured_epochs": 0}
TUNING = {"tuning_batch": 10, "tuning_epochs": 1}
DIRECTIONS = ("a_w", "w_a", "a_d", "d_a", "w_d", "d_w")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, and the record of a training before."""
    folder = tmp_path_factory.mktemp("data")
    shapes, objects = get_generator("coloured-shapes"), get_generator("objects")
    build(shapes, shapes.config_type(train=70, test=10), folder / "coloured_shapes-drawn")
    domains = {"domains": ("amazon", "dslr", "webcam"), "outlier_classes": ("none",), "size": 32}
    build(objects, objects.config_type(train=93, test=93, **domains), folder / "objects_domains-drawn")
    return folder


def words(settings: dict[str, object]) -> list[str]:
    return [text for key, value in settings.items() for text in ("--set", f"{key}={value}")]


def before(folder: Path, out: Path, **settings: object) -> Path:
    every = {**RECIPE, "images": 70, **settings}
    data = ["--data", f"cifar10={folder / 'coloured_shapes-drawn'}", "--device", "cpu"]
    main(["run", "image_classification", *words(every), *data, "--out", str(out)])
    return out


def run(folder: Path, start: Path, out: Path, **settings: object) -> RunRecord:
    every = {**RECIPE, "images": 70, **TUNING, **settings}
    data = ["--data", f"office31_domains={folder / 'objects_domains-drawn'}", "--start", str(start), "--device", "cpu"]
    main(["run", "domain_adaptation", *words(every), *data, "--out", str(out)])
    return load_record(out)


def test_a_run_trains_on_each_domain_and_tests_on_the_others(folder: Path, tmp_path: Path) -> None:
    start = before(folder, tmp_path / "before.json", norm="bn", align="true")
    record = run(folder, start, tmp_path / "run.json", norm="bn")
    values = {name: metric.value for name, metric in record.metrics.items()}
    assert not record.absent and values["diverged"] == 0
    assert values["avg"] == pytest.approx(sum(values[name] for name in DIRECTIONS) / 6)
    assert values["avg_full"] == pytest.approx(sum(values[f"{name}_full"] for name in DIRECTIONS) / 6)
    assert values["source_accuracy"] == pytest.approx((values["a_a"] + values["d_d"] + values["w_w"]) / 3)
    for name in DIRECTIONS:
        for whole, images in ((values[name], 31), (values[f"{name}_full"], 62)):  # held out, and all of the target's
            assert whole * images / 100 == pytest.approx(round(whole * images / 100), abs=1e-6)
    assert record.protocol["images"] == {"amazon": [31, 31], "dslr": [31, 31], "webcam": [31, 31]}
    assert {path.parent.name for path in (tmp_path / "run").glob("*/network.pt")} == {"amazon", "dslr", "webcam"}
    assert record.protocol["start"]["run_id"] == load_record(start).run_id
    (tmp_path / "run.json").unlink()
    again = run(folder, start, tmp_path / "run.json", norm="bn")
    assert {name: again.metrics[name] for name in DIRECTIONS} == {name: record.metrics[name] for name in DIRECTIONS}


def test_a_network_before_that_diverged_leaves_every_direction_blank(folder: Path, tmp_path: Path) -> None:
    wild: dict[str, object] = {"norm": "none", "align": "false", "backbone": "vgg16", "learning_rate": 1e6, "epochs": 4}
    start = before(folder, tmp_path / "before.json", **wild)
    assert load_record(start).absent
    record = run(folder, start, tmp_path / "run.json", **wild)
    assert set(record.metrics) == {"width", "epochs", "tuning_epochs", "diverged"}
    assert record.metrics["diverged"].value == 1
    assert {*DIRECTIONS, "avg", "avg_full", "source_accuracy"} <= set(record.absent)
    assert record.absent["a_w"].startswith("the network before diverged") and "not finite" in record.absent["a_w"]


def test_it_starts_from_the_training_of_table_5_1() -> None:
    start = start_of(Settings(norm="gn", width=16, images=500))
    assert start.experiment == "image_classification" and dict(start.data) == {"cifar10": "cifar100"}
    trained = build_settings(Classification, start.settings, "start")
    assert trained == Classification(norm="gn", width=16, images=500, backbone="resnet50", align=True, batch_size=64)


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
    ],
)
def test_settings_that_make_no_sense_are_refused(values: dict[str, object], expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        build_settings(Settings, values, "row")
