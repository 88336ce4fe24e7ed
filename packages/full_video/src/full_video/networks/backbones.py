"""torchvision's ResNets and MobileNetV2 at any width, the stages of their layers, and a stem for every frame.

What one family does otherwise than the other is its :class:`Layout`; the network asks nothing else.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v2, resnet
from torchvision.models.mobilenetv2 import InvertedResidual, MobileNetV2

from full_video.networks.config import STAGES, NetworkConfig

_DEEP = 23  # blocks in stage 3 from which TSM shifts every second block only (ResNet-101 and deeper)


class Layout(NamedTuple):
    """Names of a backbone's layers. Frames pass those of ``first``, then those of each stage, one after the other."""

    features: int
    """Channels that the classifier sees."""
    first: tuple[str, ...]
    """Layers before the first stage."""
    stages: dict[str, tuple[str, ...]]
    """Layers of every stage of ``STAGES``. The last one ends with a ReLU; its output is that of the stage."""
    shifted: tuple[str, ...]
    """Convolutions before which TSM shifts."""
    relu: Callable[[Tensor], Tensor]
    """The ReLU at the end of a stage, not in place."""
    before_relu: Callable[[Any, Tensor], Tensor]
    """Output of the last layer of a stage, given it and its input, without that ReLU."""


def build_body(config: NetworkConfig) -> resnet.ResNet | MobileNetV2:
    """torchvision's network ``config.backbone`` with random weights, drawn as torchvision draws them. With another
    ``width`` than 64 all layers are wider or thinner by the same factor; the parameters keep their names."""
    if config.backbone == "mobilenet_v2":
        return mobilenet_v2(weights=None, width_mult=config.width / 64)
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


def layout_of(body: resnet.ResNet | MobileNetV2) -> Layout:
    """The layout of a network of :func:`build_body`."""
    return _mobilenet_layout(body) if isinstance(body, MobileNetV2) else _resnet_layout(body)


def _resnet_layout(body: resnet.ResNet) -> Layout:
    """Stages are torchvision's; the first convolution of a block shifts."""
    every = 2 if len(body.layer3) >= _DEEP else 1
    stages = {stage: tuple(f"{stage}.{at}" for at in range(len(getattr(body, stage)))) for stage in STAGES}
    shifted = tuple(f"{block}.conv1" for blocks in stages.values() for block in blocks[::every])
    first = ("conv1", "bn1", "relu", "maxpool")
    return Layout(body.fc.in_features, first, stages, shifted, torch.relu, _residual_sum)


def _residual_sum(block: Any, x: Tensor) -> Tensor:
    """A residual block of torchvision without its last ReLU."""
    shortcut = x if block.downsample is None else block.downsample(x)
    x = block.relu(block.bn1(block.conv1(x)))
    x = block.bn2(block.conv2(x))
    if isinstance(block, resnet.Bottleneck):
        x = block.bn3(block.conv3(block.relu(x)))
    return x.add_(shortcut)


def _mobilenet_layout(body: MobileNetV2) -> Layout:
    """Stages are the layers whose maps have the strides 4, 8, 16 and 32.

    A block ends without ReLU. The last ReLU of a stage is therefore the ReLU6 after the expansion of the next block, whose
    depthwise convolution has stride 2: the stage ends inside this block, which has no residual connection. As in TSM's code, the
    expansion shifts in blocks with a residual connection."""
    parts: list[list[str]] = [[]]
    shifted = []
    for at, block in enumerate(body.features):
        name, inverted = f"features.{at}", isinstance(block, InvertedResidual)
        if inverted and block.stride == 2:
            parts[-1].append(f"{name}.conv.0")
            parts.append([f"{name}.conv.{layer}" for layer in range(1, len(block.conv))])
        else:
            parts[-1].append(name)
        if inverted and block.use_res_connect and len(block.conv) == 4:  # 3 without expansion
            shifted.append(f"{name}.conv.0.0")
    first, *stages = map(tuple, parts)
    by_name = dict(zip(STAGES, stages, strict=True))
    return Layout(body.last_channel, first, by_name, tuple(shifted), nn.functional.relu6, _without_last)


def _without_last(layers: nn.Sequential, x: Tensor) -> Tensor:
    for layer in list(layers)[:-1]:
        x = layer(x)
    return x


class Stem(nn.Module):
    """Layers of a network, as a module that has these layers alone, under the same names. ``network`` has the layers and
    the buffers ``pixel_mean`` and ``pixel_std`` (3, 1, 1); other arguments as for :func:`run_stem`."""

    def __init__(self, network: Any, names: Sequence[str], last: Callable[[Any, Tensor], Tensor] | None) -> None:
        super().__init__()
        for name in names:
            *folders, own = name.split(".")
            parent: nn.Module = self
            for folder in folders:
                if folder not in dict(parent.named_children()):
                    parent.add_module(folder, nn.Module())
                parent = parent.get_submodule(folder)
            parent.add_module(own, network.get_submodule(name))
        self.pixel_mean, self.pixel_std = nn.Buffer(network.pixel_mean), nn.Buffer(network.pixel_std)
        self._names, self._last = tuple(names), last

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 4 or x.shape[1] != 3:
            raise ValueError(f"expected frames (n, 3, H, W), got {x.dtype} {tuple(x.shape)}")
        return run_stem(self, x, self._names, self._last)


def run_stem(
    network: Any, x: Tensor, names: Sequence[str], last: Callable[[Any, Tensor], Tensor] | None = None
) -> Tensor:
    """(n, 3, H, W) frames -> (n, C, h, w) maps of the layers ``names`` of a network; uint8 frames are normalised first.
    ``last``, of the last layer and its input, stands in for the last layer, as :attr:`Layout.before_relu` does."""
    if x.dtype == torch.uint8:
        x = x.to(network.pixel_mean.dtype).div_(255).sub_(network.pixel_mean).div_(network.pixel_std)
    for name in names[:-1]:
        x = network.get_submodule(name)(x)
    layer = network.get_submodule(names[-1])
    return layer(x) if last is None else last(layer, x)
