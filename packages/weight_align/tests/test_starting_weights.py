"""Weights that networks of the factory start from."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from weight_align import fold, is_aligned, weight_align
from weight_align.checkpoint import save_network
from weight_align.errors import UsageError
from weight_align.networks import Network, NetworkConfig, build_network
from weight_align.parametrization import alignment_of

pytestmark = pytest.mark.usefixtures("one_thread")
Build = Callable[..., Network]
Draw = Callable[..., Tensor]
SMALL = NetworkConfig(5, width=4)


def test_the_weights_of_a_checkpoint(built: Build, images: Draw, tmp_path: Path) -> None:
    for config in (
        SMALL,
        replace(SMALL, norm="bn", align=True),
        replace(SMALL, backbone="vgg16", align=True, scale="none"),
    ):
        saved = built(config, seed=3).eval()
        save_network(tmp_path / "network.pt", saved)
        other = built(config, tmp_path / "network.pt").eval()
        assert torch.equal(other(images()), saved(images()))


@pytest.mark.parametrize("backbone", ["vgg16", "resnet18"])
@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_another_number_of_classes(built: Build, images: Draw, tmp_path: Path, backbone: Any, stem: Any) -> None:
    config = NetworkConfig(5, backbone, stem, width=2, norm="bn", align=True)
    saved = built(config, seed=3).eval()
    save_network(tmp_path / "network.pt", saved)
    other = built(replace(config, classes=9), tmp_path / "network.pt").eval()
    fresh = built(replace(config, classes=9)).eval()
    assert torch.equal(other.forward_features(images(2, 64)), saved.forward_features(images(2, 64)))
    head = "fc.weight" if backbone == "resnet18" else "classifier.weight" if stem == "cifar" else "classifier.6.weight"
    assert torch.equal(other.state_dict()[head], fresh.state_dict()[head])


def test_plain_weights_start_an_aligned_network(built: Build, images: Draw, tmp_path: Path) -> None:
    """Thesis 5.4.3: a trained BN network is fine-tuned with WA. Each filter keeps its deviation."""
    plain = built(replace(SMALL, norm="bn"), seed=3)
    save_network(tmp_path / "network.pt", plain)
    aligned = built(replace(SMALL, norm="bn", align=True), tmp_path / "network.pt")
    assert is_aligned(aligned)
    expected = weight_align(copy.deepcopy(plain), keep="function")
    torch.testing.assert_close(aligned.eval()(images()), expected.eval()(images()))
    # In training mode batch norm divides whatever the scale is away again, so only the means of filters matter.
    one = built(replace(SMALL, norm="bn", align=True, scale="none"), tmp_path / "network.pt")
    torch.testing.assert_close(one.train()(images()), aligned.train()(images()), rtol=1e-2, atol=1e-2)


def test_a_folded_checkpoint_starts_an_aligned_network_with_the_same_outputs(
    built: Build, images: Draw, tmp_path: Path
) -> None:
    config = replace(SMALL, norm="gn", align=True)
    saved = built(config, seed=3)
    for layer in saved.modules():
        found = alignment_of(layer)
        if found is not None and found.scale is not None:
            nn.init.uniform_(found.scale, 0.5, 2)
    before = saved(images())
    save_network(tmp_path / "network.pt", fold(saved))
    torch.testing.assert_close(built(config, tmp_path / "network.pt")(images()), before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "other", "message"),
    [
        ({"align": True}, {}, r"is of a network with WeightAlign; set align=true, or fold it first"),
        (
            {"align": True},
            {"align": True, "gain": "nf"},
            r"its WeightAlign is another one: gain=thesis \(asked for nf\)",
        ),
        ({"norm": "bn"}, {}, r"does not fit the network; it lacks 'bias1'"),
        ({"norm": "bn"}, {"norm": "gn"}, r"it has 'bn1.running_mean', which the network has not"),
        ({}, {"width": 8}, r"has another shape of 'conv1.weight': \(4, 3, 3, 3\), not \(8, 3, 3, 3\)"),
    ],
)
def test_weights_that_do_not_fit(
    built: Build, tmp_path: Path, config: dict[str, Any], other: dict[str, Any], message: str
) -> None:
    save_network(tmp_path / "network.pt", built(replace(SMALL, **config)))
    with pytest.raises(UsageError, match=message):
        built(replace(SMALL, **other), tmp_path / "network.pt")


def test_files_that_are_no_weights(built: Build, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.pt: no such file"):
        built(SMALL, tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("text")
    with pytest.raises(UsageError, match=r"text\.pt: not readable weights"):
        built(SMALL, tmp_path / "text.pt")
    torch.save({"a": 1}, tmp_path / "numbers.pt")
    with pytest.raises(UsageError, match=r"numbers\.pt: expected a dictionary of tensors"):
        built(SMALL, tmp_path / "numbers.pt")


def test_weights_of_torchvision_by_name(built: Build) -> None:
    pytest.importorskip("torchvision")
    with pytest.raises(
        UsageError, match=r"'IMAGENET1K_V1' are for stem=imagenet, width=64 and norm=bn .* norm=gn; give"
    ):
        built(replace(SMALL, norm="gn"), "IMAGENET1K_V1")
    with (
        torch.device("meta"),
        pytest.raises(UsageError, match=r"weights of resnet18 must be a file .* IMAGENET1K_V1, got 'V9'"),
    ):
        build_network(NetworkConfig(5, stem="imagenet", norm="bn"), "V9")
