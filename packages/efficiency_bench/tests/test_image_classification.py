"""Image classification at the smallest scale: what its record and pictures hold, fine-tuning, and a training that diverges."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from efficiency_bench.artifacts import load_artifacts
from efficiency_bench.cli import main
from efficiency_bench.drawn import read_series
from efficiency_bench.errors import UsageError
from efficiency_bench.experiments import Context
from efficiency_bench.experiments.image_classification import FOUND, Settings, fine_tuning, rate_of, start_of
from efficiency_bench.experiments.image_data import open_split
from efficiency_bench.experiments.training_pictures import look, middle_layer
from efficiency_bench.records import RunRecord, load_record
from efficiency_bench.settings import build_settings
from synthetic_datasets import build, get_generator
from weight_align.networks import NetworkConfig, build_network

TINY = {
    "backbone": "resnet18",
    "width": 4,
    "images": 40,
    "test_images": 20,
    "epochs": 3,
    "batch_size": 8,
    "pictured_epochs": 3,
}
PICTURES = ("test_error", "channel_weights", "channel_activations", "middle_channels", "classifier_channels")


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "coloured_shapes-drawn"
    generator = get_generator("coloured-shapes")
    build(generator, generator.config_type(train=50, test=30), folder)
    return folder


def run(shapes: Path, out: Path, **settings: object) -> RunRecord:
    words = [text for key, value in {**TINY, **settings}.items() for text in ("--set", f"{key}={value}")]
    main(["run", "image_classification", *words, "--data", f"cifar10={shapes}", "--device", "cpu", "--out", str(out)])
    return load_record(out)


@pytest.fixture(scope="module")
def whole(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run.json"
    run(shapes, out, norm="bn")
    return out


def test_a_run_and_its_record(whole: Path) -> None:
    record = load_record(whole)
    assert record.kind == "train" and set(record.sources) == {"efficiency_bench", "weight_align"}
    values = {name: metric.value for name, metric in record.metrics.items()}
    assert set(FOUND) <= set(values) and not record.absent and values["diverged"] == 0
    assert 0 <= values["top5_error"] <= values["top1_error"] <= 100
    assert (values["width"], values["train_images"], values["test_images"], values["batch_size"]) == (4, 40, 20, 8)
    assert len(record.protocol["loss_by_epoch"]) == 3
    assert record.protocol["loss_by_epoch"][-1] == pytest.approx(values["train_loss"], abs=1e-6)
    assert record.protocol["network"]["align"] and record.protocol["network"]["norm"] == "bn"
    assert record.protocol["training"]["learning_rate"] == pytest.approx(values["learning_rate"])


def test_its_pictures(whole: Path) -> None:
    record = load_record(whole)
    arrays = load_artifacts(whole, record)
    shown = {name: read_series(arrays, name, "run") for name in PICTURES}
    error = shown["test_error"]
    assert error.x.tolist() == [[0, 2, 3]] and error.y[0, -1] == pytest.approx(record.metrics["top1_error"].value)
    assert shown["channel_weights"].names.tolist() == shown["channel_activations"].names.tolist() == ["0", "2", "3"]
    assert shown["middle_channels"].names.tolist() == [f"channel {n}" for n in (1, 2, 3, 4)]
    for name in PICTURES[1:]:
        series = shown[name]
        width = series.x[:, 1] - series.x[:, 0]
        assert (series.y >= 0).all() and (series.y.sum(1) * width <= 1 + 1e-9).all(), name


def test_the_same_run_again_and_a_stopped_one_give_the_same_numbers(whole: Path, shapes: Path, tmp_path: Path) -> None:
    again = run(shapes, tmp_path / "again.json", norm="bn")
    first = load_record(whole)
    assert [again.metrics[name] for name in ("top1_error", "train_loss")] == [
        first.metrics[name] for name in ("top1_error", "train_loss")
    ]
    assert again.protocol["artifacts"]["sha256"] == first.protocol["artifacts"]["sha256"]
    (tmp_path / "again.json").unlink()
    run(shapes, tmp_path / "again.json", norm="bn")  # goes on with what the folder holds, which is all of it
    assert load_record(tmp_path / "again.json").metrics["train_loss"] == first.metrics["train_loss"]


def test_a_training_that_diverges_has_a_record_that_says_so(shapes: Path, tmp_path: Path) -> None:
    record = run(shapes, tmp_path / "run.json", norm="none", align="false", fixup="false", learning_rate=1e6)
    assert record.metrics["diverged"].value == 1 and set(record.absent) == set(FOUND)
    assert len(set(record.absent.values())) == 1 and "not finite" in record.absent["top1_error"]
    assert str(tmp_path) not in record.absent["top1_error"], "no path of this machine"
    arrays = load_artifacts(tmp_path / "run.json", record)
    assert read_series(arrays, "test_error", "run").x[0, 0] == 0, "its line begins, and ends where it diverged"


def test_a_network_with_bn_is_fine_tuned_with_weight_align(shapes: Path, tmp_path: Path) -> None:
    plain = {"norm": "bn", "align": "false", "pictured_epochs": 0}
    run(shapes, tmp_path / "before.json", **plain)
    words = [
        text
        for key, value in {**TINY, **plain, "align": "true", "start": "unaligned"}.items()
        for text in ("--set", f"{key}={value}")
    ]
    started = ["--data", f"cifar10={shapes}", "--device", "cpu", "--start", str(tmp_path / "before.json")]
    main(["run", "image_classification", *words, *started, "--out", str(tmp_path / "run.json")])
    record = load_record(tmp_path / "run.json")
    assert set(FOUND) <= set(record.metrics) and "artifacts" not in record.protocol
    assert record.metrics["epochs"].value == 1, "a quarter of three"
    assert record.protocol["start"]["run_id"] == load_record(tmp_path / "before.json").run_id
    before, after = (torch.load(tmp_path / part / "network.pt") for part in ("before", "run"))
    assert not before["config"]["align"] and after["config"]["align"]
    settings = Settings(epochs=300, start="unaligned", norm="bn")
    assert (fine_tuning(settings).epochs, fine_tuning(settings).learning_rate) == (75, 0.001)
    start = start_of(settings)
    assert start is not None and build_settings(Settings, start.settings, "start") == Settings(
        epochs=300, norm="bn", align=False
    )
    assert start_of(Settings()) is None


def test_the_learning_rate_is_linear_in_the_batch() -> None:
    rates = {size: rate_of(Settings(batch_size=size)) for size in (1, 22, 64, 127)}
    assert rates == pytest.approx({1: 0.001, 22: 0.004, 64: 0.01, 127: 0.019})


@pytest.mark.parametrize(("backbone", "shape"), [("resnet50", (8, 8)), ("resnet18", (4, 4)), ("vgg16", (4, 4))])
def test_the_layer_that_is_looked_at(backbone: str, shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = build_network(NetworkConfig(classes=7, backbone=backbone, width=4, align=True)).eval()  # type: ignore[arg-type]
    images = torch.randn(3, 3, 32, 32)
    outputs: list[torch.Tensor] = []
    hook = network.get_submodule(middle_layer(network)).register_forward_hook(
        lambda _m, _i, output: outputs.append(output.clone())  # a ReLU works in place
    )
    scores = network(images)
    hook.remove()
    assert outputs[0].shape[2:] == shape
    weights, channels, classes = look(network, images)
    assert abs(float(weights.mean())) < 1e-6, "as it is used: aligned"
    for channel in range(4):
        expected = np.concatenate([outputs[0][image, channel].detach().flatten().numpy() for image in range(3)])
        np.testing.assert_array_equal(channels[channel].numpy(), expected)
    np.testing.assert_array_equal(classes.numpy(), scores.detach()[:, :4].T.numpy())


def test_real_images_are_read_through_their_index(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for split, count in (("train", 3), ("test", 2)):
        for name in ("cat", "dog"):
            folder = tmp_path / "real" / "cifar10" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    index = tmp_path / "data" / "cifar10-jpeg"
    for split in ("train", "test"):
        words = ["--package", "weight_align", "--split", split, "--name", "CIFAR-10", "--source", "JPEG"]
        main(
            [
                "index",
                "image-folder",
                str(tmp_path / "real/cifar10"),
                *words,
                "--out",
                str(index / f"{split}.index.json"),
            ]
        )
    context = Context(
        {"cifar10": index}, torch.device("cpu"), 0, tmp_path / "run", {"cifar10": tmp_path / "real/cifar10"}
    )
    images = open_split(context, "cifar10", "train")
    assert len(images) == 6 and images.facts.class_names == ("cat", "dog")
    (tmp_path / "real/cifar10/train/cat/0.png").unlink()
    with pytest.raises(UsageError, match=r"holds other images \(5\)"):
        open_split(context, "cifar10", "train")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"warmup_share": 1.0}, r"warmup_share must be in \[0, 1\)"),
        ({"start": "unaligned", "align": False}, "goes with align true"),
        ({"fine_tuning_share": 0.0}, r"fine_tuning_share must be in \(0, 1\]"),
        ({"pictured_epochs": -1}, "pictured_epochs must be 0 or more"),
        ({"norm": "batch"}, "one of none, bn"),
    ],
)
def test_settings_that_make_no_sense_are_refused(values: dict[str, object], expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        build_settings(Settings, values, "row")


def test_settings_that_the_package_refuses_end_in_one_line(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(shapes, tmp_path / "run.json", norm="wn", align="true")
    error = capsys.readouterr().err
    assert ended.value.code == 2 and "settings of the network" in error and "Traceback" not in error
