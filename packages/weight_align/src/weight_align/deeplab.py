"""DeepLabv3 (Chen et al., arXiv:1706.05587) over a ResNet of this package, with output stride 16.

The last stage of the ResNet keeps its resolution: the convolution that had stride 2 has stride 1, and the 3x3 ones after it
have dilation 2 in its place, so that pretrained weights go on computing what they did; multi-grid rates multiply the
dilations of their block. Atrous spatial pyramid pooling looks at the maps in five ways at once: 1x1, three dilated 3x3, and
the mean over the picture.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from weight_align.align import gain_value
from weight_align.checkpoint import read_tensors, write_tensors
from weight_align.convert import weight_align
from weight_align.errors import UsageError
from weight_align.network_config import NetworkConfig
from weight_align.networks import build_network
from weight_align.norms import SAMPLE_NORMS, make_norm, weight_norm
from weight_align.resnet import ResNet

__all__ = ["DeepLab", "HeadConfig", "build_deeplab", "load_deeplab", "save_deeplab"]

_FORMAT = "weight_align.segmentation/1"


@dataclass(frozen=True)
class HeadConfig:
    """The part of DeepLabv3 that follows the ResNet. Defaults are the paper's for output stride 16."""

    channels: int = 256
    """Of each of the five branches, and of what they are put together to."""
    rates: tuple[int, ...] = (6, 12, 18)
    """Dilations of the 3x3 branches."""
    multi_grid: tuple[int, ...] = (1, 1, 1)
    """Of the blocks of the ResNet's last stage: what multiplies their dilations (thesis, section 5.4.4)."""

    def __post_init__(self) -> None:
        for name, values in (("channels", (self.channels,)), ("rates", self.rates), ("multi_grid", self.multi_grid)):
            if not values or min(values) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}")


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling and the classifier of pixels.

    A norm follows every convolution but the last, as in the ResNet, with one exception: a norm over single channels of
    single pictures (instance norm; group norm of 32 channels or fewer) has nothing to take a deviation of in the mean over the
    picture, so that branch has none.

    Args:
        inputs: channels of the maps.
        config: norm and classes.
        head: channels and dilations.
    """

    def __init__(self, inputs: int, config: NetworkConfig, head: HeadConfig) -> None:
        super().__init__()
        norm, channels = config.norm, head.channels
        self.branches = nn.ModuleList([_convolution(inputs, channels, 1, 1, norm)])
        self.branches.extend(_convolution(inputs, channels, 3, rate, norm) for rate in head.rates)
        alone = norm == "in" or (norm == "gn" and 32 % channels == 0)
        self.pooled = _convolution(inputs, channels, 1, 1, "none" if alone else norm)
        self.project = _convolution(channels * (len(self.branches) + 1), channels, 1, 1, norm)
        self.classifier = nn.Conv2d(channels, config.classes, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, h, w) -> scores (B, classes, h, w)."""
        mean = self.pooled(maps.mean((2, 3), keepdim=True)).expand(-1, -1, *maps.shape[2:])
        joined = torch.cat([*(branch(maps) for branch in self.branches), mean], dim=1)
        scores: Tensor = self.classifier(self.project(joined))
        return scores


def _convolution(inputs: int, outputs: int, side: int, rate: int, norm: Any) -> nn.Sequential:
    padding = rate if side == 3 else 0
    conv = nn.Conv2d(inputs, outputs, side, padding=padding, dilation=rate, bias=norm not in SAMPLE_NORMS)
    nn.init.kaiming_normal_(conv.weight, mode="fan_in", nonlinearity="relu")
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return nn.Sequential(conv, make_norm(norm, outputs), nn.ReLU(inplace=True))


class DeepLab(nn.Module):
    """Scores of every pixel: the ResNet's maps, the pyramid, and a bilinear enlargement to the picture's size.

    Attributes:
        config: of the ResNet.
        head_config: of what follows it.
    """

    def __init__(self, backbone: ResNet, head: Pyramid, config: NetworkConfig, head_config: HeadConfig) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head
        self.config, self.head_config = config, head_config

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> scores (B, classes, H, W)."""
        scores = self.head(self.backbone.forward_features(images))
        return interpolate(scores, size=images.shape[2:], mode="bilinear", align_corners=True)


def build_deeplab(config: NetworkConfig, head: HeadConfig | None = None, weights: str | Path | None = None) -> DeepLab:
    """A DeepLabv3 with random weights, or with those of a trained classifier in its ResNet.

    With WeightAlign all convolutions are aligned but the classifier of pixels.

    Args:
        config: of the ResNet; ``classes`` are those of the pixels. With ``stem="cifar"`` the output stride is 4.
        head: of what follows it.
        weights: of the ResNet, as :func:`~weight_align.networks.build_network` takes them.

    Raises:
        UsageError: if the backbone is no ResNet, or the weights do not fit.
        WorkError: if the weights cannot be downloaded.
    """
    head = head or HeadConfig()
    if config.backbone == "vgg16":
        raise UsageError("DeepLabv3 here has a ResNet for a backbone, got vgg16")
    backbone = build_network(config, weights)
    assert isinstance(backbone, ResNet)
    inputs = backbone.fc.in_features
    backbone.fc = nn.Identity()  # type: ignore[assignment]
    for number, block in enumerate(backbone.get_submodule("layer4").children()):
        _keep_resolution(block, head.multi_grid[number % len(head.multi_grid)])
    pyramid = Pyramid(inputs, config, head)
    if config.norm == "wn":
        for name, layer in pyramid.named_modules():
            if isinstance(layer, nn.Conv2d) and name != "classifier":
                weight_norm(layer)
    if config.align:
        weight_align(
            pyramid,
            exclude="classifier",
            classifier=True,  # what counts as one is named
            gain=gain_value(config.gain) / config.scale_factor,
            scale=config.scale,
            centre=config.centre,
            variance=config.variance,
        )
    return DeepLab(backbone, pyramid, config, head)


def _keep_resolution(block: nn.Module, grid: int) -> None:
    for layer in block.modules():
        if isinstance(layer, nn.Conv2d):
            if layer.kernel_size == (3, 3):
                rate = grid if layer.stride == (2, 2) else 2 * grid
                layer.dilation, layer.padding = (rate, rate), (rate, rate)
            layer.stride = (1, 1)


def save_deeplab(path: str | Path, network: DeepLab, facts: dict[str, Any]) -> None:
    """Write a network, its configuration, and facts about it.

    Raises:
        WorkError: if the file cannot be written.
    """
    content = {
        "format": _FORMAT,
        "config": asdict(network.config),
        "head": asdict(network.head_config),
        "facts": facts,
        "model": network.state_dict(),
    }
    write_tensors(path, content)


def load_deeplab(path: str | Path) -> tuple[DeepLab, dict[str, Any]]:
    """The network stored in ``path``, in eval mode on the CPU, and the facts stored with it.

    Raises:
        UsageError: if the file is missing, damaged, or holds something else.
    """
    content = read_tensors(path, _FORMAT)
    try:
        with torch.random.fork_rng(devices=[]):  # the weights drawn here are replaced at once
            network = build_deeplab(NetworkConfig(**content["config"]), HeadConfig(**content["head"]))
        network.load_state_dict(content["model"])
        return network.eval(), dict(content["facts"])
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"{path}: not a whole checkpoint of this version ({reason})") from error
