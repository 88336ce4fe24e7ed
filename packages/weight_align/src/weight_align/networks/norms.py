"""The normalisations that the thesis compares, by name: four of the statistics of samples, and weight norm."""

import math

from torch import nn
from torch.nn.utils import parametrizations

from weight_align.networks.config import Norm
from weight_align.networks.instance_norm import InstanceNorm

_GROUPS = 32


def make_norm(norm: Norm, channels: int, width: int = 64) -> nn.Module:
    """The layer after a convolution, with a learnable scale and offset for each channel. Raises ValueError for another
    name.

    Args:
        norm: ``bn``: batch norm; ``gn``: group norm of 32 groups (Wu and He 2018), or the largest common divisor of 32 and
            ``channels``; ``ln``: group norm of one group, so that statistics are over channels and positions; ``in``:
            instance norm. ``none`` and ``wn`` give an identity.
        channels: of the maps (B, channels, H, W).
        width: channels of the first stage of the network. Below 64 ``gn`` has ``width / 2`` groups, which keeps the number
            of channels per group at width 64: 32 groups of one channel each would be instance norm."""
    if norm == "bn":
        return nn.BatchNorm2d(channels)
    if norm == "gn":
        return nn.GroupNorm(math.gcd(max(1, min(_GROUPS, width // 2)), channels), channels)
    if norm == "ln":
        return nn.GroupNorm(1, channels)
    if norm == "in":
        return InstanceNorm(channels)
    if norm in ("none", "wn"):
        return nn.Identity()
    raise ValueError(f"norm must be one of ('none', 'bn', 'gn', 'ln', 'in', 'wn'), got {norm!r}")


def weight_norm(network: nn.Module, *exclude: str) -> None:
    """Weight norm (Salimans and Kingma 2016) of all layers but ``exclude``, in place: ``w = g v / |v|`` for each
    filter; g starts at the norm of w. torch names g and v ``parametrizations.weight.original0`` and ``original1``."""
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear) and name not in exclude:
            parametrizations.weight_norm(layer, "weight", dim=0)
