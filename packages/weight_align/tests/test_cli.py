"""The command: exit statuses, errors of one line, convert and fold from end to end."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from weight_align import is_aligned
from weight_align.checkpoint import load_network, save_network
from weight_align.cli import resolve_device
from weight_align.converted import load_converted
from weight_align.deeplab import build_deeplab, load_deeplab, save_deeplab
from weight_align.errors import UsageError
from weight_align.networks import NetworkConfig, build_network

pytestmark = pytest.mark.usefixtures("one_thread")
Run = Callable[..., tuple[int, str, str]]
CONFIG = NetworkConfig(5, width=4, norm="bn")
FACTS = {"class_names": ["a", "b", "c", "d", "e"]}


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_network(tmp_path / "plain.pt", build_network(CONFIG), FACTS)
    return tmp_path / "plain.pt"


def one_line(error: str) -> str:
    assert error.startswith("error: ") and error.count("\n") == 1 and "Traceback" not in error
    return error


def images(size: int = 32) -> torch.Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def test_a_process_of_its_own_flushes_denormal_numbers_and_no_other(run: Run) -> None:
    code = (
        "import sys, torch; from weight_align import cli; sys.argv[1:] = ['--help']\n"
        "try: cli.command()\n"
        "finally: print(bool(torch.tensor(1e-45) > 0))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
    run("--help")
    assert torch.tensor(1e-45) > 0


def test_help(run: Run) -> None:
    assert run("--help")[0] == 0
    for command in ("convert", "fold", "train", "evaluate"):
        status, out, _ = run(command, "--help")
        assert status == 0 and "--device" in out and "--debug" in out
    assert run()[0] == 2


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == resolve_device("cpu") == "cpu"
    with pytest.raises(UsageError, match="finds no CUDA device"):
        resolve_device("cuda")
    with pytest.raises(UsageError, match="must be auto, cpu or cuda"):
        resolve_device("tpu")


def test_convert_and_fold(run: Run, plain: Path, tmp_path: Path) -> None:
    """There and back: the folded network computes what the aligned one did, and has the facts of the first."""
    aligned, folded, state = (tmp_path / f"{name}.pt" for name in ("aligned", "folded", "state"))
    status, out, _ = run("convert", plain, "--out", aligned)
    assert status == 0 and out.splitlines() == ["aligned  20 layers", "plain    fc", str(aligned)]
    loaded = load_network(aligned)
    assert is_aligned(loaded.network) and loaded.network.config.align and loaded.facts == FACTS
    status, out, _ = run("fold", aligned, "--out", folded)
    lines = out.splitlines()
    assert status == 0 and lines[0] == "folded  20 layers" and lines[2] == str(folded)
    assert float(lines[1].split()[1]) <= 1e-6
    network = load_network(folded).network
    assert not is_aligned(network) and load_network(folded).facts == FACTS
    assert torch.equal(network(images()), loaded.network(images()))
    assert run("fold", aligned, "--out", state, "--state")[0] == 0
    bare = torch.load(state, weights_only=True)
    assert list(bare) == list(network.state_dict()) and torch.equal(bare["conv1.weight"], network.conv1.weight)  # type: ignore[union-attr]


def test_options_of_convert(run: Run, plain: Path, tmp_path: Path) -> None:
    out = tmp_path / "aligned.pt"
    assert run("convert", plain, "--out", out, "--gain", "nf", "--scale", "layer", "--keep", "weights")[0] == 0
    config = load_network(out).network.config
    assert (config.gain, config.scale, config.centre, config.variance) == ("nf", "layer", True, True)
    assert run("convert", plain, "--out", out, "--no-variance", "--scale", "none")[0] == 0
    assert load_network(out).network.config.variance is False


def test_what_convert_refuses(run: Run, plain: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.pt"
    assert run("convert", plain, "--out", tmp_path / "aligned.pt")[0] == 0
    with torch.random.fork_rng():
        save_network(tmp_path / "wn.pt", build_network(replace(CONFIG, norm="wn")))
    cases = [
        ((tmp_path / "none.pt",), "none.pt: no such file"),
        ((tmp_path / "aligned.pt",), "aligned.pt: is aligned already; fold it first"),
        ((tmp_path / "wn.pt",), "norm=wn and align both replace the weight"),
        ((plain, "--exclude", "conv1"), "--exclude and --classifier are for networks of torchvision"),
        ((plain, "--scale", "layer"), "--scale layer cannot keep each filter's deviation; add --keep weights"),
        ((plain, "--no-centre", "--no-variance"), "align has nothing to do"),
        ((plain, "--device", "tpu"), "--device must be auto, cpu or cuda"),
    ]
    for arguments, message in cases:
        status, _, error = run("convert", *arguments, "--out", out)
        assert status == 2 and message in one_line(error)
        assert not out.exists()


def test_what_fold_refuses(run: Run, plain: Path, tmp_path: Path) -> None:
    for path, message in (
        (plain, "has no aligned layer; was it folded before?"),
        (tmp_path / "none.pt", "no such file"),
    ):
        status, _, error = run("fold", path, "--out", tmp_path / "out.pt")
        assert status == 2 and message in one_line(error) and not (tmp_path / "out.pt").exists()
    status, _, error = run("fold", tmp_path / "none.pt", "--out", tmp_path / "out.pt", "--debug")
    assert status == 2 and "Traceback" in error


def test_an_output_that_cannot_be_written(run: Run, plain: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    status, _, error = run("convert", plain, "--out", tmp_path / "folder")
    assert status == 1 and "a folder has this name" in one_line(error)


def test_missing_extras_are_named(run: Run, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(path: object) -> None:
        raise ModuleNotFoundError("No module named 'torchvision'", name="torchvision")

    monkeypatch.setattr("weight_align.checkpoint.load_network", load)
    status, _, error = run("convert", plain, "--out", tmp_path / "out.pt")
    assert status == 2 and 'this command needs torchvision: pip install "weight_align[train]"' in one_line(error)


@pytest.mark.slow
def test_networks_of_torchvision(run: Run, tmp_path: Path) -> None:
    models = pytest.importorskip("torchvision").models
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = models.mobilenet_v3_small(weights=None, num_classes=7).eval()
    torch.save(network.state_dict(), tmp_path / "state.pt")
    aligned, folded = tmp_path / "aligned.pt", tmp_path / "folded.pt"
    options = ["--network", "mobilenet_v3_small", "--classes", "7", "--out", aligned]
    status, out, _ = run("convert", tmp_path / "state.pt", *options, "--exclude", "features.0")
    assert status == 0 and "plain    features.0.0, classifier.3" in out
    converted, how = load_converted(aligned)
    assert how.network == "mobilenet_v3_small" and how.exclude == ("features.0",) and is_aligned(converted)
    status, out, _ = run("fold", aligned, "--out", folded)
    assert status == 0
    network.load_state_dict(torch.load(folded, weights_only=True))  # torchvision's own, without this package
    torch.testing.assert_close(network(images(224)), converted(images(224)), rtol=1e-5, atol=1e-6)
    for change, message in (
        (["--network", "resnet19"], "torchvision has no network 'resnet19'"),
        (["--classes", "8"], "the weights do not fit mobilenet_v3_small with 8 classes"),
        (["--classes", "0"], "--classes must be at least 1"),
        (["--exclude", "fc"], "exclude: 'fc' matches no module"),
    ):
        status, _, error = run("convert", tmp_path / "state.pt", *options, *change)
        assert status == 2 and message in one_line(error)


@pytest.mark.slow
def test_folding_a_segmentation(run: Run, tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_deeplab(NetworkConfig(5, width=4, stem="imagenet", norm="bn", align=True)).eval()
    save_deeplab(tmp_path / "network.pt", network, {"class_names": list("abcde")})
    assert run("fold", tmp_path / "network.pt", "--out", tmp_path / "folded.pt")[0] == 0
    folded, facts = load_deeplab(tmp_path / "folded.pt")
    assert facts == {"class_names": list("abcde")} and not is_aligned(folded)
    assert isinstance(folded, nn.Module)
    torch.testing.assert_close(folded(images(64)), network(images(64)))
