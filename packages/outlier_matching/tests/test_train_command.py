"""The commands train and evaluate: from a file of images to figures, and errors of one line."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from outlier_matching.checkpoint import load_network, save_network
from outlier_matching.cli import main
from outlier_matching.networks import NetworkConfig, build_network

pytestmark = pytest.mark.usefixtures("one_thread")
Write = Callable[..., Path]
Run = Callable[..., tuple[int, str, str]]
SMALL = ["backbone=small", "embedding=8", "width=16", "trained=all", "size=24", "epochs=1", "batch=8"]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command; returns exit status, standard output and standard error."""

    def command(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, captured.out, captured.err

    return command


def settings(*changes: str) -> list[str]:
    return [word for assignment in (*SMALL, *changes) for word in ("--set", assignment)]


def one_line(error: str) -> str:
    assert error.startswith("error: ") and error.count("\n") == 1 and "Traceback" not in error
    return error


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_network(NetworkConfig("small", 8, 16, trained="all", size=24))
    save_network(tmp_path / "network.pt", network, method="siamese")
    return tmp_path / "network.pt"


def test_train_then_evaluate(tmp_path: Path, write_images: Write, run: Run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    write_images("train.h5", attributes={"split": "train"})
    write_images("test.h5", seed=1, attributes={"split": "test"})
    out = tmp_path / "run"
    status, printed, _ = run("train", tmp_path, "--out", out, "--device", "cpu", *settings())
    assert status == 0
    values = dict(line.rsplit(maxsplit=1) for line in printed.splitlines()[:-1])
    assert list(values) == [
        "loss", "contrastive", "mmd", "entropy", "pseudo inliers", "pseudo outliers", "seconds per epoch",
        "source images", "target images",
    ]  # fmt: skip
    assert int(values["pseudo inliers"]) + int(values["pseudo outliers"]) == 24 == int(values["target images"])
    assert printed.splitlines()[-1] == str(out / "network.pt")
    assert any("epoch 1/1  step 3/3" in message for message in caplog.messages)

    status, printed, _ = run(
        "evaluate", out / "network.pt", tmp_path, "--device", "cpu", "--out", tmp_path / "scores.json"
    )
    assert status == 0
    assert [line.split()[0] for line in printed.splitlines()] == ["map", "map", "map", "outliers", "queries"]
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["method"] == "da_outlier_detection" and scores["queries"]["target"] == 24
    assert f"map T->S  {scores['map_ts']:.4f}" in printed
    assert 0 < scores["map_ss"] <= 1 and 0 < scores["map_tt"] <= 1
    assert len(scores["precision_recall"]["recall"]) == 11
    counts = scores["outliers"]
    assert sum(counts[name] for name in ("true_positives", "false_negatives")) == 4
    # The rule of the paper's test set: another protocol, by name.
    status, again, _ = run(
        "evaluate", out / "network.pt", tmp_path, "--device", "cpu", "--set", "protocol=author", "--set", "queries=all"
    )
    assert status == 0 and again != printed and again.splitlines()[-1] == "queries   24 of 24 target images"


def test_methods_without_outliers_print_none(tmp_path: Path, write_images: Write, run: Run) -> None:
    path = write_images()
    arguments = ("train", path, "--out", tmp_path / "run", "--device", "cpu")
    status, printed, _ = run(*arguments, *settings("method=siamese"))
    assert status == 0 and "mmd" not in printed and "pseudo" not in printed and "target images      0" in printed
    status, printed, _ = run("evaluate", tmp_path / "run" / "network.pt", path, "--split", "train", "--device", "cpu")
    assert status == 0 and "outliers" not in printed and "queries   24 of 24" in printed


def test_folders_of_two_domains(tmp_path: Path, run: Run) -> None:
    for domain, ink in (("photo", 0), ("paint", 90)):
        for number, name in enumerate(("ant", "bee")):
            for k in range(6):
                image = Image.new("L", (30, 20 + k), 255)
                image.paste(ink, (2 + k, 3, 12 + 10 * number, 9))
                path = tmp_path / "pictures" / domain / name / f"{k}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                image.save(path)
    data = (tmp_path / "pictures", "--format", "folder", "--option", "domains=photo,paint", "--device", "cpu")
    arguments = ("train", *data, "--target", "paint", "--split", "all", "--out", tmp_path / "run")
    status, printed, _ = run(*arguments, *settings("batch=4", "method=siamese_da"))
    assert status == 0 and "source images      12" in printed and "target images      12" in printed
    network = load_network(tmp_path / "run" / "network.pt")
    assert network.method == "siamese_da"
    status, printed, _ = run("evaluate", tmp_path / "run" / "network.pt", *data)
    assert status == 0 and "queries   2 of 2 target images" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.h5",), "nowhere.h5: no such file; expected an image-set HDF5 file"),
        (("..",), "..: say which layout it has by --format (see --help)"),
        (("..", "--format", "voc"), "format must be one of image-set, office31, pittsburgh, folder, got 'voc'"),
        (("train.h5", "--option", "size"), "--option size: expected KEY=VALUE"),
        (("train.h5", "--option", "size=3"), "format image-set has no option 'size'; it has none"),
        (("train.h5", "--target", "paint"), "Marks has no domain 'paint'; it has source, target"),
        (("train.h5", "--set", "colour=1"), "--set colour=1: expected KEY=VALUE with one of backbone, embedding"),
        (("train.h5", "--set", "batch=7"), "--set: batch must be even and 4 or more, got 7"),
        (("train.h5", "--weights", "no.pth"), "no.pth: no such file; expected weights written by torch.save"),
        (("train.h5", "--set", "outlier_share=0.9", "--set", "batch=64"), "a batch needs 64"),
    ],
)
def test_wrong_usage_of_train(
    write_images: Write, run: Run, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    folder = write_images("data/train.h5").parent
    monkeypatch.chdir(folder)
    status, printed, error = run(
        "train", *arguments[:1], "--out", "run", "--device", "cpu", *settings(), *arguments[1:]
    )
    assert status == 2 and printed == "" and message in one_line(error)
    assert not Path("run").exists()


def test_wrong_usage_of_evaluate(tmp_path: Path, write_images: Write, run: Run, checkpoint: Path) -> None:
    path = write_images("test.h5", target=0, outliers=0)
    status, _, error = run("evaluate", checkpoint, path, "--device", "cpu")
    assert status == 2 and "Marks has no image in domain target" in one_line(error)
    status, _, error = run("evaluate", checkpoint, path, "--device", "cpu", "--set", "protocol=mine")
    assert status == 2 and "--set protocol: expected one of full, author, got mine" in one_line(error)
    status, _, error = run("evaluate", path, path, "--device", "cpu")
    assert status == 2 and "not a readable checkpoint" in one_line(error)


def test_a_damaged_network_is_told(tmp_path: Path, write_images: Write, run: Run, checkpoint: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["model"]["fc8.bias"][0] = float("nan")
    torch.save(content, checkpoint)
    status, _, error = run("evaluate", checkpoint, write_images(), "--split", "train", "--device", "cpu")
    assert status == 1 and "not finite" in one_line(error)
