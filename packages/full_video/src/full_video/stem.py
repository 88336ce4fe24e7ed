"""The first stages of a ResNet: what every frame passes before frames are averaged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import resnet

__all__ = ["BEFORE_STAGES", "ResNetStem", "run_stem"]

BEFORE_STAGES = ("conv1", "bn1", "relu", "maxpool")
"""torchvision's names of the layers before the first stage."""


class ResNetStem(nn.Module):
    """The stem of a network as a module of its own, made of the network's own layers.

    Args:
        network: has torchvision's layers, and the buffers ``pixel_mean`` and ``pixel_std`` (3, 1, 1).
        stages: names of the stages that belong to the stem, in order.
        average: ``before_relu`` leaves out the last ReLU.
    """

    def __init__(self, network: Any, stages: Sequence[str], average: str) -> None:
        super().__init__()
        for name in (*BEFORE_STAGES, *stages):
            setattr(self, name, getattr(network, name))
        self.pixel_mean, self.pixel_std = nn.Buffer(network.pixel_mean), nn.Buffer(network.pixel_std)
        self._stages, self._average = tuple(stages), average

    def forward(self, x: Tensor) -> Tensor:
        return run_stem(self, x, self._stages, self._average)


def run_stem(layers: Any, x: Tensor, stages: Sequence[str], average: str) -> Tensor:
    """(n, 3, H, W) frames to (n, C, h, w) maps; uint8 frames are normalised first. Arguments as for :class:`ResNetStem`."""
    if x.dtype == torch.uint8:
        x = x.to(layers.pixel_mean.dtype).div_(255).sub_(layers.pixel_mean).div_(layers.pixel_std)
    x = layers.maxpool(layers.relu(layers.bn1(layers.conv1(x))))
    for stage in stages[:-1]:
        x = getattr(layers, stage)(x)
    *blocks, last = getattr(layers, stages[-1])
    for block in blocks:
        x = block(x)
    maps: Tensor = last(x) if average == "after_relu" else _residual_sum(last, x)
    return maps


def _residual_sum(block: Any, x: Tensor) -> Tensor:
    """A residual block of torchvision's without its last ReLU."""
    shortcut = x if block.downsample is None else block.downsample(x)
    x = block.relu(block.bn1(block.conv1(x)))
    if isinstance(block, resnet.Bottleneck):
        x = block.bn3(block.conv3(block.relu(block.bn2(block.conv2(x)))))
    else:
        x = block.bn2(block.conv2(x))
    total: Tensor = x.add_(shortcut)
    return total
