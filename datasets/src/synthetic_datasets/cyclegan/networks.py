"""The two kinds of network of a CycleGAN: a ResNet that repaints a picture, a PatchGAN that judges it patch by patch."""

import torch
from torch import Tensor, nn

LAYERS = 3
"""Halvings of a PatchGAN and one stride-1 layer: each of its outputs sees 70 x 70 px."""


class ResnetBlock(nn.Module):
    """``x + f(x)``, f two 3 x 3 convolutions at the same width; no ReLU after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect"),
            nn.InstanceNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect"),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) to the same shape."""
        out: Tensor = x + self.body(x)
        return out


class ResnetGenerator(nn.Module):
    """Pictures of one domain as pictures of the other: 11,378,179 numbers for ``ngf`` 64 and 9 blocks.

    7 x 7 to ``ngf`` channels, two 3 x 3 of stride 2 that double them, ``blocks`` residual blocks, two transposed 3 x 3 of
    stride 2, 7 x 7 and tanh. Instance norm without weights follows every convolution but the last; borders are reflected.

    Args:
        ngf: channels of the first layer.
        blocks: residual blocks.
    """

    def __init__(self, ngf: int = 64, blocks: int = 9) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, ngf, 7, padding=3, padding_mode="reflect"), *_norm_relu(ngf)]
        for width in (ngf, 2 * ngf):
            layers += [nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), *_norm_relu(2 * width)]
        layers += [ResnetBlock(4 * ngf) for _ in range(blocks)]
        for width in (4 * ngf, 2 * ngf):
            layers += [
                nn.ConvTranspose2d(width, width // 2, 3, stride=2, padding=1, output_padding=1),
                *_norm_relu(width // 2),
            ]
        layers += [nn.Conv2d(ngf, 3, 7, padding=3, padding_mode="reflect"), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, h, w) in -1..1 to the same; h and w multiples of 4.

        Raises:
            ValueError: they are not.
        """
        if images.shape[-2] % 4 or images.shape[-1] % 4:
            raise ValueError(f"expected height and width in multiples of 4, got {tuple(images.shape[-2:])}")
        out: Tensor = self.layers(images)
        return out


class PatchDiscriminator(nn.Module):
    """How real every 70 x 70 patch of a picture looks: 2,764,737 numbers for ``ndf`` 64.

    4 x 4 convolutions: three of stride 2 with ``ndf``, twice and four times as many channels, one of stride 1 with eight
    times as many, one of stride 1 to a single channel. LeakyReLU 0.2; instance norm on all but the first and the last.

    Args:
        ndf: channels of the first layer.
    """

    def __init__(self, ndf: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, ndf, 4, stride=2, padding=1), nn.LeakyReLU(0.2, inplace=True)]
        width = ndf
        for number in range(1, LAYERS + 1):
            wider = ndf * min(2**number, 8)
            stride = 2 if number < LAYERS else 1
            layers += [nn.Conv2d(width, wider, 4, stride=stride, padding=1), nn.InstanceNorm2d(wider)]
            layers += [nn.LeakyReLU(0.2, inplace=True)]
            width = wider
        layers += [nn.Conv2d(width, 1, 4, padding=1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, h, w) in -1..1 to (n, 1, h/8 - 2, w/8 - 2): 1 for real, 0 for translated, as trained."""
        out: Tensor = self.layers(images)
        return out


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Every convolution's weights from N(0, 0.02), its bias zero; in place."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _norm_relu(channels: int) -> list[nn.Module]:
    return [nn.InstanceNorm2d(channels), nn.ReLU(inplace=True)]
