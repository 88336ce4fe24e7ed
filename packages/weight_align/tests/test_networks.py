"""The factory: torchvision's networks with any norm, Fixup's start with and without WA, and weights to start from."""

import copy
import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from weight_align import fixup, fold, is_aligned, weight_align
from weight_align.checkpoint import save_network
from weight_align.errors import UsageError
from weight_align.networks import Network, NetworkConfig, align_network, build_network
from weight_align.norms import make_norm
from weight_align.parametrization import alignment_of
from weight_align.resnet import Block, Convolution, ResNet

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = NetworkConfig(5, width=4)
NORMS = ("none", "bn", "gn", "ln", "in", "wn")


def built(config: NetworkConfig, weights: str | Path | None = None, seed: int = 0) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_network(config, weights)


def images(count: int = 2, size: int = 32, seed: int = 1) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def without_start(config: NetworkConfig) -> ResNet:
    """The same draw as :func:`built`, with Fixup's scalars but not its start."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ResNet(config)
    if config.align:
        align_network(network, "weights")
    return network


def wake(network: nn.Module) -> None:
    """Give what starts at zero something to do."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))


# Layers


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "vgg16", "vgg16_bn"])
def test_imagenet_networks_are_torchvisions(name: str) -> None:
    models = pytest.importorskip("torchvision").models
    with torch.random.fork_rng():
        torch.manual_seed(0)
        reference = models.get_model(name, weights=None, num_classes=7).eval()
    norm: Any = "none" if name == "vgg16" else "bn"
    network = built(NetworkConfig(7, name.removesuffix("_bn"), "imagenet", norm=norm)).eval()  # type: ignore[arg-type]
    assert list(network.state_dict()) == list(reference.state_dict())
    network.load_state_dict(reference.state_dict())
    with torch.no_grad():
        assert torch.equal(network(images(1, 64)), reference(images(1, 64)))


@pytest.mark.parametrize("name", ["resnet34", "resnet101", "resnet152"])
def test_deeper_networks_have_torchvisions_layers(name: str) -> None:
    models = pytest.importorskip("torchvision").models
    with torch.device("meta"):
        reference = models.get_model(name, weights=None).state_dict()
        network = build_network(NetworkConfig(1000, name, "imagenet", norm="bn")).state_dict()  # type: ignore[arg-type]
    assert {key: value.shape for key, value in network.items()} == {
        key: value.shape for key, value in reference.items()
    }


def test_the_stem_of_small_images() -> None:
    network = built(replace(SMALL, norm="bn"))
    assert network.forward_features(images()).shape == (2, 32, 4, 4)
    assert built(replace(SMALL, backbone="vgg16")).forward_features(images()).shape == (2, 32, 1, 1)
    imagenet = built(replace(SMALL, norm="bn", stem="imagenet"))
    assert imagenet.forward_features(images(2, 64)).shape == (2, 32, 2, 2)


def test_parameters_of_the_thesiss_networks_for_cifar() -> None:
    """By hand: convolutions and norms of ResNet-18, and the 13 convolutions of VGG16."""
    stages = [(64, 64), (64, 128), (128, 256), (256, 512)]
    by_hand = 3 * 64 * 9 + 2 * 64 + 512 * 10 + 10
    for inputs, outputs in stages:
        by_hand += inputs * outputs * 9 + 3 * outputs * outputs * 9 + 4 * 2 * outputs
        if inputs != outputs:
            by_hand += inputs * outputs + 2 * outputs
    with torch.device("meta"):
        network = build_network(NetworkConfig(10, norm="bn"))
        vgg = build_network(NetworkConfig(10, "vgg16"))
    assert sum(p.numel() for p in network.parameters()) == by_hand == 11_173_962
    widths = [3, 64, 64, 128, 128, 256, 256, 256, *[512] * 6]
    convolutions = sum(a * b * 9 + b for a, b in itertools.pairwise(widths))
    assert sum(p.numel() for p in vgg.parameters()) == convolutions + 512 * 10 + 10


@pytest.mark.parametrize("backbone", ["vgg16", "resnet18", "resnet50"])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("align", [False, True])
def test_every_norm_with_and_without_alignment(backbone: Any, norm: Any, align: bool) -> None:
    if norm == "wn" and align:
        pytest.skip("refused, see below")
    config = replace(SMALL, backbone=backbone, norm=norm, align=align)
    network = built(config).train()
    assert network.config == config
    kinds = {"bn": nn.BatchNorm2d, "gn": nn.GroupNorm, "ln": nn.GroupNorm, "in": nn.InstanceNorm2d}
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in network.modules() if isinstance(m, tuple(kinds.values()))]
    assert len(norms) == (len(convolutions) if norm in kinds else 0)
    assert all(type(m) is kinds[norm] for m in norms)
    assert all((alignment_of(m) is not None) == align for m in convolutions)
    assert all(parametrize.is_parametrized(m) == (align or norm == "wn") for m in convolutions)
    assert not any(parametrize.is_parametrized(m) for m in network.modules() if isinstance(m, nn.Linear))
    wake(network)
    scores = network(images())
    scores.square().sum().backward()
    assert scores.shape == (2, 5) and scores.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["resnet101", "resnet152"])
