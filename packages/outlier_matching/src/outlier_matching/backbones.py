"""What lies below fc6: layers that turn images into one vector each."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models import get_model, list_models

from outlier_matching.errors import UsageError

__all__ = ["CLASSIFIERS", "FiveLayers", "build_backbone"]

CLASSIFIERS = ("fc", "classifier", "heads", "head")
"""What torchvision's networks call their last layers, which are left out."""


class FiveLayers(nn.Sequential):
    """Convolutions conv1 to conv5 with what lies between them, as torchvision numbers AlexNet's.

    Args:
        layers: AlexNet's or :func:`_small`'s; batch norm, where there is any, follows its convolution.
        pool: side of the map that the last layers see.
    """

    def __init__(self, layers: nn.Sequential, pool: int) -> None:
        super().__init__()
        self.features = layers
        self.avgpool = nn.AdaptiveAvgPool2d(pool)

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, H, W) -> (n, C * pool * pool)."""
        maps: Tensor = self.avgpool(self.features(images))
        return maps.flatten(1)

    def conv(self, number: int) -> nn.Conv2d:
        """Convolution ``number``, from 1."""
        return [layer for layer in self.features if isinstance(layer, nn.Conv2d)][number - 1]

    def before(self, number: int) -> nn.Sequential:
        """The layers before convolution ``number``."""
        return self.features[: list(self.features).index(self.conv(number))]


def build_backbone(name: str, size: int) -> tuple[nn.Module, int]:
    """A backbone with random weights, and the length of its vectors.

    Args:
        name: ``alexnet``, ``small``, ``small_bn``, or a classifier of torchvision.
        size: height and width of its images.

    Raises:
        UsageError: if there is no such network, or it does not give one vector for such an image.
    """
    try:
        with torch.device("meta"):
            length = _length(_build(name), size)
    except (RuntimeError, ValueError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"backbone {name} cannot see images of {size} pixels ({reason})") from error
    return _build(name), length


def _build(name: str) -> nn.Module:
    if name in ("small", "small_bn"):
        return FiveLayers(_small(norm=name == "small_bn"), 4)
    if name not in list_models(module=_torchvision()):
        raise UsageError(
            f"backbone must be small, small_bn or a classifier of torchvision such as alexnet, got {name!r}"
        )
    if name == "alexnet":
        return FiveLayers(_alexnet(), 6)
    network: nn.Module = get_model(name, weights=None)
    last = next((child for child in CLASSIFIERS if hasattr(network, child)), None)
    if last is None:
        raise UsageError(f"backbone {name} has none of the last layers {', '.join(CLASSIFIERS)}")
    setattr(network, last, nn.Flatten())
    return network


def _length(backbone: nn.Module, size: int) -> int:
    vectors = backbone.train()(torch.empty(2, 3, size, size, device="meta"))
    if not isinstance(vectors, Tensor) or vectors.ndim != 2:
        raise ValueError("it gives more than one vector an image")
    return int(vectors.shape[1])


def _alexnet() -> nn.Sequential:
    """torchvision's convolutions without its last layers, whose 59 million random numbers nobody needs."""
    with torch.device("meta"):
        layers: nn.Sequential = get_model("alexnet", weights=None).features
    layers.to_empty(device=torch.get_default_device())
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            layer.reset_parameters()
    return layers


def _small(norm: bool) -> nn.Sequential:
    """AlexNet's order of layers for images a quarter as wide; without normalisation, as AlexNet, or with batch norm."""

    def conv(into: int, out: int, kernel: int, stride: int = 1) -> tuple[nn.Module, ...]:
        layer = nn.Conv2d(into, out, kernel, stride, kernel // 2)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # there is one
        return (layer, *((nn.BatchNorm2d(out),) if norm else ()), nn.ReLU(inplace=True))

    return nn.Sequential(
        *conv(3, 32, 5, 2),
        nn.MaxPool2d(3, 2, 1),
        *conv(32, 64, 3),
        nn.MaxPool2d(3, 2, 1),
        *conv(64, 96, 3),
        *conv(96, 96, 3),
        *conv(96, 96, 3),
        nn.MaxPool2d(3, 2, 1),
    )


def _torchvision() -> object:
    import torchvision.models

    return torchvision.models
