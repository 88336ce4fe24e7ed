"""How the classifier is found: by name, as the last layer, and not at all in networks without a head."""

from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
from torch import nn

from weight_align import left_out, weight_align
from weight_align.method import classifiers


def named(*layers: str) -> nn.Module:
    """A model whose children have these names; ``c`` at the end makes a convolution, else a linear layer."""
    model = nn.Module()
    for layer in layers:
        path, _, kind = layer.partition(":")
        top, _, rest = path.partition(".")
        if not hasattr(model, top):
            model.add_module(top, nn.Module() if rest else nn.Identity())
        owner = model.get_submodule(top) if rest else model
        owner.add_module(rest or top, nn.Conv2d(2, 2, 1) if kind == "c" else nn.Linear(2, 2))
    return model


class Timm(nn.Module):
    def __init__(self, heads: int) -> None:
        super().__init__()
        self.head, self.head_dist, self.body = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)
        self.heads = heads

    def get_classifier(self) -> nn.Module | tuple[nn.Module, nn.Module]:
        return (nn.Identity(), self.head, (self.head, self.head_dist))[self.heads]


@pytest.mark.parametrize(("model", "found"), [
    (named("a:c", "b", "c"), {"c"}),
    (named("a:c", "head.fc", "b:c"), {"b"}),  # the last layer of either kind
    (named("classifier.0", "out:c"), {"out"}),
    (named("a:c", "box_head", "label_head.0", "label_head.1:c"), {"box_head", "label_head.1"}),
    (named("head", "a:c", "b"), {"b"}),
    (named("a:c", "b:c"), {"b"}),
    (named("a:c", "aux1.fc1", "aux1.fc2", "fc"), {"fc", "aux1.fc2"}),
    (named("a:c", "AuxLogits.conv:c", "AuxLogits.fc", "fc"), {"fc", "AuxLogits.fc"}),
    (named("classifier.0:c", "classifier.4:c", "aux_classifier.4:c"), {"classifier.4", "aux_classifier.4"}),
    (nn.ReLU(), set()),
    (nn.Linear(2, 2), set()),
    (Timm(0), set()),
    (Timm(1), {"head"}),
    (Timm(2), {"head", "head_dist"}),
])  # fmt: skip
def test_how_the_classifier_is_found(model: nn.Module, found: set[str]) -> None:
    assert classifiers(model) == found


