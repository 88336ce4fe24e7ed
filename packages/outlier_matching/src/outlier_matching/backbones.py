"""What lies below fc6: layers that turn images into one vector each."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchvision.models import get_model, list_models

from outlier_matching.domain_norm import DomainBatchNorm2d
from outlier_matching.errors import UsageError

__all__ = ["CLASSIFIERS", "FiveLayers", "build_backbone"]

CLASSIFIERS = ("fc", "classifier", "heads", "head")
"""What torchvision's networks call their last layers, which are left out."""

_SMALL: dict[str, Callable[[int], nn.Module] | None] = {
    "small": None,
    "small_bn": nn.BatchNorm2d,
    "small_dbn": DomainBatchNorm2d,
}


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

    def forward(self, images: Tensor, domain: int = 0) -> Tensor:
        """(n, 3, H, W) of one domain -> (n, C * pool * pool). ``domain`` matters to :class:`DomainBatchNorm2d` alone."""
        maps = images
        for layer in self.features:
            maps = layer(maps, domain) if isinstance(layer, DomainBatchNorm2d) else layer(maps)
        maps = self.avgpool(maps)
        return maps.flatten(1)

    @property
    def knows_domains(self) -> bool:
        """Whether images of different domains are treated differently."""
        return any(isinstance(layer, DomainBatchNorm2d) for layer in self.features)

    def conv(self, number: int) -> nn.Conv2d:
        """Convolution ``number``, from 1."""
        return [layer for layer in self.features if isinstance(layer, nn.Conv2d)][number - 1]

    def before(self, number: int) -> nn.Sequential:
        """The layers before convolution ``number``."""
        return self.features[: list(self.features).index(self.conv(number))]


def build_backbone(name: str, size: int) -> tuple[nn.Module, int]:
    """A backbone with random weights, and the length of its vectors.

    Args:
        name: ``alexnet``, ``small``, ``small_bn``, ``small_dbn``, or a classifier of torchvision.
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
    if name in _SMALL:
        return FiveLayers(_small(_SMALL[name]), 4)
    if name not in list_models(module=_torchvision()):
        raise UsageError(
            f"backbone must be {', '.join(_SMALL)} or a classifier of torchvision such as alexnet, got {name!r}"
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


def _small(norm: Callable[[int], nn.Module] | None) -> nn.Sequential:
    """AlexNet's order of layers for images a quarter as wide; without normalisation, as AlexNet, or with ``norm``."""

    def conv(into: int, out: int, kernel: int, stride: int = 1) -> tuple[nn.Module, ...]:
        layer = nn.Conv2d(into, out, kernel, stride, kernel // 2)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # there is one
        return (layer, *(() if norm is None else (norm(out),)), nn.ReLU(inplace=True))

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