def test_deep_networks_with_alignment_alone(backbone: Any) -> None:
    network = built(NetworkConfig(5, backbone, width=4, align=True))
    wake(network)
    scores = network(images())
    scores.square().sum().backward()
    assert scores.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_norms_take_the_statistics_they_are_named_for() -> None:
    x = torch.randn(3, 64, 5, 4, generator=torch.Generator().manual_seed(0)) * 3 + 1
    for norm, dims in (("bn", (0, 2, 3)), ("in", (2, 3)), ("ln", (1, 2, 3))):
        expected = (x - x.mean(dims, keepdim=True)) / (x.var(dims, correction=0, keepdim=True) + 1e-5).sqrt()
        torch.testing.assert_close(make_norm(norm, 64)(x), expected)  # type: ignore[arg-type]
    grouped = x.view(3, 32, 2, 5, 4)
    mean, variance = grouped.mean((2, 3, 4), keepdim=True), grouped.var((2, 3, 4), correction=0, keepdim=True)
    torch.testing.assert_close(make_norm("gn", 64)(x), ((grouped - mean) / (variance + 1e-5).sqrt()).view_as(x))
    assert make_norm("gn", 24).num_groups == 8 and make_norm("gn", 5).num_groups == 1  # type: ignore[union-attr]
    for width, groups in ((1, 1), (2, 1), (8, 4), (64, 32), (128, 32)):
        assert make_norm("gn", 64, width).num_groups == groups  # type: ignore[union-attr]
    assert make_norm("none", 3)(x) is x
    with pytest.raises(ValueError, match="norm must be one of"):
        make_norm("layer", 3)  # type: ignore[arg-type]


def test_weights_start_as_the_thesis_says() -> None:
    """Normal with variance 2/n, n the weights of a filter."""
    for backbone in ("vgg16", "resnet18"):
        network = built(NetworkConfig(5, backbone, norm="bn", width=32))  # type: ignore[arg-type]
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d) and layer.weight.numel() > 10_000:
                assert layer.weight.var().item() * layer.weight[0].numel() == pytest.approx(2, rel=0.05)


def test_alignment_changes_what_is_drawn_in_nothing() -> None:
    plain, aligned = built(replace(SMALL, norm="gn")), built(replace(SMALL, norm="gn", align=True))
    assert torch.equal(plain.conv1.weight, aligned.conv1.parametrizations.weight.original)  # type: ignore[union-attr]


def test_components_and_scale_factor() -> None:
    base = replace(SMALL, norm="gn", align=True)
    one, four = built(base), built(replace(base, scale_factor=4.0))
    torch.testing.assert_close(four.conv1.weight, one.conv1.weight / 4)  # type: ignore[operator, union-attr]
    nf = built(replace(base, gain="nf"))
    torch.testing.assert_close(nf.conv1.weight, one.conv1.weight / math.sqrt(1 - 1 / math.pi))  # type: ignore[operator, union-attr]
    centred = built(replace(base, variance=False)).conv1
    torch.testing.assert_close(centred.weight.mean((1, 2, 3)), torch.zeros(4), rtol=0, atol=1e-7)  # type: ignore[operator, union-attr]
    assert alignment_of(built(replace(base, scale="layer")).conv1).scale.shape == ()  # type: ignore[arg-type, union-attr]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": "resnet20"}, "backbone must be one of .*'vgg16', 'resnet18'"),
        ({"norm": "wa"}, "norm must be one of"),
        ({"stem": "mnist"}, "stem must be one of"),
        ({"gain": "big"}, "gain must be one of"),
        ({"scale": "channel"}, "scale must be one of"),
        ({"classes": 0}, "classes must be 1 or more, got 0"),
        ({"scale_factor": 0.0}, "scale_factor must be above 0"),
        ({"scale_factor": math.nan}, "scale_factor must be above 0"),
        (
            {"fixup": True, "norm": "bn"},
            "fixup is for ResNets without a norm of samples, not for resnet18 with norm=bn",
        ),
        ({"fixup": True, "backbone": "vgg16"}, "not for vgg16"),
        ({"norm": "wn", "align": True}, "norm=wn and align both replace the weight"),
        ({"width": 1, "align": True}, "align needs width=2 or more in resnet18: at 1 filters of its 1x1 convolutions"),
        ({"align": True, "centre": False, "variance": False}, "align has nothing to do"),
    ],
)
def test_configurations_that_make_no_sense(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **changes)


# Fixup


def test_who_starts_as_fixup() -> None:
    for backbone, norm, expected in (
        ("resnet18", "none", True),
        ("resnet50", "wn", True),
        ("resnet18", "bn", False),
        ("vgg16", "none", False),
    ):
        assert NetworkConfig(5, backbone, norm=norm).fixed_up == expected  # type: ignore[arg-type]
    assert not replace(SMALL, fixup=False).fixed_up
    plain = built(replace(SMALL, fixup=False))
    assert plain.conv1.bias is not None  # type: ignore[union-attr]
    assert built(SMALL).conv1.bias is None  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="Fixup's start is for networks with Fixup's scalars"):
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
def test_blocks_are_fixups(backbone: Any) -> None:
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


