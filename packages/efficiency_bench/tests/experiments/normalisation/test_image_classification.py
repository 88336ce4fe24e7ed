"""Image classification at the smallest scale: what its record and pictures hold, fine-tuning, and a training that diverges."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from efficiency_bench.experiments.normalisation.image_classification import (
    FOUND,
    PICTURED,
    Settings,
    fine_tuning,
    rate_of,
    start_of,
)
from efficiency_bench.experiments.normalisation.training_pictures import look, middle_layer
from efficiency_bench.records.artifacts import load_artifacts
from efficiency_bench.records.json_file import write_json
from efficiency_bench.records.pictures import Series
from efficiency_bench.records.run_record import RunRecord, load_record
from efficiency_bench.run import RunContext, run_experiment
from efficiency_bench.workflow.presets import overlaid
from efficiency_core.settings import build as build_settings
from weight_align.checkpoint import load_network
from weight_align.networks import NetworkConfig, build_network
from weight_align.training import TrainConfig

TINY = {
    "network": {"backbone": "resnet18", "width": 4, "norm": "bn"},
    "training": {"images": 40, "epochs": 3, "batch_size": 8},
    "test_images": 20,
    "pictured_epochs": 3,
}
PICTURES = ("test_error", "channel_weights", "channel_activations", "middle_channels", "classifier_channels")


@pytest.fixture(scope="module")
def shapes(data_set: Callable[..., Path]) -> Path:
    return data_set("coloured-shapes", "coloured_shapes-drawn", train=50, test=30)


def run(shapes: Path, out: Path, before: Path | None = None, **settings: object) -> RunRecord:
    context = RunContext(out, {"cifar10": shapes}, start=before, device="cpu")
    record = run_experiment("image_classification", overlaid(TINY, settings), context)
    write_json(out, record.to_json())
    return record


@pytest.fixture(scope="module")
def whole(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run.json"
    run(shapes, out)
    return out


def test_a_run_and_its_record(whole: Path) -> None:
    record = load_record(whole)
    assert record.kind == "train" and {"efficiency_bench", "efficiency_core", "weight_align"} == set(record.sources)
    values = {name: metric.value for name, metric in record.metrics.items()}
    assert {*FOUND, *PICTURED} <= set(values) and not record.absent and values["diverged"] == 0
    assert 0 <= values["filter_asymmetry"] <= 1 and values["channel_mean_spread"] > 0
    assert 0 <= values["top5_error"] <= values["top1_error"] <= 100
    assert (values["width"], values["train_images"], values["test_images"], values["batch_size"]) == (4, 40, 20, 8)
    assert len(record.protocol["loss_by_epoch"]) == 3
    assert record.protocol["loss_by_epoch"][-1] == pytest.approx(values["train_loss"], abs=1e-6)
    assert record.protocol["network"]["align"] and record.protocol["network"]["norm"] == "bn"
    assert record.protocol["training"]["learning_rate"] == pytest.approx(values["learning_rate"])


def test_its_pictures(whole: Path) -> None:
    record = load_record(whole)
    arrays = load_artifacts(whole, record)
    shown = {name: Series.read(arrays, name, "run") for name in PICTURES}
    error = shown["test_error"]
    assert error.x.tolist() == [[0, 2, 3]] and error.y[0, -1] == pytest.approx(record.metrics["top1_error"].value)
    assert shown["channel_weights"].names.tolist() == shown["channel_activations"].names.tolist() == ["0", "2", "3"]
    assert shown["middle_channels"].names.tolist() == [f"channel {n}" for n in (1, 2, 3, 4)]
    for name in PICTURES[1:]:
        series = shown[name]
        width = series.x[:, 1] - series.x[:, 0]
        assert (series.y >= 0).all() and (series.y.sum(1) * width <= 1 + 1e-9).all(), name


def test_the_same_run_again_and_a_stopped_one_give_the_same_numbers(whole: Path, shapes: Path, tmp_path: Path) -> None:
    again = run(shapes, tmp_path / "again.json")
    first = load_record(whole)
    for name in ("top1_error", "train_loss"):
        assert again.metrics[name] == first.metrics[name]
    assert again.protocol["artifacts"]["sha256"] == first.protocol["artifacts"]["sha256"]
    (tmp_path / "again.json").unlink()
    run(shapes, tmp_path / "again.json")  # goes on with what the folder holds, which is all of it
    assert load_record(tmp_path / "again.json").metrics["train_loss"] == first.metrics["train_loss"]


def test_a_training_that_diverges_has_a_record_that_says_so(shapes: Path, tmp_path: Path) -> None:
    network = {"norm": "none", "align": False, "fixup": False}
    record = run(shapes, tmp_path / "run.json", network=network, training={"learning_rate": 1e6})
    assert record.metrics["diverged"].value == 1 and set(record.absent) == {*FOUND, *PICTURED}
    assert len(set(record.absent.values())) == 1 and "not finite" in record.absent["top1_error"]
    assert str(tmp_path) not in record.absent["top1_error"], "no path of this machine"
    arrays = load_artifacts(tmp_path / "run.json", record)
    assert Series.read(arrays, "test_error", "run").x[0, 0] == 0, "its line begins, and ends where it diverged"


def test_a_network_with_bn_is_fine_tuned_with_weight_align(shapes: Path, tmp_path: Path) -> None:
    start = tmp_path / "before.json"
    run(shapes, start, network={"align": False}, pictured_epochs=0)
    record = run(shapes, tmp_path / "run.json", before=start, start="unaligned", pictured_epochs=0)
    assert set(FOUND) <= set(record.metrics) and "artifacts" not in record.protocol
    assert record.metrics["epochs"].value == 1, "a quarter of three"
    assert record.protocol["start"]["run_id"] == load_record(start).run_id
    before, after = (load_network(tmp_path / part / "network.safetensors").network for part in ("before", "run"))
    assert not before.config.align and after.config.align
    settings = Settings(network=NetworkConfig(norm="bn"), start="unaligned")
    tuned = fine_tuning(settings).training
    assert (tuned.epochs, tuned.learning_rate) == (75, 0.001)
    wanted, plain = start_of(settings), Settings(network=NetworkConfig(norm="bn", align=False))
    assert wanted is not None and build_settings(Settings, wanted.settings, "start") == plain
    assert start_of(Settings()) is None


def test_the_learning_rate_is_linear_in_the_batch() -> None:
    rates = {size: rate_of(Settings(training=TrainConfig(batch_size=size))) for size in (1, 22, 64, 127)}
    assert rates == pytest.approx({1: 0.001, 22: 0.004, 64: 0.01, 127: 0.019})


@pytest.mark.parametrize(("backbone", "shape"), [("resnet50", (8, 8)), ("resnet18", (4, 4)), ("vgg16", (4, 4))])
def test_the_layer_that_is_looked_at(backbone: str, shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = build_network(NetworkConfig(classes=7, backbone=backbone, width=4)).eval()  # type: ignore[arg-type]
    images = torch.randn(3, 3, 32, 32)
    outputs: list[torch.Tensor] = []
    hook = network.get_submodule(middle_layer(network)).register_forward_hook(
        lambda _m, _i, output: outputs.append(output.clone())  # a ReLU works in place
    )
    scores = network(images)
    hook.remove()
    assert outputs[0].shape[2:] == shape
    seen = look(network, images)
    assert abs(float(seen["weights"].mean())) < 1e-6, "as it is used: aligned"
    for channel in range(4):
        expected = np.concatenate([outputs[0][image, channel].detach().flatten().numpy() for image in range(3)])
        np.testing.assert_array_equal(seen["channels"][channel], expected)
    np.testing.assert_array_equal(seen["classes"], scores.detach()[:, :4].T.numpy())
