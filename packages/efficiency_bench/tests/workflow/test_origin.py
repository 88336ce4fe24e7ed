"""What numbers were measured on, in words."""

from collections.abc import Mapping
from typing import Any

import pytest

from efficiency_bench import experiments
from efficiency_bench.records.run_record import Metric, RunRecord
from efficiency_bench.workflow.origin import describe_scale, replaced_data
from efficiency_core.settings import build, to_json


def record(experiment: str, settings: Mapping[str, Any]) -> RunRecord:
    every = to_json(build(experiments.get(experiment).settings_type, settings, "settings"))
    return RunRecord(
        run_id=f"{experiment}-00000000-s0", experiment=experiment, kind="train", preset="quick", settings=every, seed=0,
        metrics={"found": Metric(1.0, "1")}, protocol={}, data={}, packages={}, sources={},
        git={"commit": None, "dirty": None}, device={"type": "cpu", "name": "CPU", "threads": 1, "clock_mhz": None},
        started="2026-11-29T10:00:00Z", duration_s=1.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("experiment", "settings", "expected"),
    [
        ("video_detection_speed", {}, "ResNet-101, 600x1000 px"),
        (
            "video_detection",
            {"detector": {"backbone": "resnet18", "min_size": 64, "max_size": 64}, "training": {"iterations": 400}},
            "ResNet-18, 64 px, 400 steps",
        ),
        (
            "action_recognition",
            {
                "network": {"width": 8, "clusters": 0},
                "training": {"epochs": 1, "augmentation": {"size": 56}, "sampling": {"frames": 8}},
            },
            "ResNet-18, width 1/8, 56 px, 8 frames, 1 epoch",
        ),
        (
            "action_recognition",
            {"network": {"clusters": 16, "backbone": "resnet50"}, "training": {"epochs": 5}},
            "ResNet-50, 224 px, all frames, 16 clusters, 5 epochs",
        ),
        ("action_recognition_cost", {"image_size": 32}, "ResNet-18, 32 px, 32 frames"),
        (
            "image_matching",
            {"network": {"backbone": "small_dbn", "size": 48, "width": 256}, "training": {"epochs": 2, "steps": 50}},
            "small network, 256 units, 48 px, 2 epochs of 50 steps",
        ),
        ("image_matching", {"features": "sift_fv", "sift": {"side": 128}}, "SIFT + Fisher vectors, 128 px"),
        (
            "image_classification",
            {"network": {"backbone": "vgg16", "width": 16}, "training": {"epochs": 10, "images": 3000}},
            "VGG16, width 1/4, 10 epochs of 3000 images",
        ),
        (
            "domain_adaptation",
            {"pretraining": {"network": {"backbone": "resnet50"}, "training": {"epochs": 3}}},
            "ResNet-50, 3 epochs",
        ),
        ("activation_distributions", {"image_size": 16}, "64 channels, 16 px"),
        ("matching_cost", {}, ""),
    ],
)
def test_the_size_of_network_and_input(experiment: str, settings: Mapping[str, Any], expected: str) -> None:
    assert describe_scale(record(experiment, settings)) == expected


@pytest.mark.parametrize("experiment", experiments.names())
def test_every_experiment_has_a_scale_or_none(experiment: str) -> None:
    text = describe_scale(record(experiment, {}))
    assert "None" not in text and "; " not in text and ": " not in text, "tables join such texts"


def test_what_stands_in_for_what() -> None:
    thesis = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "move4mnist-mnist_ucf101": "Move4MNIST"}
    assert replaced_data("cifar10-jpeg", "cifar10", thesis) == ""
    assert replaced_data("cifar10-jpeg", "cifar100", thesis) == "CIFAR-100", "one of the thesis's sets for another"
    assert replaced_data("cifar100-python", "cifar100", thesis) == ""
    assert replaced_data("move4mnist-mnist_ucf101-train8", "move4mnist", thesis) == ""
    assert replaced_data("move4mnist-sklearn_ucf101", "move4mnist", thesis) == "Move4MNIST", "of other digits"
    assert replaced_data("shapes-drawn", "shapes", {"vid": "ImageNet VID"}) == "ImageNet VID"
    assert replaced_data("shapes-drawn", "shapes", {}) == "", "the thesis has none"
