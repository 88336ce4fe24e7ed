"""The commands train and evaluate: from files of images to figures, and errors of one line."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from weight_align.checkpoint import load_network, save_network
from weight_align.cli import main
from weight_align.networks import NetworkConfig, build_network

pytestmark = pytest.mark.usefixtures("one_thread")
Write = Callable[..., Path]
Run = Callable[..., tuple[int, str, str]]
SMALL = ("width=2", "norm=bn", "epochs=2", "batch_size=8", "padding=1")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command on the CPU; returns exit status, standard output and standard error."""

    def command(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main([*(str(argument) for argument in arguments), "--device", "cpu"])
        captured = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, captured.out, captured.err

    return command


def settings(*changes: str) -> list[str]:
    return [word for assignment in changes for word in ("--set", assignment)]


def one_line(error: str) -> str:
    (line,) = error.splitlines()
    assert line.startswith("error: ")
    return line


def test_train_then_evaluate(tmp_path: Path, write_folder: Write, run: Run) -> None:
    root = write_folder("train")
    write_folder("test", count=9, seed=1)
    out, data = tmp_path / "run", (root, "--format", "image-folder")
    status, printed, _ = run("train", *data, "--out", out, *settings(*SMALL, "align=true"))
    assert status == 0
    lines = printed.splitlines()
    assert [line[:17].rstrip() for line in lines[:3]] == ["loss", "seconds per epoch", "steps per second"]
    assert 0 < float(lines[0].split()[-1]) < 5 and lines[3] == str(out / "network.pt")
    status, printed, _ = run(
        "evaluate", out / "network.pt", *data, "--out", tmp_path / "scores.json", "--batch-size", 4
    )
    assert status == 0
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert printed == f"top1 error  {scores['top1_error']:.2f} %\ntop5 error  0.00 %\nimages      9\n"
    assert scores["data"] == "marks" and list(scores["per_class"]) == ["bar", "cross", "disc"]
    assert np.mean(list(scores["per_class"].values())) == pytest.approx(scores["top1_error"])
    # The same weights with every image turned over are another set: the figures are measured, not remembered.
    state = load_network(out / "network.pt")
    with torch.no_grad():
        state.network.fc.bias[1] = 1e4  # type: ignore[union-attr, index]
    save_network(out / "network.pt", state.network, state.facts)
    status, printed, _ = run("evaluate", out / "network.pt", *data)
    assert status == 0 and "top1 error  66.67 %" in printed


def test_several_seeds(
    tmp_path: Path, write_hdf5: Write, draw: Callable[..., tuple[np.ndarray, np.ndarray]], run: Run
) -> None:
    pixels, labels = draw(24)
    path = write_hdf5("train.h5", {"image": pixels, "label": labels})
    status, printed, _ = run("train", path, "--out", tmp_path / "run", "--seeds", "3,0", *settings(*SMALL, "epochs=1"))
    assert status == 0
    lines = printed.splitlines()
    assert lines[0].startswith("loss seed-3") and lines[1].startswith("loss seed-0") and len(lines) == 6
    for seed, line in zip((3, 0), lines[4:], strict=True):
        assert line == str(tmp_path / "run" / f"seed-{seed}" / "network.pt") and Path(line).is_file()
    one, two = (load_network(line).network.state_dict() for line in lines[4:])
    assert not torch.equal(one["conv1.weight"], two["conv1.weight"])


def test_pictures_with_masks(
    tmp_path: Path, write_hdf5: Write, draw: Callable[..., tuple[np.ndarray, np.ndarray]], run: Run
) -> None:
    pixels, _ = draw(8, 32)
    masks = (pixels.max(axis=3) >= 150).astype(np.uint8)
    for split in ("train", "test"):
        arrays = {"image": pixels, "mask": masks}
        names = json.dumps(["ground", "mark"])
        write_hdf5(f"scenes/{split}.h5", arrays, format="mask-set", class_names=names, split=split)
    out = tmp_path / "run"
    sizes = ("width=2", "backbone=resnet18", "crop=32", "epochs=1", "channels=8", "rates=[1,2]", "normalisation=data")
    status, printed, _ = run("train", tmp_path / "scenes", "--out", out, *settings(*sizes))
    assert status == 0 and printed.splitlines()[-1] == str(out / "network.pt")
    status, printed, _ = run("evaluate", out / "network.pt", tmp_path / "scenes", "--out", tmp_path / "scores.json")
    assert status == 0 and [line.split()[0] for line in printed.splitlines()] == ["mean", "pixel", "images"]
    scores = json.loads((tmp_path / "scores.json").read_text())
    found = [value for value in scores["per_class"].values() if value is not None]
    assert scores["mean_iou"] == pytest.approx(np.mean(found)) and list(scores["per_class"]) == ["ground", "mark"]
    status, _, error = run("train", tmp_path / "scenes", "--out", out, "--seeds", "0,1")
    assert status == 2 and "a segmentation is trained one seed at a time" in one_line(error)
    status, _, error = run("evaluate", out / "network.pt", tmp_path / "scenes" / "train.h5", "--split", "test")
    assert status == 2 and "is the train split, expected test" in one_line(error)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere",), "nowhere: say which layout it has by --format (see --help)"),
        (("nowhere.h5",), "nowhere.h5: no such file"),
        (("marks", "--format", "mnist"), "format must be one of image-set, image-folder, cifar10, cifar100, office31"),
        (
            ("marks", "--format", "image-folder", "--split", "val"),
            "val: no such folder; expected a folder of images per",
        ),
        (("marks", "--format", "image-folder", "--option", "size"), "--option size: expected KEY=VALUE"),
        (
            ("marks", "--format", "image-folder", "--option", "domain=a"),
            "has no option 'domain'; it has size, cache, name",
        ),
        (("marks", "--format", "image-folder", "--set", "colour=1"), "--set colour=1: expected KEY=VALUE with one of"),
        (("marks", "--format", "image-folder", "--set", "batch_size=0"), "batch_size must be at least 1, got 0"),
        (("marks", "--format", "image-folder", "--set", "milestones=[150]"), "such as [0.5,0.75], got (150.0,)"),
        (("marks", "--format", "image-folder", "--set", "graphs=true"), "graphs=true records CUDA graphs"),
        (("marks", "--format", "image-folder", "--weights", "no.pt"), "no.pt: no such file"),
        (("marks", "--format", "image-folder", "--seeds", "a,b"), "--seeds: expected whole numbers with commas"),
        (("marks", "--format", "image-folder", "--seeds", "1,1"), "seeds must be different whole numbers"),
        (("marks", "--format", "image-folder", "--seeds", "1", "--set", "seed=2"), "say the same; give one of them"),
    ],
)
def test_wrong_usage_of_train(
    tmp_path: Path,
    write_folder: Write,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    write_folder("train")
    monkeypatch.chdir(tmp_path)
    small = settings("width=2", "padding=1", "batch_size=24")
    status, printed, error = run("train", *small, *arguments, "--out", "run")
    assert status == 2 and printed == "" and message in one_line(error)
    assert not Path("run").exists()


def test_wrong_usage_of_evaluate(tmp_path: Path, write_folder: Write, run: Run) -> None:
    root = write_folder("test")
    data = (root, "--format", "image-folder")
    network = build_network(NetworkConfig(classes=3, width=2))
    facts = {"class_names": ["bar", "cross", "disc"], "mean": [0.5] * 3, "std": [0.2] * 3}
    path = tmp_path / "network.pt"
    for given, message in (
        ({}, "does not say how images are to be shown to it (without class_names, mean, std)"),
        (facts | {"class_names": ["bar", "disc", "cross"]}, "class 1 of"),
        (facts | {"class_names": ["bar", "cross"]}, "knows 2 classes"),
    ):
        save_network(path, network, given)
        status, _, error = run("evaluate", path, *data)
        assert status == 2 and message in one_line(error)
    save_network(path, network, facts)
    status, _, error = run("evaluate", path, *data, "--batch-size", 0)
    assert status == 2 and "--batch-size must be at least 1, got 0" in one_line(error)
    status, _, error = run("evaluate", root / "test" / "bar" / "0000.jpg", *data)
    assert status == 2 and "not a readable checkpoint" in one_line(error)
    with torch.no_grad():
        network.fc.bias[0] = float("nan")  # type: ignore[union-attr]
    save_network(path, network, facts)
    status, _, error = run("evaluate", path, *data)
    assert status == 1 and "not finite" in one_line(error)
    (root / "test" / "bar" / "0000.jpg").write_bytes(b"\xff\xd8\xffcut")
    status, _, error = run("evaluate", path, *data)
    assert status == 1 and "test/bar/0000.jpg: cannot be decoded" in one_line(error)
