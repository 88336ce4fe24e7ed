"""torchvision's ResNets, thinner and wider versions of them, and their first stages as a stem for every frame."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import resnet

from full_video.networks.config import STAGES, NetworkConfig

BEFORE_STAGES = ("conv1", "bn1", "relu", "maxpool")
"""torchvision's names of the layers before the first stage."""


def build_body(config: NetworkConfig) -> resnet.ResNet:
    """torchvision's network ``config.backbone`` with random weights, drawn as torchvision draws them. With another
    ``width`` than 64 all layers are wider or thinner by the same factor; the parameters keep their names."""
    make = getattr(resnet, config.backbone)
    if config.width == 64:
        return make(weights=None)
    with torch.device("meta"):
        layout = make(weights=None)
    return _Body(type(layout.layer1[0]), [len(getattr(layout, stage)) for stage in STAGES], config.width)


class _Body(resnet.ResNet):
    """torchvision's layers with ``width`` channels in the first stage in place of 64."""

    def __init__(self, block: type[resnet.BasicBlock | resnet.Bottleneck], layers: list[int], width: int) -> None:
        self._width = width
        super().__init__(block, layers)
        # torchvision makes these with 64 channels in any case.
        self.conv1 = nn.Conv2d(3, width, kernel_size=7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.bn1 = nn.BatchNorm2d(width)
        self.fc = nn.Linear(8 * width * block.expansion, 1)

    def _make_layer(self, block: Any, planes: int, *options: Any, **named: Any) -> nn.Sequential:
        if planes == 64:
            self.inplanes = self._width
        return super()._make_layer(block, planes * self._width // 64, *options, **named)


class ResNetStem(nn.Module):
    """The layers of a network up to the last of ``stages``, as a module; ``average`` ``before_relu`` leaves out the
    last ReLU. ``network`` has torchvision's layers and the buffers ``pixel_mean`` and ``pixel_std`` (3, 1, 1)."""

    def __init__(self, network: Any, stages: Sequence[str], average: str) -> None:
        super().__init__()
        for name in (*BEFORE_STAGES, *stages):
            setattr(self, name, getattr(network, name))
        self.pixel_mean, self.pixel_std = nn.Buffer(network.pixel_mean), nn.Buffer(network.pixel_std)
        self._stages, self._average = tuple(stages), average

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 4 or x.shape[1] != 3:
            raise ValueError(f"expected frames (n, 3, H, W), got {x.dtype} {tuple(x.shape)}")
        return run_stem(self, x, self._stages, self._average)


def run_stem(layers: Any, x: Tensor, stages: Sequence[str], average: str) -> Tensor:
    """(n, 3, H, W) frames -> (n, C, h, w) maps; uint8 frames are normalised first. Arguments as for :class:`ResNetStem`."""
    if x.dtype == torch.uint8:
        x = x.to(layers.pixel_mean.dtype).div_(255).sub_(layers.pixel_mean).div_(layers.pixel_std)
    x = layers.maxpool(layers.relu(layers.bn1(layers.conv1(x))))
    for stage in stages[:-1]:
        x = getattr(layers, stage)(x)
    *blocks, last = getattr(layers, stages[-1])
    for block in blocks:
        x = block(x)
    return last(x) if average == "after_relu" else _residual_sum(last, x)


def _residual_sum(block: Any, x: Tensor) -> Tensor:
    """A residual block of torchvision without its last ReLU."""
    shortcut = x if block.downsample is None else block.downsample(x)
    x = block.relu(block.bn1(block.conv1(x)))
    x = block.bn2(block.conv2(x))
    if isinstance(block, resnet.Bottleneck):
        x = block.bn3(block.conv3(block.relu(x)))
    return x.add_(shortcut)
