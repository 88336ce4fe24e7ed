"""The commands train and evaluate: from a file of images to scores, and errors of one line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision

from outlier_matching.checkpoint import load_network, save_network
from outlier_matching.networks.network import MatchingNetwork
from outlier_matching.networks.weights import rgb_weights

Write = Callable[..., Path]
Run = Callable[..., tuple[int, str, str]]
SMALL = [
    "--backbone", "small", "--embedding", "8", "--width", "16", "--trained", "all", "--size", "24", "--epochs", "1",
    "--batch", "8",
]  # fmt: skip


def one_line(error: str) -> str:
    assert error.startswith("error: ") and error.count("\n") == 1 and "Traceback" not in error
    return error


@pytest.fixture
def checkpoint(tmp_path: Path, network: MatchingNetwork) -> Path:
    save_network(tmp_path / "network.safetensors", network, method="siamese")
    return tmp_path / "network.safetensors"


def test_train_then_evaluate(tmp_path: Path, write_images: Write, run: Run) -> None:
    write_images("train.h5", attributes={"split": "train"})
    write_images("test.h5", seed=1, attributes={"split": "test"})
    out = tmp_path / "run"
    status, printed, _ = run("train", tmp_path, "--out", out, "--validation-split", "test", *SMALL)
    assert status == 0
    values = dict(line.rsplit(maxsplit=1) for line in printed.splitlines()[:-1])
    assert list(values) == [
        "loss", "contrastive", "mmd", "entropy", "pseudo inliers", "pseudo outliers", "seconds per epoch",
        "source images", "target images",
    ]  # fmt: skip
    assert int(values["pseudo inliers"]) + int(values["pseudo outliers"]) == 24 == int(values["target images"])
    assert printed.splitlines()[-1] == str(out / "network.safetensors")
    assert load_network(out / "best.safetensors").method == "da_outlier_detection"

    network = out / "network.safetensors"
    status, printed, _ = run("evaluate", network, tmp_path, "--out", tmp_path / "scores.json")
    assert status == 0
    assert [line.split()[0] for line in printed.splitlines()] == ["map", "map", "map", "outliers", "queries"]
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["method"] == "da_outlier_detection" and scores["queries"]["target"] == 24
    assert f"map T->S  {scores['map_ts']:.4f}" in printed
    assert 0 < scores["map_ss"] <= 1 and 0 < scores["map_tt"] <= 1
    assert len(scores["precision_recall"]["recall"]) == 11
    counts = scores["outliers"]
    assert sum(counts[name] for name in ("true_positives", "false_negatives")) == 4
    # The protocol of the release, by name.
    status, again, _ = run("evaluate", network, tmp_path, "--protocol", "author", "--queries", "all")
    assert status == 0 and again != printed and again.splitlines()[-1] == "queries   24 of 24 target images"


def test_folders_of_two_domains_and_a_method_without_outliers(tmp_path: Path, write_pictures: Write, run: Run) -> None:
    for number, name in enumerate(("photo/ant", "photo/bee", "paint/ant", "paint/bee")):
        write_pictures(tmp_path / "pictures" / name, 6, seed=number)
    data = (tmp_path / "pictures", "--format", "folder", "--option", "domains=photo,paint")
    arguments = ("train", *data, "--target", "paint", "--split", "all", "--out", tmp_path / "run", *SMALL)
    status, printed, _ = run(*arguments, "--batch", "4", "--method", "siamese")
    assert status == 0 and "mmd" not in printed and "pseudo" not in printed
    assert "source images      12" in printed and "target images      0" in printed
    status, printed, _ = run("evaluate", tmp_path / "run" / "network.safetensors", *data)
    assert status == 0 and "queries   2 of 2 target images" in printed and "outliers" not in printed


def test_weights_of_a_torchvision_network_for_caffe(tmp_path: Path, write_images: Write, run: Run) -> None:
    """What the option does is what rgb_weights does; frozen layers show it."""
    data, weights = write_images(size=64), tmp_path / "squeezenet.pt"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = torchvision.models.squeezenet1_1(weights=None).state_dict()
    torch.save(state, weights)
    arguments = (
        "train", data, *SMALL, "--backbone", "squeezenet1_1", "--trained", "thesis", "--size", "64", "--steps", "1",
        "--method", "siamese", "--weights",
    )  # fmt: skip
    for name, options, first in (("rgb", (), state), ("bgr", ("--weights-input", "bgr"), rgb_weights(state))):
        status, _, error = run(*arguments, weights, "--out", tmp_path / name, *options)
        assert status == 0, error
        saved = load_network(tmp_path / name / "network.safetensors").network.state_dict()
        for entry in ("features.0.weight", "features.0.bias", "features.10.squeeze.weight"):
            assert torch.equal(saved[f"backbone.{entry}"], first[entry])
        assert not torch.equal(saved["backbone.features.12.squeeze.weight"], state["features.12.squeeze.weight"])
    status, _, error = run(*arguments, weights, "--out", tmp_path / "bgr")
    assert status == 2 and "belongs to a run with other settings" in one_line(error) and "weights_input" in error
    status, _, error = run(*arguments, "IMAGENET1K_V1", "--out", tmp_path / "no", "--weights-input", "bgr")
    assert status == 2 and "IMAGENET1K_V1: weights_input=bgr needs weights from a file" in one_line(error)
    own = tmp_path / "bgr" / "network.safetensors"
    status, _, error = run(*arguments, own, "--out", tmp_path / "no", "--weights-input", "bgr")
    assert status == 2 and "network.safetensors: the state lacks 'features.0.weight'" in one_line(error)
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(("arguments", "message"), [
    (("nowhere.h5",), "nowhere.h5: no such file; expected an image-set file"),
    (("..",), "..: name its layout by --format (see --help)"),
    (("train.h5", "--option", "size"), "--option: expected KEY=VALUE, got 'size'"),
    (("train.h5", "--option", "size=3"), "format image-set has no option 'size'; it has none"),
    (("train.h5", "--target", "paint"), "Marks has no domain 'paint'; it has source, target"),
    (("train.h5", "--colour", "1"), "unknown option --colour"),
    (("train.h5", "--weights", "no.pth"), "no.pth: no such file; expected weights"),
    (("train.h5", "--outlier-share", "0.9", "--batch", "64"), "a batch needs 64"),
])  # fmt: skip
def test_wrong_usage_of_train(
    write_images: Write, run: Run, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    folder = write_images("data/train.h5").parent
    monkeypatch.chdir(folder)
    status, printed, error = run("train", *arguments[:1], "--out", "run", *SMALL, *arguments[1:])
    assert status == 2 and printed == "" and message in one_line(error)
    assert not Path("run").exists()


def test_wrong_usage_of_evaluate(write_images: Write, run: Run, checkpoint: Path) -> None:
    path = write_images("test.h5", target=0, outliers=0)
    status, _, error = run("evaluate", checkpoint, path)
    assert status == 2 and "Marks has no image in domain target" in one_line(error)
    status, _, error = run("evaluate", path, path)
    assert status == 2 and "not a readable network file" in one_line(error)


def test_a_damaged_network_is_told(write_images: Write, run: Run, checkpoint: Path, network: MatchingNetwork) -> None:
    with torch.no_grad():
        network.fc8.bias[0] = float("nan")
    save_network(checkpoint, network, method="siamese")
    status, _, error = run("evaluate", checkpoint, write_images(), "--split", "train")
    assert status == 1 and "not finite" in one_line(error)
