"""Domain adaptation at the smallest scale: every direction, its averages, and a network before that diverged."""

from collections.abc import Callable
from pathlib import Path

import pytest

from efficiency_bench.experiments.normalisation.domain_adaptation import Settings, averages, start_of
from efficiency_bench.experiments.normalisation.image_classification import Settings as Classification
from efficiency_bench.records.json_file import write_json
from efficiency_bench.records.run_record import Metric, RunRecord, load_record
from efficiency_bench.run import RunContext, run_experiment
from efficiency_bench.workflow.presets import overlaid
from efficiency_core.settings import build as build_settings
from weight_align.networks import NetworkConfig
from weight_align.training import TrainConfig

RECIPE = {
    "network": {"backbone": "resnet18", "width": 4, "norm": "bn"},
    "training": {"images": 70, "epochs": 1},
    "test_images": 10,
    "pictured_epochs": 0,
}
TUNING = {"batch_size": 10, "epochs": 1}
DIRECTIONS = ("a_w", "w_a", "a_d", "d_a", "w_d", "d_w")


@pytest.fixture(scope="module")
def data(data_set: Callable[..., Path]) -> dict[str, Path]:
    domains = {"domains": ("amazon", "dslr", "webcam"), "outlier_classes": ("none",), "size": 32}
    return {
        "cifar10": data_set("coloured-shapes", "coloured_shapes-drawn", train=70, test=10),
        "office31_domains": data_set("objects", "objects_domains-drawn", train=93, test=93, **domains),
    }


def before(data: dict[str, Path], out: Path, **settings: object) -> Path:
    context = RunContext(out, {"cifar10": data["cifar10"]}, device="cpu")
    write_json(out, run_experiment("image_classification", overlaid(RECIPE, settings), context).to_json())
    return out


def run(data: dict[str, Path], start: Path, out: Path, **settings: object) -> RunRecord:
    every = {"pretraining": overlaid(RECIPE, settings), "tuning": TUNING}
    context = RunContext(out, {"office31_domains": data["office31_domains"]}, start=start, device="cpu")
    return run_experiment("domain_adaptation", every, context)


def test_a_run_trains_on_each_domain_and_tests_on_the_others(data: dict[str, Path], tmp_path: Path) -> None:
    start = before(data, tmp_path / "before.json")
    record = run(data, start, tmp_path / "run.json")
    values = {name: metric.value for name, metric in record.metrics.items()}
    assert not record.absent and values["diverged"] == 0
    assert values["avg"] == pytest.approx(sum(values[name] for name in DIRECTIONS) / 6)
    assert values["avg_full"] == pytest.approx(sum(values[f"{name}_full"] for name in DIRECTIONS) / 6)
    assert values["source_accuracy"] == pytest.approx((values["a_a"] + values["d_d"] + values["w_w"]) / 3)
    for name in DIRECTIONS:
        for whole, images in ((values[name], 31), (values[f"{name}_full"], 62)):  # held out, and all of the target's
            assert whole * images / 100 == pytest.approx(round(whole * images / 100), abs=1e-6)
    assert record.protocol["images"] == {"amazon": [31, 31], "dslr": [31, 31], "webcam": [31, 31]}
    networks = {path.parent.name for path in (tmp_path / "run").glob("*/network.safetensors")}
    assert networks == {"amazon", "dslr", "webcam"}
    assert record.protocol["start"]["run_id"] == load_record(start).run_id
    again = run(data, start, tmp_path / "run.json")
    assert {name: again.metrics[name] for name in DIRECTIONS} == {name: record.metrics[name] for name in DIRECTIONS}


def test_a_network_before_that_diverged_leaves_every_direction_blank(data: dict[str, Path], tmp_path: Path) -> None:
    network = {"norm": "none", "align": False, "backbone": "vgg16"}
    wild = {"network": network, "training": {"learning_rate": 1e6, "epochs": 4}}
    start = before(data, tmp_path / "before.json", **wild)
    assert load_record(start).absent
    record = run(data, start, tmp_path / "run.json", **wild)
    assert set(record.metrics) == {"width", "epochs", "tuning_epochs", "diverged"}
    assert record.metrics["diverged"].value == 1
    assert {*DIRECTIONS, "avg", "avg_full", "source_accuracy"} <= set(record.absent)
    assert record.absent["a_w"].startswith("the network before diverged") and "not finite" in record.absent["a_w"]


def test_it_starts_from_the_training_of_table_5_1() -> None:
    pretraining = Classification(network=NetworkConfig(norm="gn", width=16), training=TrainConfig(images=500))
    start = start_of(Settings(pretraining=pretraining))
    assert start.experiment == "image_classification" and dict(start.data) == {"cifar10": "cifar100"}
    assert build_settings(Classification, start.settings, "start") == pretraining
    network = pretraining.network
    assert (network.backbone, network.align, pretraining.training.batch_size) == ("resnet50", True, 64)


def test_an_average_that_lacks_a_part_has_no_number() -> None:
    names = [*DIRECTIONS, *(f"{name}_full" for name in DIRECTIONS), "a_a", "d_d", "w_w"]
    full = {name: Metric(float(at), "%") for at, name in enumerate(names)}
    assert averages(full, {})["avg"] == Metric(2.5, "%") and averages(full, {})["source_accuracy"] == Metric(13.0, "%")
    reasons = {"w_d": "diverged, step 3"}
    found = averages({name: metric for name, metric in full.items() if name != "w_d"}, reasons)
    assert set(found) == {"avg_full", "source_accuracy"} and reasons["avg"] == "w_d diverged, step 3"
