"""torchvision's ResNets, also thinner and wider ones."""

from __future__ import annotations

import torch
from torch import nn
from torchvision.models import resnet

from full_video.network_config import STAGES, NetworkConfig

__all__ = ["build_body"]


def build_body(config: NetworkConfig) -> resnet.ResNet:
    """torchvision's network ``config.backbone`` with random weights, drawn as torchvision draws them.

    With another ``width`` than 64 every layer is wider or thinner by the same factor; names of the parameters stay.
    """
    make = getattr(resnet, config.backbone)
    if config.width == 64:
        body: resnet.ResNet = make(weights=None)
        return body
    with torch.device("meta"):
        layout = make(weights=None)
    return _Body(type(layout.layer1[0]), [len(getattr(layout, stage)) for stage in STAGES], config.width)


class _Body(resnet.ResNet):
    """torchvision's layers with ``width`` channels in the first stage in place of 64."""

    def __init__(self, block: type[resnet.BasicBlock | resnet.Bottleneck], layers: list[int], width: int) -> None:
        self._width = width
        super().__init__(block, layers)
        # What torchvision makes with 64 channels whatever the stages have.
        self.conv1 = nn.Conv2d(3, width, kernel_size=7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.bn1 = nn.BatchNorm2d(width)
        self.fc = nn.Linear(8 * width * block.expansion, 1)

    def _make_layer(
        self,
        block: type[resnet.BasicBlock | resnet.Bottleneck],
        planes: int,
        blocks: int,
        stride: int = 1,
        dilate: bool = False,
    ) -> nn.Sequential:
        if planes == 64:
            self.inplanes = self._width
        return super()._make_layer(block, planes * self._width // 64, blocks, stride, dilate)
