"""torchvision's ResNets as detector backbones: a feature pyramid (FPN), or the last stage alone (C5)."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable

from torch import Tensor, nn
from torchvision.models import get_model_weights, resnet
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from location_anticipation.errors import WorkError

__all__ = ["BACKBONES", "C5Backbone", "build_backbone", "load_backbone_weights"]

BACKBONES = (
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "wide_resnet50_2",
    "wide_resnet101_2",
)
_STAGES = ("layer4", "layer3", "layer2", "layer1", "conv1")
_NORMS: dict[str, Callable[..., nn.Module]] = {"batch": nn.BatchNorm2d, "frozen": FrozenBatchNorm2d}


class C5Backbone(nn.Module):
    """The stages of a ResNet up to C5 (stride 32), then a 1x1 and a 3x3 convolution to ``out_channels``.

    Without FPN, as the thesis's Faster R-CNN [64] and the released code have it.

    Args:
        body: a torchvision ResNet.
        out_channels: channels of the one feature map.
    """

    def __init__(self, body: resnet.ResNet, out_channels: int) -> None:
        super().__init__()
        channels = body.fc.in_features
        stem = [(name, getattr(body, name)) for name in ("conv1", "bn1", "relu", "maxpool")]
        self.body = nn.Sequential(OrderedDict(stem + [(f"layer{i}", getattr(body, f"layer{i}")) for i in range(1, 5)]))
        self.reduce = nn.Conv2d(channels, out_channels, 1)
        self.smooth = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.out_channels = out_channels

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) to {"0": (B, out_channels, H/32, W/32)}."""
        return {"0": self.smooth(self.reduce(self.body(images)))}


def build_backbone(
    name: str, *, fpn: bool, out_channels: int, norm: str = "batch", trainable_stages: int = 5
) -> BackboneWithFPN | C5Backbone:
    """A ResNet without weights as the feature extractor of a detector.

    Args:
        name: one of :data:`BACKBONES`.
        fpn: feature pyramid over all four stages (levels "0".."3" and "pool"), or C5 alone.
        out_channels: channels of every feature map.
        norm: ``batch`` (trained with the rest) or ``frozen`` (fixed statistics, for pretrained weights).
        trainable_stages: 0 to 5 stages, counted from the last, that are trained; 5 trains the whole network.

    Raises:
        ValueError: for a name, norm or number of stages that does not exist.
    """
    if name not in BACKBONES:
        raise ValueError(f"backbone must be one of {BACKBONES}, got {name!r}")
    if norm not in _NORMS:
        raise ValueError(f"norm must be one of {tuple(_NORMS)}, got {norm!r}")
    if not 0 <= trainable_stages <= len(_STAGES):
        raise ValueError(f"trainable_stages must be 0 to {len(_STAGES)}, got {trainable_stages}")
    body: resnet.ResNet = getattr(resnet, name)(weights=None, norm_layer=_NORMS[norm])
    trained = (*_STAGES[:trainable_stages], *(("bn1",) if trainable_stages == len(_STAGES) else ()))
    for parameter_name, parameter in body.named_parameters():
        parameter.requires_grad_(parameter_name.split(".")[0] in trained)
    if not fpn:
        return C5Backbone(body, out_channels)
    channels = [body.fc.in_features // 2**i for i in (3, 2, 1, 0)]
    layers = {f"layer{i + 1}": str(i) for i in range(4)}
    return BackboneWithFPN(body, layers, channels, out_channels, extra_blocks=LastLevelMaxPool())


def load_backbone_weights(backbone: nn.Module, name: str, weights: str) -> None:
    """Load torchvision's classification weights (for example ``"IMAGENET1K_V1"``) into the ResNet of ``backbone``.

    Downloads them on first use.

    Raises:
        ValueError: if torchvision has no weights of that name for this network, or they lack part of it.
        WorkError: if they cannot be downloaded or are damaged.
    """
    known = {entry.name: entry for entry in get_model_weights(name)}
    if weights not in known:
        raise ValueError(f"weights of {name} must be one of {tuple(known)}, got {weights!r}")
    try:
        state = known[weights].get_state_dict(progress=sys.stderr.isatty(), check_hash=True)
    except (OSError, RuntimeError) as error:
        raise WorkError(f"weights {weights} of {name} cannot be downloaded ({error})") from error
    body: nn.Module = backbone.body  # type: ignore[assignment]
    missing, _ = body.load_state_dict({k: v for k, v in state.items() if not k.startswith("fc.")}, strict=False)
    gaps = [key for key in missing if not key.endswith("num_batches_tracked")]
    if gaps:
        raise ValueError(f"{weights} of {name} lacks {gaps[:3]}")
