"""Fixup: its scalars, where they go, and its start with and without WA."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from weight_align import fold
from weight_align.networks import Block, Network, NetworkConfig, ResNet, align_network, fixup
from weight_align.networks.resnet import Convolution

Build = Callable[..., Network]
Wake = Callable[[nn.Module], None]
Draw = Callable[..., Tensor]
SMALL = NetworkConfig(5, "resnet18", width=4, align=False)


def without_start(config: NetworkConfig) -> ResNet:
    """The same draw as :func:`built`, with Fixup's scalars but not its start."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ResNet(config)
    if config.align:
        align_network(network, "weights")
    return network


def test_who_starts_as_fixup(built: Build) -> None:
    starts = {("resnet18", "none"): True, ("resnet50", "wn"): True, ("resnet18", "bn"): False, ("vgg16", "none"): False}
    for (backbone, norm), expected in starts.items():
        assert NetworkConfig(5, backbone, norm=norm, align=False).fixed_up == expected  # type: ignore[arg-type]
    assert not replace(SMALL, fixup=False).fixed_up
    plain = built(replace(SMALL, fixup=False))
    assert plain.conv1.bias is not None  # type: ignore[union-attr]
    assert built(SMALL).conv1.bias is None  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="Fixup's initial weights are for networks with Fixup's scalars"):
        fixup.start(plain)  # type: ignore[arg-type]


def by_hand(block: Block, maps: Tensor) -> Tensor:
    """A block of the authors' release, in its own order of operations."""
    out = block.get_submodule("conv1")(maps + block.bias1a)
    for number in range(2, block.convolutions + 1):
        out = torch.relu(out + getattr(block, f"bias{number - 1}b"))
        out = block.get_submodule(f"conv{number}")(out + getattr(block, f"bias{number}a"))
    out = out * block.scale + getattr(block, f"bias{block.convolutions}b")
    shortcut = block.downsample(maps + block.bias1a) if block.downsample is not None else maps
    return torch.relu(out + shortcut)


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_blocks_are_fixups(built: Build, wake: Wake, backbone: Any) -> None:
    network = built(replace(SMALL, backbone=backbone))
    assert isinstance(network, ResNet)
    wake(network)
    for block, size in ((network.blocks()[0], 8), (network.get_submodule("layer2.0"), 8)):
        assert isinstance(block, Block)
        maps = torch.randn(2, block.conv1.in_channels, size, size, generator=torch.Generator().manual_seed(3))  # type: ignore[union-attr, arg-type]
        torch.testing.assert_close(block(maps), by_hand(block, maps))


@pytest.mark.parametrize("batch", [1, 40], ids=["maps are small", "the weight is small"])
@pytest.mark.parametrize(("side", "padding"), [(1, 0), (3, 1)])
@pytest.mark.parametrize("given", [(), ("before",), ("after",), ("factor",), ("before", "factor", "after")])
def test_scalars_in_weight_and_bias(batch: int, side: int, padding: int, given: tuple[str, ...]) -> None:
    """Numbers and gradients of the formula, from a module that hooks still see."""
    torch.manual_seed(0)
    layer = Convolution(48, 48, side, 2, padding).double()
    values = {"before": 0.3, "factor": 1.7, "after": -0.4}
    scalars = {name: torch.tensor([values[name]], dtype=torch.double, requires_grad=True) for name in given}
    maps = torch.randn(batch, 48, 5, 6, dtype=torch.double, requires_grad=True)
    seen: list[torch.Tensor] = []
    layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    out = layer(maps, **scalars)
    assert seen[0] is out
    wanted = F.conv2d(maps + scalars.get("before", 0.0), layer.weight, stride=2, padding=padding)
    wanted = wanted * scalars.get("factor", 1.0) + scalars.get("after", 0.0)
    torch.testing.assert_close(out, wanted)
    inputs = [maps, layer.weight, *scalars.values()]
    mix = torch.randn_like(out)
    found, expected = (torch.autograd.grad(value, inputs, mix) for value in (out, wanted))
    torch.testing.assert_close(found, expected)


