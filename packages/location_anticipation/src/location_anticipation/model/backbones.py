"""torchvision's ResNets and MobileNets as detector backbones: a feature pyramid (FPN), or the last stage alone (C5)."""

import sys
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial

from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights, resnet
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from location_anticipation.model.config import DetectorConfig

_STAGES = ("layer4", "layer3", "layer2", "layer1", "conv1")


class C5Backbone(nn.Module):
    """The stages of a network up to C5 (stride 32), then a 1x1 and a 3x3 convolution to ``out_channels``.

    Without FPN, as the thesis's Faster R-CNN [64] and the released code have it.
    """

    def __init__(self, body: nn.Sequential, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.body = body
        self.reduce = nn.Conv2d(in_channels, out_channels, 1)
        self.smooth = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.out_channels = out_channels

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) to {"0": (B, out_channels, H/32, W/32)}."""
        return {"0": self.smooth(self.reduce(self.body(images)))}


def build_backbone(config: DetectorConfig) -> BackboneWithFPN | C5Backbone:
    """A network without weights: its ``channels`` feature maps are "0".."3" and "pool" with a pyramid, "0" without."""
    if config.backbone.startswith("mobilenet"):
        return _mobilenet(config)
    norm = nn.BatchNorm2d if config.norm == "batch" else FrozenBatchNorm2d
    body: resnet.ResNet = getattr(resnet, config.backbone)(weights=None, norm_layer=norm)
    trained = (*_STAGES[: config.trainable_stages], *(("bn1",) if config.trainable_stages == len(_STAGES) else ()))
    for name, parameter in body.named_parameters():
        parameter.requires_grad_(name.split(".")[0] in trained)
    if not config.fpn:
        stages = nn.Sequential(OrderedDict(list(body.named_children())[:-2]))  # without avgpool and fc
        return C5Backbone(stages, body.fc.in_features, config.channels)
    channels = [body.fc.in_features // 2**i for i in (3, 2, 1, 0)]
    layers = {f"layer{i + 1}": str(i) for i in range(4)}
    return BackboneWithFPN(body, layers, channels, config.channels, extra_blocks=LastLevelMaxPool())


def _mobilenet(config: DetectorConfig) -> BackboneWithFPN | C5Backbone:
    """A stage is what lies between two strides of 2. The pyramid stands on the last blocks of strides 4, 8, 16 and 32."""
    eps = 1e-3 if "v3" in config.backbone else 1e-5  # as in torchvision
    norm = {} if config.norm == "batch" else {"norm_layer": partial(FrozenBatchNorm2d, eps=eps)}
    blocks: nn.Sequential = get_model(config.backbone, weights=None, **norm).features
    strided = (any(getattr(m, "stride", None) == (2, 2) for m in block.modules()) for block in blocks)
    starts = [number for number, strides in enumerate(strided) if strides]
    ends = [*(start - 1 for start in starts[1:]), len(blocks) - 1]
    first = [*starts, len(blocks)][len(starts) - config.trainable_stages]
    for number, block in enumerate(blocks):
        block.requires_grad_(number >= first)
    channels: list[int] = [blocks[end].out_channels for end in ends[1:]]  # type: ignore[misc]
    if not config.fpn:
        return C5Backbone(blocks, channels[-1], config.channels)
    layers = {str(end): str(level) for level, end in enumerate(ends[1:])}
    return BackboneWithFPN(blocks, layers, channels, config.channels, extra_blocks=LastLevelMaxPool())


def load_backbone_weights(backbone: nn.Module, name: str, weights: str | Mapping[str, Tensor]) -> None:
    """Load classification weights into the network of ``backbone``: those of torchvision by their name, for example
    ``"IMAGENET1K_V1"``, which it downloads on first use; or a ``state_dict`` of torchvision's network.

    Raises:
        ValueError: if torchvision has no weights of that name for this network, or they lack part of it.
        ConnectionError: if they cannot be downloaded or are damaged.
    """
    state: Mapping[str, Tensor]
    if isinstance(weights, str):
        known = {entry.name: entry for entry in get_model_weights(name)}
        if weights not in known:
            raise ValueError(f"weights of {name} must be one of {tuple(known)}, got {weights!r}")
        try:
            state = known[weights].get_state_dict(progress=sys.stderr.isatty(), check_hash=True)
        except (OSError, RuntimeError) as error:
            raise ConnectionError(f"weights {weights} of {name} cannot be downloaded ({error})") from error
    else:
        state, weights = weights, "the state"
    body: nn.Module = backbone.body  # type: ignore[assignment]
    own = {
        key.removeprefix("features."): value
        for key, value in state.items()
        if not key.startswith(("fc.", "classifier."))
    }
    try:
        missing, _ = body.load_state_dict(own, strict=False)
    except RuntimeError as error:
        raise ValueError(f"{weights} does not fit {name} ({str(error).splitlines()[-1].strip()})") from error
    gaps = [key for key in missing if not key.endswith("num_batches_tracked")]
    if gaps:
        raise ValueError(f"{weights} of {name} lacks {gaps[:3]}")
