"""DeepLabv3: its strides and dilations, norms and alignment."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from weight_align import is_aligned
from weight_align.networks import HeadConfig, NetworkConfig, build_deeplab, build_network

HEAD = HeadConfig(channels=8, rates=(1, 2))


def network(**changes: Any) -> NetworkConfig:
    small = {"classes": 4, "backbone": "resnet18", "width": 2, "stem": "imagenet", "norm": "gn", "align": False}
    return NetworkConfig(**small | changes)


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_output_stride_16_and_dilations(backbone: Any) -> None:
    made = build_deeplab(network(backbone=backbone), HeadConfig(8, (6, 12, 18), (1, 2, 4))).eval()
    images = torch.randn(2, 3, 65, 97)
    maps = made.backbone.forward_features(images)
    assert maps.shape[2:] == (5, 7)  # 65/16 and 97/16, rounded up
    assert made(images).shape == (2, 4, 65, 97)
    stage = made.backbone.get_submodule("layer4")
    wide = [layer for layer in stage.modules() if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3)]
    assert [layer.dilation[0] for layer in wide] == ([1, 2, 4, 4] if backbone == "resnet18" else [1, 4, 8])
    assert all(layer.dilation == layer.padding for layer in wide)
    assert all(layer.stride == (1, 1) for layer in stage.modules() if isinstance(layer, nn.Conv2d))
    rates = [branch[0].dilation[0] for branch in made.head.branches]  # type: ignore[index, union-attr]
    assert rates == [1, 6, 12, 18]


def test_dilation_keeps_what_the_stride_skipped() -> None:
    """The places that stride 2 computed get what they got, from the same weights: the idea of atrous convolution."""
    torch.manual_seed(0)
    config = network(backbone="resnet18", norm="none", fixup=False)
    plain = build_network(config)
    kept = build_deeplab(config, HEAD)
    kept.backbone.load_state_dict(plain.state_dict(), strict=False)
    images = torch.randn(1, 3, 128, 128)
    coarse, fine = plain.forward_features(images), kept.backbone.forward_features(images)
    assert coarse.shape[2:] == (4, 4) and fine.shape[2:] == (8, 8)
    torch.testing.assert_close(fine[:, :, ::2, ::2], coarse, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("norm", ["none", "bn", "gn", "ln", "in", "wn"])
def test_every_norm_trains(norm: Any) -> None:
    torch.manual_seed(0)
    made = build_deeplab(network(norm=norm), HEAD).train()
    made(torch.randn(2, 3, 32, 32)).square().mean().backward()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in made.head.parameters())


def test_all_of_the_head_is_aligned_but_the_classifier() -> None:
    made = build_deeplab(network(align=True), HEAD)
    plain = {name for name, layer in made.named_modules() if isinstance(layer, nn.Conv2d) and not is_aligned(layer)}
    assert plain == {"head.classifier"}
    weight = made.head.project[0].weight  # type: ignore[index]
    assert isinstance(weight, Tensor)
    torch.testing.assert_close(weight.var((1, 2, 3), correction=0), torch.full((8,), 2 / 32), rtol=1e-4, atol=0)


def test_the_backbone_starts_from_a_classifier() -> None:
    classifier = build_network(network(classes=10, norm="bn"))
    state = classifier.state_dict()
    made = build_deeplab(network(norm="bn"), HEAD, state)
    assert all(torch.equal(value, state[name]) for name, value in made.backbone.state_dict().items())
    with pytest.raises(ValueError, match="the backbone of DeepLabv3 must be a ResNet, got vgg16"):
        build_deeplab(network(backbone="vgg16"))
    with pytest.raises(ValueError, match=r"rates must be 1 or more, got \(0, 6\)"):
        HeadConfig(rates=(0, 6))