@pytest.mark.slow
def test_fixups_network_is_exported_for_any_number_of_images(built: Build, wake: Wake, images: Draw) -> None:
    network = fold(built(replace(SMALL, align=True))).eval()
    wake(network)
    size = torch.export.Dim("images", min=1, max=512)
    exported = torch.export.export(network, (images(),), dynamic_shapes=({0: size},)).module()
    for count in (1, 300):  # on either side of where scalars go into the weights
        pixels = images(count)
        torch.testing.assert_close(exported(pixels), network(pixels))


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_fixups_start(built: Build, images: Draw, backbone: Any) -> None:
    """Against the same draw without it: L^(-1/(2m-2)) on all but the last convolution of a branch, zero there."""
    plain, network = without_start(replace(SMALL, backbone=backbone)), built(replace(SMALL, backbone=backbone))
    blocks, branches = (8, 2) if backbone == "resnet18" else (16, 3)
    factor = blocks ** (-1 / (2 * branches - 2))
    assert isinstance(network, ResNet) and len(network.blocks()) == blocks
    for before, after in zip(plain.blocks(), network.blocks(), strict=True):
        for number in range(1, branches):
            expected = factor * before.get_submodule(f"conv{number}").weight  # type: ignore[operator, union-attr]
            torch.testing.assert_close(after.get_submodule(f"conv{number}").weight, expected)
        assert not after.get_submodule(f"conv{branches}").weight.any()  # type: ignore[operator, union-attr]
    assert not network.fc.weight.any() and torch.equal(plain.conv1.weight, network.conv1.weight)
    assert not network(images()).any()


@pytest.mark.parametrize("scale", ["filter", "layer"])
@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_fixups_start_of_an_aligned_network(
    built: Build, wake: Wake, images: Draw, backbone: Any, scale: Any,
) -> None:  # fmt: skip
    """Every filter keeps the alignment's variance, but for a factor of L^(-1/2) at the end of a branch."""
    config = replace(SMALL, backbone=backbone, align=True, scale=scale)
    network, loose = built(config), without_start(config)
    assert isinstance(network, ResNet)
    branches, last_factor = network.blocks()[0].convolutions, len(network.blocks()) ** -0.5
    for block, other in zip(network.blocks(), loose.blocks(), strict=True):
        assert torch.equal(block.scale, torch.ones(1))
        for number in range(1, branches + 1):
            layer, reference = block.get_submodule(f"conv{number}"), other.get_submodule(f"conv{number}")
            original = layer.parametrizations.weight.original  # type: ignore[union-attr]
            assert torch.equal(original, reference.parametrizations.weight.original)  # type: ignore[union-attr, arg-type]
            expected = reference.weight * (1.0 if number < branches else last_factor)  # type: ignore[operator]
            torch.testing.assert_close(layer.weight, expected)
    assert not network.fc.weight.any()
    wake(network.fc)
    network(images()).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in network.parameters())


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50", pytest.param("resnet152", marks=pytest.mark.slow)])
def test_aligned_maps_are_of_one_size_at_any_depth(built: Build, backbone: Any) -> None:
    """Without the factor they grow to 600 times their size in a ResNet-152."""
    network = built(NetworkConfig(5, backbone, width=8, align=True))
    pixels = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    size = network.forward_features(pixels).square().mean().sqrt()  # type: ignore[operator]
    size.backward()
    assert 0.2 < size < 1.0
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


def test_fixups_start_without_a_scale_of_the_alignment(built: Build, wake: Wake, images: Draw) -> None:
    """Then the factor at the end of the branch has it."""
    network = built(replace(SMALL, align=True, scale="none"))
    assert isinstance(network, ResNet)
    for block in network.blocks():
        torch.testing.assert_close(block.scale.detach(), torch.full((1,), 8**-0.5))
    wake(network.fc)
    network(images()).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_scalars_and_starts(built: Build) -> None:
    network = built(replace(SMALL, align=True, variance=False))
    assert isinstance(network, ResNet)
    assert all(not block.get_submodule("conv2").weight.any() for block in network.blocks())  # type: ignore[operator, union-attr]
    network = built(replace(SMALL, align=True))
    found = fixup.fixup_scalars(network)
    assert len(found) == 8 * 5 + 2 and all(parameter.shape == (1,) for parameter in found)
    assert len(fixup.fixup_scalars(built(replace(SMALL, backbone="resnet50")))) == 16 * 7 + 2
    assert fixup.fixup_scalars(built(replace(SMALL, norm="bn"))) == []
    assert fixup.fixup_scalars(built(replace(SMALL, fixup=False))) == []  # biases of channels are none


def test_fixups_start_with_weight_norm(built: Build, wake: Wake, images: Draw) -> None:
    """v keeps its size and g is zero: not the 0/0 of a v of zeros."""
    network = built(replace(SMALL, norm="wn"))
    assert isinstance(network, ResNet)
    wake(network.fc)
    network(images()).square().sum().backward()
    for block in network.blocks():
        inside = block.get_submodule("conv2").parametrizations.weight  # type: ignore[union-attr]
        assert not inside.original0.any() and inside.original1.any()  # type: ignore[union-attr, operator]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_fixups_scalars_do_not_widen_maps_under_autocast(built: Build, images: Draw) -> None:
    network = built(replace(SMALL, align=True))
    assert isinstance(network, ResNet)
    with torch.autocast("cpu", torch.bfloat16):
        assert network.forward_features(images()).dtype == torch.bfloat16
