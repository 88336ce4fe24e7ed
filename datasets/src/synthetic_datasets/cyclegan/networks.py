"""The networks of a CycleGAN: ResNets that repaint a picture, PatchGANs that judge it patch by patch. How pictures go
through them, and the pool of translations that the PatchGANs are shown."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Pixels = NDArray[np.uint8]
LAYERS = 3
"""Halvings of a PatchGAN and one stride-1 layer: each of its outputs sees 70 x 70 px."""


class ResnetBlock(nn.Module):
    """``x + f(x)``, f two 3 x 3 convolutions at the same width; no ReLU after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect"), nn.InstanceNorm2d(channels),
            nn.ReLU(inplace=True), nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect"),
            nn.InstanceNorm2d(channels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) to the same shape."""
        return x + self.body(x)


class ResnetGenerator(nn.Module):
    """Pictures of one domain as pictures of the other: 11,378,179 numbers for ``ngf`` 64 and 9 blocks. 7 x 7 to ``ngf``
    channels, two 3 x 3 of stride 2 that double them, ``blocks`` residual blocks, two transposed 3 x 3 of stride 2, 7 x
    7 and tanh. Instance norm without weights follows every convolution but the last; borders are reflected. ``ngf``:
    channels of the first layer; ``blocks``: residual blocks."""

    def __init__(self, ngf: int = 64, blocks: int = 9) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, ngf, 7, padding=3, padding_mode="reflect"), *_norm_relu(ngf)]
        for width in (ngf, 2 * ngf):
            layers += [nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), *_norm_relu(2 * width)]
        layers += [ResnetBlock(4 * ngf) for _ in range(blocks)]
        for width in (2 * ngf, ngf):
            up = nn.ConvTranspose2d(2 * width, width, 3, stride=2, padding=1, output_padding=1)
            layers += [up, *_norm_relu(width)]
        layers += [nn.Conv2d(ngf, 3, 7, padding=3, padding_mode="reflect"), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, h, w) in -1..1 to the same; h and w multiples of 4. Raises ValueError if they are not."""
        if images.shape[-2] % 4 or images.shape[-1] % 4:
            raise ValueError(f"expected height and width in multiples of 4, got {tuple(images.shape[-2:])}")
        return self.layers(images)


class PatchDiscriminator(nn.Module):
    """How real every 70 x 70 patch of a picture looks: 2,764,737 numbers for ``ndf`` 64. 4 x 4 convolutions: three of
    stride 2 with ``ndf``, twice and four times as many channels, one of stride 1 with eight times as many, one of
    stride 1 to a single channel. LeakyReLU 0.2; instance norm on all but the first and the last."""

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
        return self.layers(images)


class Networks(nn.Module):
    """The four networks. A are photos, B paintings: ``paint`` goes from A to B, ``judge_painting`` judges B."""

    def __init__(self, ngf: int, ndf: int, blocks: int, generator: torch.Generator) -> None:
        super().__init__()
        self.paint = ResnetGenerator(ngf, blocks)
        self.photograph = ResnetGenerator(ngf, blocks)
        self.judge_photo = PatchDiscriminator(ndf)
        self.judge_painting = PatchDiscriminator(ndf)
        for network in self.children():
            initialise(network, generator)

    def generators(self) -> list[nn.Parameter]:
        return [*self.paint.parameters(), *self.photograph.parameters()]

    def judges(self) -> list[nn.Parameter]:
        return [*self.judge_photo.parameters(), *self.judge_painting.parameters()]


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Every convolution's weights from N(0, 0.02), its bias zero; in place."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _norm_relu(channels: int) -> list[nn.Module]:
    return [nn.InstanceNorm2d(channels), nn.ReLU(inplace=True)]


def to_network(pixels: Pixels) -> Tensor:
    """uint8 (n, h, w, 3) as float32 (n, 3, h, w) in -1..1."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def to_pixels(images: Tensor) -> Pixels:
    """(n, 3, h, w) in -1..1 as uint8 (n, h, w, 3), to the nearest value."""
    values = images.detach().float().add(1).mul_(127.5).round_().clamp_(0, 255)
    return values.to(torch.uint8).permute(0, 2, 3, 1).cpu().contiguous().numpy()


class Translator:
    """A trained generator ready to translate ``batch`` pictures at a time: in eval mode, moved to ``device``. A
    picture's translation depends on those in its batch by rounding alone (one value)."""

    def __init__(self, network: ResnetGenerator, device: str = "cpu", batch: int = 16) -> None:
        self._device, self._batch = device, batch
        self._layout = torch.channels_last if device == "cuda" else torch.contiguous_format  # which is the faster there
        self._network = network.eval().to(device).to(memory_format=self._layout)

    def __call__(self, pixels: Pixels) -> Pixels:
        """uint8 (n, h, w, 3) to the same. Raises ValueError if h or w is no multiple of 4."""
        done = []
        with torch.inference_mode():
            for first in range(0, len(pixels), self._batch):
                images = to_network(pixels[first : first + self._batch])
                done.append(to_pixels(self._network(images.to(self._device, memory_format=self._layout))))
        return np.concatenate(done) if done else pixels.copy()


class ImagePool:
    """The last ``capacity`` translations: discriminators see old ones too, so that the two sides do not chase each
    other. While it fills, every picture goes in and comes back. After that a picture comes back itself with probability
    1/2; else it takes the place of a random one, which comes back."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.images: list[Tensor] = []
        """What it holds, each (3, h, w)."""

    def exchange(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """(n, 3, h, w) to as many of the same shape, detached; decisions come from ``generator``, a CPU one."""
        if self.capacity == 0:
            return images.detach()
        shown = []
        for image in images.detach():
            if len(self.images) < self.capacity:
                self.images.append(image.clone())
            elif torch.rand((), generator=generator) < 0.5:
                place = int(torch.randint(self.capacity, (), generator=generator))
                old, self.images[place] = self.images[place], image.clone()
                image = old
            shown.append(image)
        return torch.stack(shown)

    def state(self) -> Tensor:
        """All it holds, (n, 3, h, w), or an empty tensor; for a checkpoint."""
        return torch.stack(self.images) if self.images else torch.empty(0)

    def restore(self, state: Tensor) -> None:
        self.images = list(state.unbind()) if state.numel() else []