class MixBlock(nn.Module):
    """A block of the Mix Transformer ``mit_b0`` of segmentation_models_pytorch."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = named("q", "kv", "proj", "sr:c")
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Module()
        self.mlp.fc1, self.mlp.dwconv = nn.Linear(width, 4 * width), nn.Conv2d(4 * width, 4 * width, 3)
        self.mlp.act, self.mlp.fc2, self.mlp.drop = nn.GELU(), nn.Linear(4 * width, width), nn.Dropout()


def encoder(*widths: int) -> nn.Module:
    model = nn.Module()
    for number, width in enumerate(widths, start=1):
        embed = nn.Module()
        embed.proj, embed.norm = nn.Conv2d(3, width, 3), nn.LayerNorm(width)
        model.add_module(f"patch_embed{number}", embed)
        model.add_module(f"block{number}", nn.ModuleList([MixBlock(width), MixBlock(width)]))
        model.add_module(f"norm{number}", nn.LayerNorm(width))
    return model


def conv(*parts: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(8, 8, 3), *parts)


def unet(*heads: str, norm: bool = True) -> nn.Module:
    """Modules of ``smp.Unet("mit_b0")`` in their order, with these heads."""
    model = nn.Module()
    model.encoder, model.decoder, model.decoder.blocks = encoder(8, 16), nn.Module(), nn.ModuleList()
    for _ in range(2):
        convs = [conv(nn.BatchNorm2d(8), nn.ReLU()) if norm else conv(nn.ReLU()) for _ in range(2)]
        model.decoder.blocks.append(nn.Sequential(OrderedDict(zip(("conv1", "conv2"), convs, strict=True))))
    made = {
        "segmentation_head": lambda: nn.Sequential(nn.Conv2d(8, 3, 3), nn.Identity(), nn.Sigmoid()),
        "classification_head": lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)),
    }
    for head in heads:
        model.add_module(head, made[head]())
    return model


@pytest.mark.parametrize(("model", "found"), [
    (unet("segmentation_head"), {"segmentation_head.0"}),
    (unet("segmentation_head", norm=False), {"segmentation_head.0"}),
    (unet("segmentation_head", "classification_head"), {"segmentation_head.0", "classification_head.2"}),
    (nn.Sequential(OrderedDict(module=unet("segmentation_head"))), {"module.segmentation_head.0"}),
    (unet(), set()), (unet(norm=False), set()), (encoder(8, 16), set()),
    (nn.Sequential(nn.Conv2d(3, 8, 3), nn.InstanceNorm2d(8)), set()),
    (nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8, 1), nn.BatchNorm1d(4)), {"2"}),
    (nn.Sequential(OrderedDict(body=conv(conv()), fc=nn.Identity())), set()),
    (nn.Sequential(OrderedDict(body=conv(conv()), pool=nn.Identity())), {"body.1.0"}),
])  # fmt: skip
def test_the_last_layer_of_either_kind_and_nothing_without_a_head(model: nn.Module, found: set[str]) -> None:
    assert classifiers(model) == found
    plain = set(left_out(weight_align(model)))
    assert plain == found, "aligning does not change which layer it is"
    assert classifiers(model) == found


def without_last_child(model: nn.Module) -> nn.Module:
    return nn.Sequential(*list(model.children())[:-1])


def with_identity(model: nn.Module) -> nn.Module:
    setattr(model, list(dict(model.named_children()))[-1], nn.Identity())
    return model


@pytest.mark.parametrize("name", [
    "resnet18", "vgg11", "alexnet", "squeezenet1_1", "densenet121", "mobilenet_v3_small", "efficientnet_b0", "convnext_tiny",
    "swin_t", "vit_b_32", "googlenet", "shufflenet_v2_x0_5",
])  # fmt: skip
@pytest.mark.parametrize("cut", [without_last_child, with_identity])
def test_networks_of_torchvision_without_their_head(name: str, cut: Callable[[nn.Module], nn.Module]) -> None:
    models = pytest.importorskip("torchvision").models
    with torch.device("meta"):
        options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
        model = models.get_model(name, weights=None, **options)
    assert len(classifiers(model)) == 1
    assert classifiers(cut(model)) == set()


def test_a_feature_pyramid_of_torchvision() -> None:
    detection = pytest.importorskip("torchvision").models.detection
    with torch.device("meta"):
        model = detection.backbone_utils.resnet_fpn_backbone(backbone_name="resnet18", weights=None)
    assert classifiers(model) == set()


def test_what_was_left_out_is_said(small: nn.Module, caplog: pytest.LogCaptureFixture) -> None:
    stem = small.stem
    stem.memory, stem.table, stem.attention = nn.LSTM(10, 4), nn.Embedding(5, 4), nn.MultiheadAttention(4, 2)
    nn.utils.parametrizations.weight_norm(small.up)
    others = [
        "stem.memory.weight_ih_l0",
        "stem.memory.weight_hh_l0",
        "stem.table",
        "stem.attention.in_proj_weight",
        "up",
    ]
    aligned = ["stem.0", "stem.attention.out_proj", "depthwise", "hidden"]
    assert sorted(left_out(small)) == sorted([*others, *aligned, "head"]), "of a plain network: everything"
    with caplog.at_level("INFO", logger="weight_align"):
        weight_align(small, exclude="up")
    expected = [*others, "head"]
    assert sorted(left_out(small)) == sorted(expected)
    (line,) = caplog.messages
    assert line.startswith("4 layers have WeightAlign; left out: ") and all(name in line for name in expected)
