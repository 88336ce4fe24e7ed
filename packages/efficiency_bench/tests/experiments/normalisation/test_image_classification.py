"""Image classification at the smallest scale: what its record and pictures hold, fine-tuning, and a training that diverges."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from efficiency_bench.experiments import recorded
from efficiency_bench.experiments.normalisation.domain_adaptation import Settings as DomainSettings
from efficiency_bench.experiments.normalisation.image_classification import (
    FOUND,
    PICTURED,
    Settings,
    fine_tuning,
    rate_of,
    start_of,
)
from efficiency_bench.experiments.normalisation.rate_search import RateSearch, divided
from efficiency_bench.experiments.normalisation.training_pictures import look, middle_layer
from efficiency_bench.records.artifacts import load_artifacts
from efficiency_bench.records.json_file import write_json
from efficiency_bench.records.pictures import Series
from efficiency_bench.records.run_record import RunRecord, load_record
from efficiency_bench.run import RunContext, run_experiment
from efficiency_bench.workflow.presets import overlaid
from efficiency_core.settings import build as build_settings
from efficiency_core.settings import to_json
from weight_align.checkpoint import load_network
from weight_align.data import DatasetInfo, ImageTensor
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
    assert start_of(replace(settings, fine_tuning_share=1.0)) == wanted, "one training for fine-tunings of any length"


def test_the_learning_rate_is_searched_on_held_out_training_images(shapes: Path, tmp_path: Path) -> None:
    search = {"factors": [1e-4, 1.0, 1e9], "epochs": 2, "held_out": 0.25}
    record = run(
        shapes, tmp_path / "run.json", search=search, pictured_epochs=0, network={"norm": "none", "align": False}
    )
    found = record.protocol["rate_search"]
    losses = found["loss_on_held_out"]
    assert list(losses) == ["0.0001", "1", "1e+09"] and losses["1e+09"] == "diverged"
    assert found["factor"] == min((1e-4, 1.0), key=lambda factor: losses[f"{factor:g}"])
    assert (found["trained"], found["held_out"], found["epochs"]) == (30, 10, 2), "of 40 training images"
    plain = rate_of(build_settings(Settings, TINY, "test"))
    assert record.metrics["learning_rate"].value == pytest.approx(found["factor"] * plain)
    assert record.metrics["train_images"].value == 40 and record.settings["search"]["epochs"] == 2
    (tmp_path / "run.json").unlink()
    again = run(
        shapes, tmp_path / "run.json", search=search, pictured_epochs=0, network={"norm": "none", "align": False}
    )
    assert again.protocol["rate_search"] == found and again.metrics["train_loss"] == record.metrics["train_loss"]
    failed = run(shapes, tmp_path / "none.json", search={"factors": [1e9, 1e8]}, pictured_epochs=0,
                 network={"norm": "none", "align": False, "fixup": False})  # fmt: skip
    assert failed.protocol["rate_search"]["factor"] == 1e8 and failed.metrics["diverged"].value == 1


def test_images_are_divided_by_class() -> None:
    labels = torch.tensor([0, 1, 0, 1, 0, 0, 2, 2])
    images = torch.arange(8, dtype=torch.uint8).view(8, 1, 1, 1).expand(8, 3, 2, 2).contiguous()
    rest, held_out = divided(ImageTensor(images, labels, DatasetInfo("Numbers", "", ("a", "b", "c"))), 0.25)
    assert rest.images[:, 0, 0, 0].tolist() == [0, 1, 2, 4, 6]  # type: ignore[union-attr]
    assert held_out.images[:, 0, 0, 0].tolist() == [3, 5, 7]  # type: ignore[union-attr]


def test_a_training_starts_from_given_weights(whole: Path, shapes: Path, tmp_path: Path) -> None:
    weights = str(whole.with_suffix("") / "network.safetensors")
    slow = {"learning_rate": 1e-9}
    record = run(
        shapes, tmp_path / "run.json", weights=weights, training=slow, single_learning_rate=1e-9, pictured_epochs=0
    )
    assert record.settings["weights"] == weights
    before, after = (load_network(path) for path in (weights, tmp_path / "run" / "network.safetensors"))
    for name, value in before.network.state_dict().items():
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(after.network.state_dict()[name], value, rtol=1e-4, atol=1e-6)


def test_settings_that_were_added_later_change_no_earlier_id() -> None:
    plain = build_settings(Settings, TINY, "test")
    assert not {"weights", "search"} & recorded(plain).keys() and {"weights", "search"} <= to_json(plain).keys()
    searching = replace(plain, search=RateSearch(factors=(1.0,)), weights="x.pt")
    assert recorded(searching) == to_json(searching)
    nested = recorded(DomainSettings(pretraining=plain))
    assert nested["pretraining"] == recorded(plain) and nested["tuning"] == to_json(
        TrainConfig(epochs=60, learning_rate=0.001)
    )
    assert build_settings(Settings, recorded(plain), "test") == plain


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
