"""Network files: what was saved is loaded, folded networks too; and the weights that networks start from."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from efficiency_core import network_file
from efficiency_core.errors import UsageError, WorkError
from weight_align import fold, is_aligned, weight_align
from weight_align.checkpoint import (
    load_any,
    load_deeplab,
    load_network,
    save_converted,
    save_network,
    start_weights,
    write_weights,
)
from weight_align.networks import Conversion, HeadConfig, Network, NetworkConfig, build_deeplab

Build = Callable[..., Network]
CONFIG = NetworkConfig(5, "resnet18", width=4, gain="nf")
PLAIN = NetworkConfig(5, "resnet18", width=4, norm="bn", align=False)
METADATA = {"class_names": ["a", "b", "c", "d", "e"], "mean": [0.5, 0.5, 0.5]}


@pytest.fixture
def network(built: Build, wake: Callable[[nn.Module], None]) -> Network:
    network = built(CONFIG)
    wake(network)
    return network.eval()


@pytest.fixture
def saved(tmp_path: Path, network: Network) -> Path:
    save_network(tmp_path / "network.safetensors", network, METADATA)
    return tmp_path / "network.safetensors"


def test_what_was_saved_is_loaded(saved: Path, network: Network) -> None:
    before = torch.get_rng_state()
    for loaded in (load_network(saved), load_any(saved)):
        assert loaded.metadata == METADATA and not loaded.network.training and loaded.conversion is None
        assert loaded.network.config == replace(CONFIG, fixup=True)  # the value that None stood for
        state = network.state_dict()
        assert all(torch.equal(value, state[name]) for name, value in loaded.network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), before)


def test_a_folded_network_is_loaded_as_a_plain_one(
    tmp_path: Path, network: Network, images: Callable[..., Tensor]
) -> None:
    before = network(images())
    save_network(tmp_path / "folded.safetensors", fold(network))
    loaded = load_network(tmp_path / "folded.safetensors").network
    assert not loaded.config.align and loaded.config.fixup and not is_aligned(loaded)
    assert torch.equal(loaded(images()), before)


def test_a_segmentation_network(tmp_path: Path, images: Callable[..., Tensor]) -> None:
    path, head = tmp_path / "network.safetensors", HeadConfig(channels=8, rates=(1, 2))
    made = build_deeplab(replace(CONFIG, norm="gn", width=2, stem="imagenet"), head).eval()
    save_network(path, made, METADATA)
    for loaded in (load_deeplab(path), load_any(path)):
        assert loaded.network.head_config == head and loaded.metadata == METADATA
        assert torch.equal(loaded.network(images(1, 64)), made(images(1, 64)))
    with pytest.raises(UsageError, match=r"a network of another kind \(format 'weight_align.segmentation/2'"):
        load_network(path)


def test_network_files_have_one_suffix(tmp_path: Path, network: Network) -> None:
    with pytest.raises(UsageError, match=r"network\.pt: a network is written as safetensors; name the file NAME\.safe"):
        save_network(tmp_path / "network.pt", network)
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(WorkError, match="a folder has this name"):
        save_network(tmp_path / "folder.safetensors", network)


@pytest.mark.parametrize(("config", "message"), [
    (asdict(CONFIG) | {"depth": 3}, r"another version of this package \(settings that differ: depth\)"),
    (asdict(CONFIG) | {"width": -1}, "its settings make no sense"),
    (asdict(CONFIG) | {"width": 8}, "its weights do not fit its own configuration"),
    (asdict(CONFIG) | {"align": False}, "its weights do not fit its own configuration"),
    (asdict(CONFIG) | {"classes": 0}, "its weights do not fit its own configuration"),
])  # fmt: skip
def test_files_of_something_else(saved: Path, network: Network, config: dict[str, Any], message: str) -> None:
    network_file.save_network(saved, "weight_align.network/2", config, {}, network.state_dict())
    with pytest.raises(UsageError, match=message):
        load_network(saved)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_network_starts_from_a_file(tmp_path: Path, built: Build, suffix: str) -> None:
    """Of a bare state_dict, of one inside a checkpoint of others, and of a network file."""
    state = built(PLAIN, seed=3).state_dict()
    write_weights(tmp_path / f"state{suffix}", state)
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "theirs.pt")
    save_network(tmp_path / "network.safetensors", built(PLAIN, seed=3))
    for name in (f"state{suffix}", "theirs.pt", "network.safetensors"):
        found = start_weights(tmp_path / name, PLAIN)
        assert found is not None and set(found) == set(state)
        assert all(torch.equal(found[key], value) for key, value in state.items())
    assert start_weights(None, PLAIN) is None


def test_the_alignment_must_be_the_same(saved: Path) -> None:
    assert start_weights(saved, CONFIG) is not None
    for config, message in (
        (PLAIN, "is of a network with WeightAlign; set align=true, or fold it first"),
        (replace(CONFIG, gain="thesis"), r"its WeightAlign has other settings: gain=nf \(asked for thesis\)"),
    ):
        with pytest.raises(UsageError, match=message):
            start_weights(saved, config)


def test_files_that_are_no_weights(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "run",))

    torch.save({"a": Trap()}, tmp_path / "trap.pt")
    torch.save({"a": 1}, tmp_path / "numbers.pt")
    for name in ("text.pt", "text.safetensors"):
        (tmp_path / name).write_text("text")
    for name, message in (
        ("none.pt", "no such file"),
        ("text.pt", "not readable weights"),
        ("text.safetensors", "not readable weights"),
        ("trap.pt", r"not readable weights \(not a file of tensors\)"),
        ("numbers.pt", "expected a dictionary of tensors"),
    ):
        with pytest.raises(UsageError, match=rf"{name}: {message}"):
            start_weights(tmp_path / name, PLAIN)
    assert not (tmp_path / "run").exists()


def test_weights_of_torchvision_by_name() -> None:
    pytest.importorskip("torchvision")
    with pytest.raises(UsageError, match=r"are for stem=imagenet, width=64 and norm=bn .* norm=gn; give"):
        start_weights("IMAGENET1K_V1", replace(CONFIG, norm="gn"))
    with pytest.raises(UsageError, match=r"weights of resnet18 must be a file .* IMAGENET1K_V1, got 'V9'"):
        start_weights("V9", NetworkConfig(5, "resnet18", "imagenet", norm="bn"))


@pytest.mark.parametrize(("conversion", "config", "message"), [
    (Conversion(network="resnet18"), NetworkConfig(5, "resnet50"),
     r"is a resnet18 of torchvision; set backbone=resnet18, stem=imagenet, norm=bn$"),
    (Conversion(network="vgg16"), NetworkConfig(5, "vgg16", "imagenet", 8), "is a vgg16 of torchvision; set width=64$"),
    (Conversion(network="vgg16_bn"), NetworkConfig(5, "vgg16", "imagenet"), "is a vgg16_bn of torchvision; set norm=bn$"),
    (Conversion(network="alexnet"), CONFIG, r"train this alexnet in your own code: weight_align\.checkpoint\.load_any"),
    (Conversion(network="resnet18", exclude=("layer4",)), CONFIG, "the commands train .* all layers aligned but the"),
    (Conversion(network="resnet18", classifier=True), CONFIG, "the commands train .* all layers aligned but the"),
    (Conversion(network="resnet18", gain="nf"), NetworkConfig(5, "resnet18", "imagenet", norm="bn"),
     r"its WeightAlign has other settings: gain=nf \(asked for thesis\)"),
])  # fmt: skip
def test_converted_networks_of_torchvision_that_the_commands_do_not_train(
    tmp_path: Path, conversion: Conversion, config: NetworkConfig, message: str
) -> None:
    path = tmp_path / "start.safetensors"
    save_converted(path, weight_align(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))), conversion)
    with pytest.raises(UsageError, match=message):
        start_weights(path, config)
