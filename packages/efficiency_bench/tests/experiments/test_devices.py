"""Trainings of a run on several devices: CPU processes here."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from efficiency_bench.experiments.devices import most_devices, with_devices
from efficiency_bench.records.json_file import write_json
from efficiency_bench.records.run_record import RunRecord
from efficiency_bench.run import RunContext, run_experiment
from efficiency_core.errors import UsageError

CLASSIFICATION: dict[str, Any] = {
    "network": {"backbone": "resnet18", "width": 4, "norm": "bn"},
    "training": {"images": 70, "epochs": 1, "batch_size": 14},
    "test_images": 10,
    "pictured_epochs": 2,
}
MATCHING: dict[str, Any] = {
    "network": {"backbone": "small_dbn", "size": 32, "embedding": 16, "width": 32, "dropout": 0.0, "trained": "all"},
    # Small rates: Adam's steps do not shrink with the gradient, so that differences of rounding grow with the rate.
    "training": {
        "epochs": 1,
        "steps": 3,
        "batch": 8,
        "method": "siamese_da",
        "learning_rate": 1e-6,
        "head_learning_rate": 1e-6,
    },
    "outlier_share": 0.1,
    "front": "isolation_forest",
}


def test_every_training_takes_the_devices_that_its_batch_has_samples_for() -> None:
    settings = {
        "before": {"training": {"devices": 1, "batch_size": 64}},
        "tuning": {"devices": 1, "batch": 3},
        "width": 4,
    }
    four = with_devices(settings, 4)
    assert four["before"]["training"] == {"devices": 4, "batch_size": 64} and four["tuning"] == {
        "devices": 3,
        "batch": 3,
    }
    assert four["width"] == 4 and most_devices(four) == 4 and most_devices(settings) == 1
    given = {"training": {"devices": 2, "batch_size": 8}}
    assert with_devices(given, 1) == given and most_devices(given) == 2, "1 leaves it to the settings"
    assert most_devices({"epochs": 2}) == 1


def test_what_measures_takes_one_device(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^--devices 2: matching_cost measures, on one device; leave the option out$"):
        run_experiment("matching_cost", {}, RunContext(tmp_path / "run.json", device="cpu", devices=2))


def assert_equal_runs(one: RunRecord, two: RunRecord, folder: Path, *networks: str) -> None:
    """The ids are equal, and so are, up to rounding, the networks that lie in `folder`/one and `folder`/two."""
    assert one.run_id == two.run_id and one.settings == two.settings
    assert "devices" not in one.device and two.device["devices"] == 2  # type: ignore[typeddict-item]
    for network in networks:
        first, second = (load_file(folder / name / network / "network.safetensors") for name in ("one", "two"))
        assert first.keys() == second.keys()
        for name, values in first.items():
            torch.testing.assert_close(
                second[name], values, rtol=0, atol=1e-6, msg=lambda said, name=name: f"{name}: {said}"
            )


def run(name: str, settings: dict[str, Any], folder: Path, devices: int, **context: Any) -> RunRecord:
    out = folder / f"{'one' if devices == 1 else 'two'}.json"
    record = run_experiment(name, settings, RunContext(out, device="cpu", devices=devices, **context))
    write_json(out, record.to_json())
    return record


@pytest.mark.slow
def test_two_devices_equal_one(data_set: Callable[..., Path], tmp_path: Path) -> None:
    """One training, and three trainings in one run that start from it."""
    threads = torch.get_num_threads()
    data = data_set("coloured-shapes", "coloured_shapes-drawn", train=70, test=10)
    records = [
        run("image_classification", CLASSIFICATION, tmp_path, devices, data={"cifar10": data}) for devices in (1, 2)
    ]
    assert_equal_runs(records[0], records[1], tmp_path, "")
    assert records[1].protocol["training"]["devices"] == 2 and records[1].settings["training"]["devices"] == 1
    assert torch.get_num_threads() == threads and records[1].device["threads"] == threads

    domains = {"domains": ("amazon", "dslr", "webcam"), "outlier_classes": ("none",), "size": 32}
    data = data_set("objects", "objects_domains-drawn", train=93, test=93, **domains)
    settings = {"pretraining": CLASSIFICATION, "tuning": {"batch_size": 10, "epochs": 1}}
    folder, start = tmp_path / "tuned", tmp_path / "one.json"
    tuned = [
        run("domain_adaptation", settings, folder, devices, data={"office31_domains": data}, start=start)
        for devices in (1, 2)
    ]
    assert_equal_runs(tuned[0], tuned[1], folder, "amazon", "dslr", "webcam")


@pytest.mark.slow
def test_two_trainings_of_which_one_selects_the_data_of_the_other(
    data_set: Callable[..., Path], tmp_path: Path
) -> None:
    pytest.importorskip("sklearn")
    data = data_set("shape", "shape-drawn", train=270, test=180, size=32)
    records = [run("image_matching", MATCHING, tmp_path, devices, data={"shape": data}) for devices in (1, 2)]
    assert_equal_runs(records[0], records[1], tmp_path)
    for first, second in zip(records[0].protocol["losses"], records[1].protocol["losses"], strict=True):
        assert second == pytest.approx(first, abs=1e-5)
