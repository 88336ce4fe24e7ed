"""The network of figure 4.2: one set of weights that all three branches share."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from outlier_matching.backbones import FiveLayers, build_backbone
from outlier_matching.images import resized
from outlier_matching.network_config import NetworkConfig
from outlier_matching.weights import load_weights

__all__ = ["Features", "MatchingNetwork", "NetworkConfig", "build_network"]

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


class Features(NamedTuple):
    """What the layers say that MK-MMD compares (eq. 4.2), each (n, d)."""

    fc6: Tensor
    """After ReLU and dropout."""
    fc7: Tensor
    """After ReLU and dropout."""
    fc8: Tensor
    """Neither, and not normalised."""

    @property
    def embedding(self) -> Tensor:
        """(n, embedding) fc8 of length one: what the contrastive loss, the entropy loss and the ranking see."""
        return normalize(self.fc8, dim=1)


class MatchingNetwork(nn.Module):
    """A backbone and fc6, fc7, fc8.

    The three branches of figure 4.2 are three calls of it, or one call of all their images together, which is the same
    and faster; only a backbone with batch norm takes its statistics over all that it is shown at once (``small_bn``), or
    over each domain by itself (``small_dbn``).

    Layers that are not trained (``config.trained``) take no gradient and stay in eval mode.

    Args:
        config: its layers.

    Raises:
        UsageError: if there is no such backbone, or it cannot see images of that size.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone, length = build_backbone(config.backbone, config.size)
        self.fc6 = nn.Linear(length, config.width)
        self.fc7 = nn.Linear(config.width, config.width)
        self.fc8 = nn.Linear(config.width, config.embedding)
        self.dropout = nn.Dropout(config.dropout)
        self.register_buffer("mean", torch.tensor(_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(3, 1, 1), persistent=False)
        for layer in (self.fc6, self.fc7, self.fc8):
            _glorot(layer)
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(self.trains(name))
        self.train()

    def trains(self, name: str) -> bool:
        """Whether the entry ``name`` of the state is of a layer that is trained."""
        if self.config.trained == "all" or not name.startswith("backbone."):
            return True
        if not isinstance(self.backbone, FiveLayers) or self.config.trained == "fc":
            return False
        frozen = len(self.backbone.before(4))
        return int(name.split(".")[2]) >= frozen  # backbone.features.<place>.weight

    def train(self, mode: bool = True) -> MatchingNetwork:
        """Set the mode; layers that are not trained keep their batch norm's statistics and have no dropout."""
        super().train(mode)
        if self.config.trained == "fc":
            self.backbone.eval()
        elif self.config.trained == "thesis" and isinstance(self.backbone, FiveLayers):
            self.backbone.before(4).eval()
        return self

    def prepare(self, images: Tensor) -> Tensor:
        """uint8 (n, 3, H, W) of any size as the layers want it: resized, in [0, 1], less ImageNet's mean, over its deviation.

        Returns:
            (n, 3, size, size) of the type of the weights.
        """
        small = resized(images, self.config.size).to(self.fc8.weight.dtype)
        return (small / 255 - self.mean) / self.std

    def forward(self, images: Tensor, domain: int = 0, source: int | None = None) -> Features:
        """Features of images.

        Args:
            images: uint8 (n, 3, H, W) of any size, or what :meth:`prepare` makes of them.
            domain: which they are of, 0 the source or 1 the target; only ``small_dbn`` asks.
            source: where given, the first so many images are of the source and the others of the target.
        """
        if not images.is_floating_point():
            images = self.prepare(images)
        fc6 = self.dropout(self.fc6(self._vectors(images, domain, source)).relu())
        fc7 = self.dropout(self.fc7(fc6).relu())
        return Features(fc6, fc7, self.fc8(fc7))

    def _vectors(self, images: Tensor, domain: int, source: int | None) -> Tensor:
        backbone = self.backbone
        if not (isinstance(backbone, FiveLayers) and backbone.knows_domains):
            vectors: Tensor = backbone(images)
        elif source is None:
            vectors = backbone(images, domain)
        else:
            vectors = torch.cat(
                [backbone(part, number) for number, part in enumerate((images[:source], images[source:]))]
            )
        return vectors


def build_network(config: NetworkConfig, weights: str | None = None) -> MatchingNetwork:
    """A network with random weights, or with pretrained ones.

    Layers that start from random are drawn from torch's default generator: fc6 to fc8, and with ``random_heads`` the
    trained convolutions, after Glorot with biases of zero (the author's), those of the small backbones after He,
    those of other backbones as torchvision draws them.

    Args:
        config: its layers, and which of the pretrained weights to take (``start``).
        weights: torchvision's name of weights of the backbone, such as ``IMAGENET1K_V1`` (downloaded on first use), or a
            file: a state of torchvision's network or a ``network.pt`` of this package. None: random.

    Raises:
        UsageError: if there is no such backbone or weights, or they do not fit.
        WorkError: if the weights cannot be downloaded.
    """
    network = MatchingNetwork(config)
    if weights is not None:
        load_weights(network, weights)
        if config.start == "random_heads" and config.trained == "thesis" and isinstance(network.backbone, FiveLayers):
            for number in (4, 5):
                _glorot(network.backbone.conv(number))
    return network


def _glorot(layer: nn.Linear | nn.Conv2d) -> None:
    nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
