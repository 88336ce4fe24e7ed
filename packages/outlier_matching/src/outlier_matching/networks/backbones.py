"""Backbones: the layers below fc6, which turn every image into one vector."""

from collections.abc import Callable

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import get_model, list_models

from outlier_matching.networks.domain_norm import DomainBatchNorm2d

_LAST_LAYERS = ("fc", "classifier", "heads", "head")  # of torchvision's networks; a backbone leaves them out
_SMALL: dict[str, Callable[[int], nn.Module] | None] = {
    "small": None, "small_bn": nn.BatchNorm2d, "small_dbn": DomainBatchNorm2d,
}  # fmt: skip


class StackedLayers(nn.Sequential):
    """Convolutions and the layers between them, numbered as in torchvision. ``layers``: conv1 to conv5 of AlexNet or of a
    small backbone, where batch norm follows its convolution, or SqueezeNet's convolution and fire modules. ``pool``: side of
    the feature map that fc6 takes."""

    def __init__(self, layers: nn.Sequential, pool: int) -> None:
        super().__init__()
        self.features = layers
        self.avgpool = nn.AdaptiveAvgPool2d(pool)

    def forward(self, images: Tensor, domain: int = 0, first: int = 0) -> Tensor:
        """(n, 3, H, W) of one domain -> (n, C * pool * pool). Only :class:`DomainBatchNorm2d` uses ``domain``. With ``first``,
        ``images`` are the maps that the layers before this one gave."""
        return self.avgpool(self.maps(images, domain, self.features[first:])).flatten(1)

    def maps(self, images: Tensor, domain: int, layers: nn.Sequential) -> Tensor:
        """Output of some of the layers."""
        for layer in layers:
            images = layer(images, domain) if isinstance(layer, DomainBatchNorm2d) else layer(images)
        return images

    @property
    def knows_domains(self) -> bool:
        """Whether the layers distinguish domains."""
        return any(isinstance(layer, DomainBatchNorm2d) for layer in self.features)

    @property
    def last_two(self) -> list[nn.Module]:
        """conv4 and conv5, or the last two fire modules of SqueezeNet: what the thesis trains below fc6."""
        return [layer for layer in self.features if convolutions(layer)][-2:]

    @property
    def before_last_two(self) -> nn.Sequential:
        """The layers before :attr:`last_two`."""
        return self.features[: list(self.features).index(self.last_two[0])]


def convolutions(layer: nn.Module) -> list[nn.Conv2d]:
    """The convolutions of a layer: itself, or the three of a fire module."""
    return [part for part in layer.modules() if isinstance(part, nn.Conv2d)]


def build_backbone(name: str, size: int) -> tuple[nn.Module, int]:
    """A backbone with random weights and the length of its vectors. Raises ValueError if there is no such network, or
    it does not give one vector for an image of that size. ``name``: ``alexnet``, ``small``, ``small_bn``,
    ``small_dbn``, or a classifier of torchvision without its last layers; ``size``: height and width of its images."""
    with torch.device("meta"):
        shape_only = _build(name).train()
        try:
            vectors = shape_only(torch.empty(2, 3, size, size))
            if not isinstance(vectors, Tensor) or vectors.ndim != 2:
                raise ValueError("it gives more than one vector per image")
        except (RuntimeError, ValueError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"backbone {name} cannot take images of {size} pixels ({reason})") from error
    return _build(name), vectors.shape[1]


def _build(name: str) -> nn.Module:
    if name in _SMALL:
        return StackedLayers(_small(_SMALL[name]), 4)
    if name not in list_models(module=torchvision.models):
        raise ValueError(
            f"backbone must be {', '.join(_SMALL)} or a classifier of torchvision such as alexnet, got {name!r}"
        )
    if name == "alexnet":
        return StackedLayers(_alexnet(), 6)
    network = get_model(name, weights=None)
    if name.startswith("squeezenet"):  # AlexNet's fc6 takes 9,216 numbers, this one 4,608, and without a pool 86,528
        return StackedLayers(network.features, 3)
    last = next((child for child in _LAST_LAYERS if hasattr(network, child)), None)
    if last is None:
        raise ValueError(f"backbone {name} has none of the last layers {', '.join(_LAST_LAYERS)}")
    setattr(network, last, nn.Flatten())
    return network


def _alexnet() -> nn.Sequential:
    """torchvision's convolutions. The last layers, with 59 million random weights, are never initialised."""
    with torch.device("meta"):
        layers = get_model("alexnet", weights=None).features
    layers.to_empty(device=torch.get_default_device())
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            layer.reset_parameters()
    return layers


def _small(norm: Callable[[int], nn.Module] | None) -> nn.Sequential:
    """AlexNet's order of layers for images a quarter as wide, without normalisation or with ``norm``."""

    def conv(into: int, out: int, kernel: int, stride: int = 1) -> tuple[nn.Module, ...]:
        layer = nn.Conv2d(into, out, kernel, stride, kernel // 2)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # there is one
        return (layer, *(() if norm is None else (norm(out),)), nn.ReLU(inplace=True))

    return nn.Sequential(
        *conv(3, 32, 5, 2), nn.MaxPool2d(3, 2, 1), *conv(32, 64, 3), nn.MaxPool2d(3, 2, 1), *conv(64, 96, 3),
        *conv(96, 96, 3), *conv(96, 96, 3), nn.MaxPool2d(3, 2, 1),
    )  # fmt: skip
