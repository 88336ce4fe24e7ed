"""The normalisations that the thesis compares, by name: four of samples' statistics, and weight norm."""

from __future__ import annotations

import math
from typing import Literal

from torch import nn
from torch.nn.utils import parametrizations

__all__ = ["SAMPLE_NORMS", "Norm", "make_norm", "weight_norm"]

Norm = Literal["none", "bn", "gn", "ln", "in", "wn"]

SAMPLE_NORMS = ("bn", "gn", "ln", "in")
"""Norms that are layers of their own and take statistics of samples: batch, group, layer and instance norm."""

_GROUPS = 32


def make_norm(norm: Norm, channels: int, width: int = 64) -> nn.Module:
    """The layer that follows a convolution, with a learnable scale and offset for each channel.

    Args:
        norm: ``bn``; ``gn``: 32 groups (Wu and He 2018), or as many of them as divide ``channels``; ``ln``: one group, so
            that statistics are over channels and places; ``in``: over places. ``none`` and ``wn`` do nothing here.
        channels: of the maps (B, channels, H, W).
        width: of the network's first stage. Below 64 ``gn`` has ``width / 2`` groups, so that as many channels are in one as
            at width 64: 32 groups of one channel each would be instance norm.

    Raises:
        ValueError: for another name.
    """
    if norm == "bn":
        return nn.BatchNorm2d(channels)
    if norm == "gn":
        return nn.GroupNorm(math.gcd(max(1, min(_GROUPS, width // 2)), channels), channels)
    if norm == "ln":
        return nn.GroupNorm(1, channels)
    if norm == "in":
        return nn.InstanceNorm2d(channels, affine=True)
    if norm in ("none", "wn"):
        return nn.Identity()
    raise ValueError(f"norm must be one of ('none', 'bn', 'gn', 'ln', 'in', 'wn'), got {norm!r}")


def weight_norm(layer: nn.Module) -> None:
    """Weight norm (Salimans and Kingma 2016) in place: ``w = g v / |v|`` for each filter, where g starts at the length of w.

    torch's parametrization: g and v lie under ``parametrizations.weight.original0`` and ``original1``.
    """
    parametrizations.weight_norm(layer, "weight", dim=0)