def test_fixups_network_is_exported_for_any_number_of_images() -> None:
    network = fold(built(replace(SMALL, align=True))).eval()
    wake(network)
    size = torch.export.Dim("images", min=1, max=512)
    exported = torch.export.export(network, (images(),), dynamic_shapes=({0: size},)).module()
    for count in (1, 300):  # on either side of where scalars go into the weights
        pixels = images(count)
        torch.testing.assert_close(exported(pixels), network(pixels))


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_fixups_start(backbone: Any) -> None:
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
def test_fixups_start_of_an_aligned_network(backbone: Any, scale: Any) -> None:
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
def test_aligned_maps_are_of_one_size_at_any_depth(backbone: Any) -> None:
    """Without the factor they grow to 600 times their size in a ResNet-152."""
    network = built(NetworkConfig(5, backbone, width=8, align=True))
    pixels = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        size = float(network.forward_features(pixels).square().mean().sqrt())  # type: ignore[operator]
    assert 0.2 < size < 1.0


def test_fixups_start_without_a_scale_of_the_alignment() -> None:
    """Then the factor at the end of the branch has it."""
    network = built(replace(SMALL, align=True, scale="none"))
    assert isinstance(network, ResNet)
    for block in network.blocks():
        torch.testing.assert_close(block.scale.detach(), torch.full((1,), 8**-0.5))
    wake(network.fc)
    network(images()).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_fixups_start_where_the_alignment_only_centres() -> None:
    network = built(replace(SMALL, align=True, variance=False))
    assert isinstance(network, ResNet)
    assert all(not block.get_submodule("conv2").weight.any() for block in network.blocks())  # type: ignore[operator, union-attr]


def test_fixups_start_with_weight_norm() -> None:
    """v keeps its size and g is zero: not the 0/0 of a v of zeros."""
    network = built(replace(SMALL, norm="wn"))
    assert isinstance(network, ResNet)
    wake(network.fc)
    network(images()).square().sum().backward()
    for block in network.blocks():
        inside = block.get_submodule("conv2").parametrizations.weight  # type: ignore[union-attr]
        assert not inside.original0.any() and inside.original1.any()  # type: ignore[union-attr, operator]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_fixups_scalars_do_not_widen_maps_under_autocast() -> None:
    network = built(replace(SMALL, align=True))
    assert isinstance(network, ResNet)
    with torch.autocast("cpu", torch.bfloat16):
        assert network.forward_features(images()).dtype == torch.bfloat16


def test_fixups_scalars() -> None:
    network = built(replace(SMALL, align=True))
    found = fixup.scalars(network)
    assert len(found) == 8 * 5 + 2 and all(parameter.shape == (1,) for parameter in found)
    assert len(fixup.scalars(built(replace(SMALL, backbone="resnet50")))) == 16 * 7 + 2
    assert fixup.scalars(built(replace(SMALL, norm="bn"))) == []
    assert fixup.scalars(built(replace(SMALL, fixup=False))) == []  # biases of channels are none


# Weights to start from


def test_the_weights_of_a_checkpoint(tmp_path: Path) -> None:
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
def test_another_number_of_classes(tmp_path: Path, backbone: Any, stem: Any) -> None:
    config = NetworkConfig(5, backbone, stem, width=2, norm="bn", align=True)
    saved = built(config, seed=3).eval()
    save_network(tmp_path / "network.pt", saved)
    other = built(replace(config, classes=9), tmp_path / "network.pt").eval()
    fresh = built(replace(config, classes=9)).eval()
    assert torch.equal(other.forward_features(images(2, 64)), saved.forward_features(images(2, 64)))
    head = "fc.weight" if backbone == "resnet18" else "classifier.weight" if stem == "cifar" else "classifier.6.weight"
    assert torch.equal(other.state_dict()[head], fresh.state_dict()[head])


def test_plain_weights_start_an_aligned_network(tmp_path: Path) -> None:
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


def test_a_folded_checkpoint_starts_an_aligned_network_with_the_same_outputs(tmp_path: Path) -> None:
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
def test_weights_that_do_not_fit(tmp_path: Path, config: dict[str, Any], other: dict[str, Any], message: str) -> None:
    save_network(tmp_path / "network.pt", built(replace(SMALL, **config)))
    with pytest.raises(UsageError, match=message):
        built(replace(SMALL, **other), tmp_path / "network.pt")


def test_files_that_are_no_weights(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.pt: no such file"):
        built(SMALL, tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("text")
    with pytest.raises(UsageError, match=r"text\.pt: not readable weights"):
        built(SMALL, tmp_path / "text.pt")
    torch.save({"a": 1}, tmp_path / "numbers.pt")
    with pytest.raises(UsageError, match=r"numbers\.pt: expected a dictionary of tensors"):
        built(SMALL, tmp_path / "numbers.pt")


def test_weights_of_torchvision_by_name() -> None:
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
