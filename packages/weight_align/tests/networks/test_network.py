"""The factory: torchvision's networks with any norm, with and without WA, and what is refused."""

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from efficiency_core.devices import convolution_layout
from weight_align.method import alignment_of
from weight_align.networks import Network, NetworkConfig, build_network, make_norm

Build = Callable[..., Network]
Wake = Callable[[nn.Module], None]
Draw = Callable[..., Tensor]
SMALL = NetworkConfig(5, "resnet18", width=4, align=False)
NORMS = ("none", "bn", "gn", "ln", "in", "wn")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "vgg16", "vgg16_bn", "mobilenet_v2"])
def test_imagenet_networks_are_torchvisions(built: Build, images: Draw, name: str) -> None:
    models = pytest.importorskip("torchvision").models
    with torch.random.fork_rng():
        torch.manual_seed(0)
        reference = models.get_model(name, weights=None, num_classes=7).eval()
    norm: Any = "none" if name == "vgg16" else "bn"
    network = built(NetworkConfig(7, name.removesuffix("_bn"), "imagenet", norm=norm, align=False)).eval()  # type: ignore[arg-type]
    assert list(network.state_dict()) == list(reference.state_dict())
    network.load_state_dict(reference.state_dict())
    with torch.no_grad():
        assert torch.equal(network(images(1, 64)), reference(images(1, 64)))


@pytest.mark.parametrize(("width", "factor"), [(64, 1.0), (16, 0.25)])
def test_mobilenet_is_torchvisions_at_any_width_and_is_aligned_whole(
    built: Build, images: Draw, width: int, factor: float
) -> None:
    models = pytest.importorskip("torchvision").models
    config = NetworkConfig(7, "mobilenet_v2", "imagenet", width, "bn", align=False)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        reference = models.mobilenet_v2(weights=None, num_classes=7, width_mult=factor).eval()
    network = built(config, reference.state_dict()).eval()
    assert list(network.state_dict()) == list(reference.state_dict())
    with torch.no_grad():
        assert torch.equal(network(images(1, 64)), reference(images(1, 64)))
    aligned = built(replace(config, align=True), reference.state_dict())
    filters = [m.weight.flatten(1).detach() for m in aligned.modules() if isinstance(m, nn.Conv2d)]
    plain = [m.weight.flatten(1).detach() for m in reference.modules() if isinstance(m, nn.Conv2d)]
    assert len(filters) == len(plain) == 52
    for found, before in zip(filters, plain, strict=True):
        centred = before - before.mean(1, keepdim=True)
        torch.testing.assert_close(found, centred, rtol=1e-3, atol=1e-5)  # its deviation is the one before


@pytest.mark.parametrize("name", ["resnet34", "resnet101"])
def test_deeper_networks_have_torchvisions_layers(name: str) -> None:
    models = pytest.importorskip("torchvision").models
    with torch.device("meta"):
        reference = models.get_model(name, weights=None).state_dict()
        network = build_network(NetworkConfig(1000, name, "imagenet", norm="bn", align=False)).state_dict()  # type: ignore[arg-type]
    shapes = ({key: value.shape for key, value in each.items()} for each in (network, reference))
    assert next(shapes) == next(shapes)


def test_stems_draws_and_classes(built: Build, images: Draw) -> None:
    network = built(replace(SMALL, norm="bn"))
    assert network.forward_features(images()).shape == (2, 32, 4, 4)
    assert built(replace(SMALL, backbone="vgg16")).forward_features(images()).shape == (2, 32, 1, 1)
    imagenet = built(replace(SMALL, norm="bn", stem="imagenet"))
    assert imagenet.forward_features(images(2, 64)).shape == (2, 32, 2, 2)
    plain, aligned = built(replace(SMALL, norm="gn")), built(replace(SMALL, norm="gn", align=True))
    assert torch.equal(plain.conv1.weight, aligned.conv1.parametrizations.weight.original)  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="classes must be 1 or more to build a network, got 0"):
        build_network(replace(SMALL, classes=0))


def test_parameters_of_the_thesiss_networks_for_cifar() -> None:
    """By hand: convolutions and norms of ResNet-18, and the 13 convolutions of VGG16."""
    stages = [(64, 64), (64, 128), (128, 256), (256, 512)]
    by_hand = 3 * 64 * 9 + 2 * 64 + 512 * 10 + 10
    for inputs, outputs in stages:
        by_hand += inputs * outputs * 9 + 3 * outputs * outputs * 9 + 4 * 2 * outputs
        if inputs != outputs:
            by_hand += inputs * outputs + 2 * outputs
    with torch.device("meta"):
        network = build_network(NetworkConfig(10, "resnet18", norm="bn", align=False))
        vgg = build_network(NetworkConfig(10, "vgg16", align=False))
    assert sum(p.numel() for p in network.parameters()) == by_hand == 11_173_962
    widths = [3, 64, 64, 128, 128, 256, 256, 256, *[512] * 6]
    convolutions = sum(a * b * 9 + b for a, b in itertools.pairwise(widths))
    assert sum(p.numel() for p in vgg.parameters()) == convolutions + 512 * 10 + 10


