"""Positions of the filters in a weight: along its first dimension, or along the second in transposed convolutions."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED, nn.Linear)
"""Layers whose weight consists of filters, with their subclasses."""


@dataclass(frozen=True)
class Layout:
    """Division of a weight into filters. A filter is the weights of one output channel, or of one output of a linear
    layer. ``out_dim`` 0 is (C_out, C_in / groups, k...), the shape in convolutions and linear layers. ``out_dim`` 1 is
    (C_in, C_out / groups, k...), the shape in transposed convolutions: filter j of group g consists of the entries ``[g
    * C_in / groups : (g + 1) * C_in / groups, j]`` and computes channel ``g * C_out / groups + j`` of the output."""

    out_dim: int = 0
    """Dimension that counts the filters, 0 or 1."""
    groups: int = 1
    """Groups of a transposed convolution; without effect where ``out_dim`` is 0."""

    def __post_init__(self) -> None:
        if self.out_dim not in (0, 1):
            raise ValueError(f"out_dim must be 0 or, for transposed convolutions, 1, got {self.out_dim}")
        if self.groups < 1:
            raise ValueError(f"groups must be 1 or more, got {self.groups}")

    def check(self, weight: Tensor) -> None:
        """Raise ValueError if ``weight`` cannot be divided this way."""
        if weight.dim() < 2 or weight.numel() == 0:
            raise ValueError(
                f"a weight must have 2 dimensions or more and no empty one, got shape {tuple(weight.shape)}"
            )
        if not weight.is_floating_point():
            raise ValueError(f"a weight must be of floating point, got {weight.dtype}")
        if self.out_dim == 1 and weight.shape[0] % self.groups:
            raise ValueError(f"{self.groups} groups do not divide {weight.shape[0]} input channels")

    def count(self, weight: Tensor) -> int:
        """Number of filters of ``weight``: C_out."""
        return weight.shape[1] * self.groups if self.out_dim == 1 else weight.shape[0]

    def length(self, weight: Tensor) -> int:
        """n, the number of weights of a filter."""
        return weight.numel() // self.count(weight)

    def rows(self, tensor: Tensor, weight: Tensor | None = None) -> Tensor:
        """The filters as rows, (C_out, n), in the order of the output channels. The weights of a row keep their order
        in memory, so that contiguous filters are not copied, in channels-last format either. ``tensor``: a weight, or
        another tensor of its shape, a gradient for example. ``weight``: tensor whose memory order the rows follow; None
        is ``tensor`` itself."""
        if self.out_dim == 1:
            return tensor.unflatten(0, (self.groups, -1)).transpose(1, 2).flatten(2).flatten(0, 1)
        like = tensor if weight is None else weight
        if like.dim() == 2 or like.is_contiguous():
            return tensor.flatten(1)
        return tensor.permute(0, *_inner(like)).flatten(1)

    def unrows(self, rows: Tensor, weight: Tensor) -> Tensor:
        """The reverse of :meth:`rows` for a tensor of the shape and memory format of ``weight``."""
        if self.out_dim == 1:
            split = rows.view(self.groups, weight.shape[1], weight.shape[0] // self.groups, *weight.shape[2:])
            found = split.transpose(1, 2).flatten(0, 1)
            return found.contiguous() if weight.is_contiguous() else found
        if weight.dim() == 2 or weight.is_contiguous():
            return rows.view(weight.shape)
        inner = _inner(weight)
        back = [0] * weight.dim()
        for place, dim in enumerate((0, *inner)):
            back[dim] = place
        return rows.view(weight.shape[0], *(weight.shape[dim] for dim in inner)).permute(back)


def _inner(weight: Tensor) -> list[int]:
    strides = weight.stride()
    return sorted(range(1, weight.dim()), key=lambda dim: -strides[dim])


def layout_of(layer: nn.Module) -> Layout:
    """The layout of the weight of a layer. Raises ValueError if the layer is none of :data:`LAYERS`."""
    if isinstance(layer, _TRANSPOSED):
        return Layout(out_dim=1, groups=layer.groups)
    if isinstance(layer, LAYERS):
        return Layout()
    raise ValueError(f"{torch.typename(layer)} has no filters; expected a convolution or a linear layer")
