"""The normalisations that the thesis compares, by name: four of samples' statistics, and weight norm."""

from __future__ import annotations

import math
from typing import Literal

from torch import nn
from torch.nn.utils import parametrizations

__all__ = ["GROUPS", "SAMPLE_NORMS", "Norm", "groups_of", "make_norm", "weight_norm"]

Norm = Literal["none", "bn", "gn", "ln", "in", "wn"]

SAMPLE_NORMS = ("bn", "gn", "ln", "in")
"""Norms that are layers of their own and take statistics of samples: batch, group, layer and instance norm."""

GROUPS = 32
"""Groups of group norm in a network of width 64 (Wu and He 2018)."""


def groups_of(width: int) -> int:
    """Groups of group norm in a network of that width: as many channels in a group as at width 64, and 32 groups at most."""
    return max(1, min(GROUPS, width // 2))


def make_norm(norm: Norm, channels: int, groups: int = GROUPS) -> nn.Module:
    """The layer that follows a convolution, with a learnable scale and offset for each channel.

    Args:
        norm: ``bn``; ``gn``: ``groups`` groups, or as many of them as divide ``channels``; ``ln``: one group, so that
            statistics are over channels and places; ``in``: over places. ``none`` and ``wn`` do nothing here.
        channels: of the maps (B, channels, H, W).
        groups: of ``gn``; 32 in Wu and He (2018), see :func:`groups_of` for thin networks, where 32 groups of one channel
            each would be instance norm.

    Raises:
        ValueError: for another name.
    """
    if norm == "bn":
        return nn.BatchNorm2d(channels)
    if norm == "gn":
        return nn.GroupNorm(math.gcd(groups, channels), channels)
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
