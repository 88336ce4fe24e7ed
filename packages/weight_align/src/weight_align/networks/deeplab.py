"""DeepLabv3 (Chen et al., arXiv:1706.05587) over a ResNet of this package, with output stride 16. The last stage of the ResNet
has stride 1, and dilation 2 after its first 3x3 convolution, so that pretrained weights compute the same features; multi-grid
rates multiply the dilations of their block. The pyramid has a 1x1, three dilated 3x3 branches and the mean of the picture."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from weight_align.method.convert import weight_align
from weight_align.networks.config import SAMPLE_NORMS, HeadConfig, NetworkConfig, Norm
from weight_align.networks.network import align_options, build_network
from weight_align.networks.norms import make_norm, weight_norm
from weight_align.networks.resnet import ResNet


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling and the classifier of pixels. A norm follows every convolution but the last.
    Exception: for norms over single channels of single pictures (instance norm; group norm of 32 channels or fewer) the
    branch of the mean has no norm, since one number has no deviation. ``inputs``: channels of the maps."""

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
        return self.classifier(self.project(joined))


def _convolution(inputs: int, outputs: int, side: int, rate: int, norm: Norm) -> nn.Sequential:
    padding = rate if side == 3 else 0
    conv = nn.Conv2d(inputs, outputs, side, padding=padding, dilation=rate, bias=norm not in SAMPLE_NORMS)
    nn.init.kaiming_normal_(conv.weight, mode="fan_in", nonlinearity="relu")
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return nn.Sequential(conv, make_norm(norm, outputs), nn.ReLU(inplace=True))


class DeepLab(nn.Module):
    """Class scores of every pixel: the maps of the ResNet, the pyramid, and bilinear enlargement to the picture's size."""

    def __init__(self, backbone: ResNet, head: Pyramid, config: NetworkConfig, head_config: HeadConfig) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head
        self.config, self.head_config = config, head_config

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> scores (B, classes, H, W)."""
        scores = self.head(self.backbone.forward_features(images))
        return interpolate(scores, size=images.shape[2:], mode="bilinear", align_corners=True)


def build_deeplab(
    config: NetworkConfig, head: HeadConfig | None = None, state: Mapping[str, Tensor] | None = None
) -> DeepLab:
    """A DeepLabv3 with random weights, or with the weights of a trained classifier in its ResNet. With WeightAlign all
    convolutions are aligned except the classifier of pixels. Raises ValueError if the backbone is no ResNet, or the
    state does not fit. ``config``: the ResNet; ``classes`` are those of the pixels. With ``stem="cifar"`` the output
    stride is 4. ``state``: ``state_dict`` for the ResNet, as in :func:`~weight_align.networks.network.build_network`.
    """
    head = head or HeadConfig()
    if not config.backbone.startswith("resnet"):
        raise ValueError(f"the backbone of DeepLabv3 must be a ResNet, got {config.backbone}")
    backbone = build_network(config, state)
    assert isinstance(backbone, ResNet)
    inputs = backbone.fc.in_features
    backbone.fc = nn.Identity()  # type: ignore[assignment]
    for number, block in enumerate(backbone.get_submodule("layer4").children()):
        _keep_resolution(block, head.multi_grid[number % len(head.multi_grid)])
    pyramid = Pyramid(inputs, config, head)
    if config.norm == "wn":
        weight_norm(pyramid, "classifier")
    if config.align:
        weight_align(pyramid, **align_options(config))
    return DeepLab(backbone, pyramid, config, head)


def _keep_resolution(block: nn.Module, grid: int) -> None:
    for layer in block.modules():
        if isinstance(layer, nn.Conv2d):
            if layer.kernel_size == (3, 3):
                rate = grid if layer.stride == (2, 2) else 2 * grid
                layer.dilation, layer.padding = (rate, rate), (rate, rate)
            layer.stride = (1, 1)