@pytest.mark.parametrize(
    ("backbone", "norm", "align"),
    [("resnet18", norm, align) for norm in NORMS for align in (False, True) if (norm, align) != ("wn", True)]
    + [
        (backbone, *kind)
        for backbone in ("vgg16", "resnet50")
        for kind in (("none", True), ("bn", False), ("wn", False))
    ],
)
def test_every_norm_with_and_without_alignment(
    built: Build, wake: Wake, images: Draw, backbone: Any, norm: Any, align: bool,
) -> None:  # fmt: skip
    config = replace(SMALL, backbone=backbone, norm=norm, align=align)
    network = built(config).train()
    assert network.config == config
    kinds = {"bn": nn.BatchNorm2d, "gn": nn.GroupNorm, "ln": nn.GroupNorm, "in": nn.InstanceNorm2d}
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in network.modules() if isinstance(m, tuple(kinds.values()))]
    assert len(norms) == (len(convolutions) if norm in kinds else 0)
    assert all(isinstance(m, kinds[norm]) for m in norms)
    assert all((alignment_of(m) is not None) == align for m in convolutions)
    assert all(parametrize.is_parametrized(m) == (align or norm == "wn") for m in convolutions)
    assert not any(parametrize.is_parametrized(m) for m in network.modules() if isinstance(m, nn.Linear))
    wake(network)
    scores = network(images())
    scores.square().sum().backward()
    assert scores.shape == (2, 5) and scores.isfinite().all()
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


def test_weights_start_as_the_thesis_says(built: Build) -> None:
    """Normal with variance 2/n, n the weights of a filter."""
    for backbone in ("vgg16", "resnet18"):
        network = built(NetworkConfig(5, backbone, norm="bn", width=32, align=False))  # type: ignore[arg-type]
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d) and layer.weight.numel() > 10_000:
                assert layer.weight.var().item() * layer.weight[0].numel() == pytest.approx(2, rel=0.05)


def test_components_and_scale_factor(built: Build) -> None:
    base = replace(SMALL, norm="gn", align=True)
    one, four = built(base), built(replace(base, scale_factor=4.0))
    torch.testing.assert_close(four.conv1.weight, one.conv1.weight / 4)  # type: ignore[operator, union-attr]
    nf = built(replace(base, gain="nf"))
    torch.testing.assert_close(nf.conv1.weight, one.conv1.weight / math.sqrt(1 - 1 / math.pi))  # type: ignore[operator, union-attr]
    centred = built(replace(base, variance=False)).conv1
    torch.testing.assert_close(centred.weight.mean((1, 2, 3)), torch.zeros(4), rtol=0, atol=1e-7)  # type: ignore[operator, union-attr]
    assert alignment_of(built(replace(base, scale="layer")).conv1).scale.shape == ()  # type: ignore[arg-type, union-attr]


@pytest.mark.parametrize(("changes", "message"), [
    ({"backbone": "resnet20"}, "backbone must be one of .*'vgg16', 'resnet18'"),
    ({"norm": "wa"}, "norm must be one of"), ({"stem": "mnist"}, "stem must be one of"),
    ({"gain": "big"}, "gain must be one of"),
    ({"scale": "channel"}, "scale must be one of"),
    ({"classes": -1}, "classes must be 0 or more, got -1"),
    ({"scale_factor": 0.0}, "scale_factor must be above 0"),
    ({"scale_factor": math.nan}, "scale_factor must be above 0"),
    ({"fixup": True, "norm": "bn"},
     "fixup is for ResNets without a norm of samples, not for resnet18 with norm=bn"),
    ({"fixup": True, "backbone": "vgg16"}, "not for vgg16"),
    ({"backbone": "mobilenet_v2", "stem": "imagenet"}, "with stem=imagenet and norm=bn, not stem=imagenet and norm=none"),
    ({"backbone": "mobilenet_v2", "norm": "bn"}, "not stem=cifar and norm=bn"),
    ({"norm": "wn", "align": True}, "norm=wn and align=true both replace the weight"),
    ({"width": 1, "align": True},
     "align needs width=2 or more in resnet18: with 1 the filters of its 1x1 convolutions"),
    ({"align": True, "centre": False, "variance": False}, "align has nothing to do"),
])  # fmt: skip
def test_configurations_that_make_no_sense(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **changes)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("backbone", ["resnet50", "vgg16"])
def test_gradients_in_the_order_of_training_are_those_of_plain_order(
    built: Build, wake: Wake, images: Draw, backbone: Any, norm: Any, batch: int
) -> None:
    gradients = []
    for layout in (torch.contiguous_format, torch.channels_last):
        network = built(replace(SMALL, backbone=backbone, norm=norm, width=16))
        wake(network)
        assert convolution_layout(network, "cpu") == torch.channels_last  # the order that a training takes
        network = network.to(torch.float64, memory_format=layout).train()  # type: ignore[call-overload]
        network(images(batch).double().contiguous(memory_format=layout)).square().sum().backward()
        gradients.append({name: p.grad for name, p in network.named_parameters() if p.grad is not None})
    plain, trained = gradients
    for name, expected in plain.items():
        torch.testing.assert_close(trained[name], expected, rtol=1e-7, atol=1e-7 * expected.abs().max().item() + 1e-9)
