"""ResNet-18 to 152 (He et al. 2016) with any norm or with Fixup's scalars; torchvision's layers, or a stem for 32 pixels."""

import torch
from torch import Tensor, nn

from weight_align.networks.config import SAMPLE_NORMS, NetworkConfig
from weight_align.networks.norms import make_norm

_DEPTHS = {
    "resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3),
    "resnet152": (3, 8, 36, 3),
}  # fmt: skip


def _shifted(maps: Tensor, offset: Tensor) -> Tensor:
    """Maps plus a scalar (1,), in the dtype of the maps: under autocast a float32 scalar would widen all later maps."""
    return maps + offset.to(maps.dtype)


class Convolution(nn.Conv2d):
    """A convolution with Fixup's scalars around it and without a bias. The scalars are applied to the weight and to a
    bias where these are smaller than the maps, which saves passes over maps."""

    def __init__(self, inputs: int, outputs: int, side: int, stride: int = 1, padding: int = 0) -> None:
        super().__init__(inputs, outputs, side, stride, padding, bias=False)

    def forward(
        self, maps: Tensor, before: Tensor | None = None, factor: Tensor | None = None, after: Tensor | None = None
    ) -> Tensor:
        """``factor * conv(maps + before) + after``. Returns (B, outputs, H', W'). ``maps``: (B, inputs, H, W);
        ``before``, ``factor``, ``after``: scalars (1,)."""
        weight, bias = self.weight, None
        # A compiler merges passes over maps itself, and its graph should not depend on the number of images.
        large = not torch.compiler.is_compiling() and maps.numel() >= weight.numel()
        late = factor is not None and not large
        if factor is not None and not late:
            weight = weight * factor
        if before is not None and (any(self.padding) or not large):  # zeros around the maps are not shifted
            maps = _shifted(maps, before)
        elif before is not None:
            bias = before * weight.sum((1, 2, 3))
        if after is not None and not late:
            bias = after.expand(self.out_channels) if bias is None else bias + after
        out = self._conv_forward(maps, weight, bias)
        if factor is None or not late:
            return out
        out = out * factor.to(out.dtype)
        return out if after is None else _shifted(out, after)


def _convolution(
    config: NetworkConfig, inputs: int, outputs: int, side: int, stride: int = 1, padding: int = 0
) -> nn.Conv2d:
    """A convolution; it has a bias for each channel unless a norm or Fixup's scalars follow."""
    if config.fixed_up:
        return Convolution(inputs, outputs, side, stride, padding)
    return nn.Conv2d(inputs, outputs, side, stride, padding, bias=config.norm not in SAMPLE_NORMS)


