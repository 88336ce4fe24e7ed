"""The commands train and evaluate: from files of images to figures, and errors of one line."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from weight_align.checkpoint import load_any, load_network, save_network
from weight_align.networks import NetworkConfig, build_network

Write = Callable[..., Path]
Run = Callable[..., tuple[int, str, str]]
Draw = Callable[..., tuple[np.ndarray, np.ndarray]]
SMALL = ("--backbone", "resnet18", "--width", 2, "--norm", "bn", "--batch-size", 8, "--padding", 1, "--epochs", 2)
NETWORK = "network.safetensors"


def one_line(error: str) -> str:
    (line,) = error.splitlines()
    assert line.startswith("error: ")
    return line


def test_train_then_evaluate(tmp_path: Path, write_folder: Write, run: Run) -> None:
    root = write_folder("train")
    write_folder("test", count=9, seed=1)
    out, data = tmp_path / "run", (root, "--format", "image-folder")
    status, printed, _ = run("train", *data, "--out", out, *SMALL, "--validation", "test", "--device", "cpu")
    lines = printed.splitlines()
    first = ["loss", "seconds per epoch", "steps per second", "best validation"]
    assert status == 0 and [line[:17].rstrip() for line in lines[:4]] == first
    assert lines[4] == str(out / NETWORK) and lines[3].endswith(str(out / "best.safetensors"))
    status, printed, _ = run("evaluate", out / NETWORK, *data, "--out", tmp_path / "scores.json", "--batch-size", 4)
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert status == 0
    loss = f"loss            {scores['loss']:.4f}\n"
    assert printed == f"top1 error      {scores['top1_error']:.2f} %\ntop5 error      0.00 %\n{loss}images          9\n"
    assert scores["data"] == "marks" and list(scores["per_class"]) == ["bar", "cross", "disc"]
    assert np.mean(list(scores["per_class"].values())) == pytest.approx(scores["top1_error"])
    # A network that always says the second class: the figures are measured, not remembered.
    state = load_network(out / NETWORK)
    with torch.no_grad():
        state.network.fc.bias[1] = 1e4  # type: ignore[union-attr, index]
    save_network(out / NETWORK, state.network, state.metadata)
    status, printed, _ = run("evaluate", out / NETWORK, *data)
    assert status == 0 and "top1 error      66.67 %" in printed


def test_several_seeds(tmp_path: Path, write_hdf5: Write, draw: Draw, run: Run) -> None:
    pixels, labels = draw(24)
    path = write_hdf5("train.h5", {"image": pixels, "label": labels})
    status, printed, _ = run("train", path, "--out", tmp_path / "run", *SMALL, "--epochs", 1, "--seeds", 3, 0)
    lines = printed.splitlines()
    assert status == 0 and len(lines) == 6
    assert lines[0].startswith("loss seed-3") and lines[1].startswith("loss seed-0")
    for seed, line in zip((3, 0), lines[4:], strict=True):
        assert line == str(tmp_path / "run" / f"seed-{seed}" / NETWORK) and Path(line).is_file()
    one, two = (load_network(line).network.state_dict() for line in lines[4:])
    name = "conv1.parametrizations.weight.original"
    assert not torch.equal(one[name], two[name])


def test_pictures_with_masks(tmp_path: Path, write_hdf5: Write, draw: Draw, run: Run) -> None:
    pixels, _ = draw(8, 32)
    masks = (pixels.max(axis=3) >= 150).astype(np.uint8)
    for split in ("train", "test"):
        names = json.dumps(["ground", "mark"])
        arrays = {"image": pixels, "mask": masks}
        write_hdf5(f"scenes/{split}.h5", arrays, format="mask-set", class_names=names, split=split)
    out, scenes = tmp_path / "run", tmp_path / "scenes"
    sizes = ("--width", 2, "--backbone", "resnet18", "--crop", 32, "--epochs", 1, "--channels", 8, "--rates", 1, 2)
    small = (*sizes, "--normalisation", "data")
    status, printed, _ = run("train-segmentation", scenes, "--out", out, *small)
    assert status == 0 and printed.splitlines()[-1] == str(out / NETWORK)
    status, printed, _ = run("evaluate", out / NETWORK, scenes, "--out", tmp_path / "scores.json")
    rows = [line.split("  ")[0] for line in printed.splitlines()]
    assert status == 0 and rows == ["mean IoU", "pixel accuracy", "images"]
    scores = json.loads((tmp_path / "scores.json").read_text())
    found = [value for value in scores["per_class"].values() if value is not None]
    assert scores["mean_iou"] == pytest.approx(np.mean(found)) and list(scores["per_class"]) == ["ground", "mark"]
    status, _, error = run("train", scenes, "--out", out)
    assert status == 2 and "has format mask-set, expected labelled images; train pictures with masks" in one_line(error)
    status, _, error = run("evaluate", out / NETWORK, scenes / "train.h5", "--split", "test")
    assert status == 2 and "is the train split, expected test" in one_line(error)


@pytest.mark.parametrize(("arguments", "message"), [
    (("nowhere",), "nowhere: give its layout as --format (see --help)"),
    (("nowhere.h5",), "nowhere.h5: no such file"),
    (("marks", "--format", "mnist"), "--format: expected one of auto, cifar10, cifar100, image-folder"),
    (("marks", "--split", "val"), "val: no such folder; expected a folder of images per class"),
    (("marks", "--option", "size"), "--option: expected KEY=VALUE, got 'size'"),
    (("marks", "--option", "domain=a"), "has no option 'domain'; it has size, cache, name"),
    (("marks", "--colour", "1"), "unknown option --colour"),
    (("marks", "--milestones", "150"), "such as 0.5 0.75, got (150.0,)"),
    (("marks", "--weights", "no.pt"), "no.pt: no such file"),
    (("marks", "--seeds", "1", "--seed", "2"), "--seeds goes without --training.seed and --validation"),
])  # fmt: skip
def test_wrong_usage_of_train(
    tmp_path: Path, write_folder: Write, run: Run, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...],
    message: str,
) -> None:  # fmt: skip
    write_folder("train")
    monkeypatch.chdir(tmp_path)
    layout = ("--format", "image-folder") if arguments[0] == "marks" else ()
    small = ("--backbone", "resnet18", "--width", 2, "--padding", 1, "--batch-size", 24, "--device", "cpu")
    status, printed, error = run("train", *small, *layout, *arguments, "--out", "run")
    assert status == 2 and printed == "" and message in one_line(error)
    assert not Path("run").exists()


def test_wrong_usage_of_evaluate(tmp_path: Path, write_folder: Write, run: Run) -> None:
    root = write_folder("test")
    data = (root, "--format", "image-folder")
    network = build_network(NetworkConfig(3, "resnet18", width=2))
    metadata = {"class_names": ["bar", "cross", "disc"], "mean": [0.5] * 3, "std": [0.2] * 3}
    path = tmp_path / NETWORK
    for given, message in (
        ({}, "does not state classes and colour normalisation (without class_names, mean, std)"),
        (metadata | {"class_names": ["bar", "disc", "cross"]}, "class 1 is 'disc' in"),
        (metadata | {"class_names": ["bar", "cross"]}, "has 2 classes"),
    ):
        save_network(path, network, given)
        status, _, error = run("evaluate", path, *data)
        assert status == 2 and message in one_line(error)
    save_network(path, network, metadata)
    status, _, error = run("evaluate", root / "test" / "bar" / "0000.jpg", *data)
    assert status == 2 and "not a readable network file" in one_line(error)
    with torch.no_grad():
        network.fc.bias[0] = float("nan")  # type: ignore[union-attr]
    save_network(path, network, metadata)
    status, _, error = run("evaluate", path, *data)
    assert status == 1 and "not finite" in one_line(error)
    (root / "test" / "bar" / "0000.jpg").write_bytes(b"cut")
    status, _, error = run("evaluate", path, *data)
    assert status == 1 and "test/bar/0000.jpg: is no image" in one_line(error)


def test_fine_tuning_what_convert_wrote(tmp_path: Path, write_folder: Write, run: Run) -> None:
    """With the settings of the README; the trained network starts as the converted one, but for its classifier."""
    models = pytest.importorskip("torchvision").models
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(models.resnet18(num_classes=7).state_dict(), tmp_path / "state.pt")
    start, root = tmp_path / "start.safetensors", write_folder("train")
    assert run("convert", tmp_path / "state.pt", "--network", "resnet18", "--classes", 7, "--out", start)[0] == 0
    arguments = ("--format", "image-folder", "--option", "size=32", "--weights", start, "--backbone", "resnet18")
    settings = ("--stem", "imagenet", "--norm", "bn", "--normalisation", "imagenet", "--learning-rate", 1e-9)
    size = ("--epochs", 1, "--batch-size", 8, "--device", "cpu")
    status, printed, error = run("train", root, *arguments, *settings, *size, "--out", tmp_path / "tuned")
    assert status == 0, error
    tuned, converted = (load_any(path).network for path in (printed.splitlines()[-1], start))
    for name, value in converted.named_parameters():
        if not name.startswith("fc."):
            torch.testing.assert_close(tuned.get_parameter(name), value, msg=name)
    status, _, error = run("train", root, *arguments, *size, "--out", tmp_path / "other")
    assert status == 2 and "is a resnet18 of torchvision; set stem=imagenet, norm=bn" in one_line(error)
