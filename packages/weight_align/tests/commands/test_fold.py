"""``fold``: what it compares, writes and refuses."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from weight_align import fold, is_aligned
from weight_align.checkpoint import load_any, load_network, save_network
from weight_align.networks import HeadConfig, Network, NetworkConfig, build_deeplab

Run = Callable[..., tuple[int, str, str]]
Draw = Callable[..., Tensor]
METADATA = {"class_names": list("abcde")}


@pytest.fixture
def make(built: Callable[..., Network], wake: Callable[[nn.Module], None]) -> Callable[..., Network]:
    """An aligned network in eval mode without zeros."""

    def made(**changes: Any) -> Network:
        network = built(replace(NetworkConfig(5, "resnet18", width=4, norm="bn"), **changes)).eval()
        wake(network)
        return network

    return made


def refused(run: Run, *arguments: object, status: int = 2) -> str:
    code, printed, error = run("fold", *arguments)
    assert code == status and not printed and error.startswith("error: ") and error.count("\n") == 1
    return error


@pytest.mark.parametrize("changes", [
    {"norm": "none"},
    {"norm": "gn", "stem": "imagenet", "backbone": "resnet50"},
    {"norm": "none", "backbone": "vgg16", "gain": "nf"}, {"scale": "none", "variance": False},
])  # fmt: skip
def test_networks_of_every_kind(
    run: Run, tmp_path: Path, make: Callable[..., Network], images: Draw, changes: dict[str, Any]
) -> None:
    network, path = make(**changes), tmp_path / "network.safetensors"
    save_network(path, network, METADATA)
    status, printed, _ = run("fold", path, "--out", tmp_path / "folded.safetensors")
    lines = printed.splitlines()
    assert status == 0 and lines[0].startswith("folded  ") and float(lines[1].split()[1]) <= 1e-6
    assert lines[2] == str(tmp_path / "folded.safetensors")
    folded = load_network(lines[2])
    assert folded.metadata == METADATA and not is_aligned(folded.network)
    assert folded.network.config == replace(network.config, align=False, fixup=network.config.fixed_up)
    pixels = images(2, 32 if network.config.stem == "cifar" else 64)
    before = network(pixels)
    assert before.abs().max() > 0 and torch.equal(folded.network(pixels), before)


def test_bare_states_and_folding_twice(run: Run, tmp_path: Path, make: Callable[..., Network]) -> None:
    network, path, state = make(), tmp_path / "network.safetensors", tmp_path / "state.pt"
    save_network(path, network)
    assert "NAME.safetensors, or add --state" in refused(run, path, "--out", state)
    assert run("fold", path, "--out", state, "--state")[0] == 0
    plain = fold(network).state_dict()
    bare = torch.load(state, weights_only=True)
    assert list(bare) == list(plain) and all(torch.equal(bare[name], value) for name, value in plain.items())
    assert "network.safetensors: is the input CHECKPOINT, which --out would overwrite" in refused(
        run, path, "--out", path
    )
    folded = tmp_path / "folded.safetensors"
    assert run("fold", path, "--out", folded)[0] == 0
    assert "folded.safetensors: has no aligned layer; was it folded before?" in refused(run, folded, "--out", path)
    assert "state.pt: not a readable network file" in refused(run, state, "--out", path)
    assert "no such file" in refused(run, tmp_path / "none.safetensors", "--out", path)


@pytest.mark.parametrize(("size", "change", "written"), [(1e6, 4e-6, True), (1e-6, 1e-3, False)])
def test_a_fold_that_changes_outputs_is_not_written(
    run: Run, tmp_path: Path, make: Callable[..., Network], monkeypatch: pytest.MonkeyPatch, size: float, change: float,
    written: bool,
) -> None:  # fmt: skip
    """The change counts relative to the largest output, whatever its size."""
    path, out = tmp_path / "network.safetensors", tmp_path / "out.safetensors"

    def times(network: Network, factor: float) -> Network:
        with torch.no_grad():
            for parameter in network.get_submodule("fc").parameters():
                parameter.mul_(factor)
        return network

    save_network(path, times(make(), size))
    monkeypatch.setattr("weight_align.commands.fold.fold", lambda network: times(fold(network), 1 + change))
    if written:
        status, printed, _ = run("fold", path, "--out", out)
        assert status == 0 and abs(float(printed.splitlines()[1].split()[1]) - change) < 4e-7
    else:
        expected = f"network.safetensors: folding changed the outputs by {change:.1e} of the largest, not written"
        assert expected in refused(run, path, "--out", out, status=1)
    assert out.exists() == written


def test_a_network_whose_outputs_are_not_finite_is_not_written(
    run: Run, tmp_path: Path, make: Callable[..., Network]
) -> None:
    network, path = make(), tmp_path / "network.safetensors"
    nn.init.constant_(network.fc.bias, torch.nan)  # type: ignore[arg-type, union-attr]
    save_network(path, network)
    error = refused(run, path, "--out", tmp_path / "out.safetensors", status=1)
    assert "changed the outputs by nan" in error and not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("name", ["squeezenet1_1", pytest.param("lraspp_mobilenet_v3_large", marks=pytest.mark.slow)])
def test_networks_of_torchvision_are_written_as_their_state(run: Run, tmp_path: Path, name: str) -> None:
    """The second returns a dictionary of scores of pixels."""
    models = pytest.importorskip("torchvision").models
    options = {"weights_backbone": None} if name.startswith("lraspp") else {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = models.get_model(name, weights=None, num_classes=3, **options).eval()
    start, aligned, folded = tmp_path / "start.pt", tmp_path / "aligned.safetensors", tmp_path / "folded.pt"
    torch.save(network.state_dict(), start)
    arguments = ["--network", name, "--classes", "3", "--no-centre"]
    assert run("convert", start, *arguments, "--out", aligned)[0] == 0
    status, printed, _ = run("fold", aligned, "--out", folded)
    assert status == 0 and float(printed.splitlines()[1].split()[1]) <= 1e-6
    state = network.state_dict()
    found = torch.load(folded, weights_only=True)
    assert list(found) == list(state)
    for key, value in found.items():
        torch.testing.assert_close(value, state[key], rtol=1e-4, atol=1e-6)


def test_folding_a_segmentation(run: Run, tmp_path: Path, images: Draw) -> None:
    config = NetworkConfig(5, "resnet18", width=4, stem="imagenet", norm="bn")
    network = build_deeplab(config, HeadConfig(8, (1, 2))).eval()
    save_network(tmp_path / "network.safetensors", network, METADATA)
    assert run("fold", tmp_path / "network.safetensors", "--out", tmp_path / "folded.safetensors")[0] == 0
    folded = load_any(tmp_path / "folded.safetensors")
    assert folded.metadata == METADATA and not is_aligned(folded.network)
    torch.testing.assert_close(folded.network(images(2, 64)), network(images(2, 64)))