class Block(nn.Module):
    """A residual block: ``relu(shortcut(x) + branch(x))``; the branch is convolutions, each with a norm after it. With
    Fixup there are no norms, but a learnable scalar offset before each convolution and each ReLU, and one scalar factor
    at the end of the branch (``bias1a``, ``bias1b``, ..., ``scale``, the names of the authors' code). Without either,
    the convolutions have a bias for each channel. ``shapes``: inputs, outputs, kernel side and stride of each
    convolution of the branch."""

    bias1a: nn.Parameter
    expansion = 1
    """Output channels of a block divided by the channels of its stage."""

    def __init__(self, shapes: list[tuple[int, int, int, int]], config: NetworkConfig) -> None:
        super().__init__()
        self.convolutions = len(shapes)
        self.fixup = config.fixed_up
        for number, (inputs, outputs, side, stride) in enumerate(shapes, start=1):
            self.add_module(f"conv{number}", _convolution(config, inputs, outputs, side, stride, side // 2))
            if self.fixup:
                self.register_parameter(f"bias{number}a", nn.Parameter(torch.zeros(1)))
                self.register_parameter(f"bias{number}b", nn.Parameter(torch.zeros(1)))
            else:
                self.add_module(f"bn{number}", make_norm(config.norm, outputs, config.width))
        if self.fixup:
            self.scale = nn.Parameter(torch.ones(1))
        self.relu = nn.ReLU(inplace=True)
        inputs, outputs = shapes[0][0], shapes[-1][1]
        stride = max(stride for *_, stride in shapes)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inputs != outputs:
            layers: list[nn.Module] = [_convolution(config, inputs, outputs, 1, stride)]
            if config.norm in SAMPLE_NORMS:
                layers.append(make_norm(config.norm, outputs, config.width))
            self.downsample = nn.Sequential(*layers)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        if self.fixup:
            return self._fixed_up(maps)
        branch = maps
        for number in range(1, self.convolutions + 1):
            branch = self.relu(branch) if number > 1 else branch
            branch = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(branch))
        return self.relu(branch + (maps if self.downsample is None else self.downsample(maps)))

    def _fixed_up(self, maps: Tensor) -> Tensor:
        branch = maps
        for number in range(1, self.convolutions + 1):
            before, after = getattr(self, f"bias{number}a"), getattr(self, f"bias{number}b")
            branch = self.relu(branch) if number > 1 else branch
            factor = self.scale if number == self.convolutions else None
            branch = getattr(self, f"conv{number}")(branch, before=before, factor=factor, after=after)
        shortcut = maps if self.downsample is None else self.downsample[0](maps, before=self.bias1a)
        return self.relu(branch + shortcut)


class BasicBlock(Block):
    """Two 3x3 convolutions."""

    def __init__(self, inputs: int, channels: int, stride: int, config: NetworkConfig) -> None:
        super().__init__([(inputs, channels, 3, stride), (channels, channels, 3, 1)], config)


class Bottleneck(Block):
    """1x1, 3x3 and 1x1 convolutions; the 3x3 one has the stride, as in torchvision."""

    expansion = 4

    def __init__(self, inputs: int, channels: int, stride: int, config: NetworkConfig) -> None:
        shapes = [(inputs, channels, 1, 1), (channels, channels, 3, stride), (channels, 4 * channels, 1, 1)]
        super().__init__(shapes, config)


class ResNet(nn.Module):
    """Four stages of residual blocks. Initial weights of the convolutions are He et al.'s (thesis, section 5.3.3):
    normal with variance 2/n. Raises ValueError if the backbone is no ResNet."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        if config.backbone not in _DEPTHS:
            raise ValueError(f"backbone must be one of {tuple(_DEPTHS)}, got {config.backbone!r}")
        self.config = config
        block = BasicBlock if config.backbone in ("resnet18", "resnet34") else Bottleneck
        if config.stem == "cifar":
            self.conv1 = _convolution(config, 3, config.width, 3, 1, 1)
            self.maxpool: nn.Module = nn.Identity()
        else:
            self.conv1 = _convolution(config, 3, config.width, 7, 2, 3)
            self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        if config.fixed_up:
            self.bias1, self.bias2 = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
        else:
            self.bn1 = make_norm(config.norm, config.width, config.width)
        self.relu = nn.ReLU(inplace=True)
        channels = config.width
        for stage, depth in enumerate(_DEPTHS[config.backbone]):
            blocks = []
            for number in range(depth):
                stride = 2 if stage and not number else 1
                blocks.append(block(channels, config.width * 2**stage, stride, config))
                channels = config.width * 2**stage * block.expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, config.classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward_features(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> maps of the last stage, (B, C, H / s, W / s); s is 8 (``cifar``) or 32 (``imagenet``)."""
        maps = self.conv1(images, after=self.bias1) if self.config.fixed_up else self.bn1(self.conv1(images))
        maps = self.maxpool(self.relu(maps))
        for stage in range(1, 5):
            maps = getattr(self, f"layer{stage}")(maps)
        return maps  # type: ignore[no-any-return]

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> class scores (B, classes)."""
        pooled = self.avgpool(self.forward_features(images)).flatten(1)
        return self.fc(_shifted(pooled, self.bias2) if self.config.fixed_up else pooled)

    def blocks(self) -> list[Block]:
        """The residual blocks from the first to the last."""
        return [block for block in self.modules() if isinstance(block, Block)]
