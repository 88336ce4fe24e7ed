"""Equation 5.10 as a parametrization of torch: a layer's ``weight`` is its aligned one, what is trained lies behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from weight_align.align import EPS, Gain, align, gain_value
from weight_align.filters import Layout

__all__ = ["Scale", "WeightAlignment", "alignment_of", "is_aligned"]

Scale = Literal["filter", "layer", "none"]
_INSIDE = "parametrizations.weight.0."


class WeightAlignment(nn.Module):
    """What ``torch.nn.utils.parametrize`` puts before a layer's weight: :func:`~weight_align.align.align` with a scale of its own.

    ``layer.parametrizations.weight.original`` is then w, the parameter that was the weight, and
    ``layer.parametrizations.weight[0].scale`` is gamma. A state that holds a plain weight for such a layer, a folded one
    for example, is refused by ``load_state_dict``, strict or not.

    Args:
        weight: the layer's weight; its size, device and type, no more, are looked at.
        layout: where its filters lie.
        gain, centre, variance, eps: as of :func:`~weight_align.align.align`.
        scale: a learnable gamma for each ``"filter"`` (C_out,), one for the ``"layer"`` (), or ``"none"``. It starts at one.

    Raises:
        ValueError: for a weight or a setting that makes no sense.
    """

    scale: nn.Parameter | None

    def __init__(
        self,
        weight: Tensor,
        layout: Layout | None = None,
        *,
        gain: Gain = "thesis",
        scale: Scale = "filter",
        centre: bool = True,
        variance: bool = True,
        eps: float = EPS,
    ) -> None:
        super().__init__()
        self.layout = layout or Layout()
        self.layout.check(weight)
        if scale not in ("filter", "layer", "none"):
            raise ValueError(f"scale must be one of ('filter', 'layer', 'none'), got {scale!r}")
        if not (centre or variance):
            raise ValueError("nothing to align: centre and variance are both False")
        if not eps > 0:
            raise ValueError(f"eps must be above 0, got {eps}")
        self.gain, self.centre, self.variance, self.eps = gain_value(gain), centre, variance, eps
        shape = {"filter": (self.layout.count(weight),), "layer": ()}
        start = torch.ones(shape[scale], device=weight.device, dtype=weight.dtype) if scale in shape else None
        self.register_parameter(
            "scale", None if start is None else nn.Parameter(start, requires_grad=weight.requires_grad)
        )

    def forward(self, weight: Tensor) -> Tensor:
        """w -> w_hat of the same shape."""
        return align(
            weight,
            self.scale,
            out_dim=self.layout.out_dim,
            groups=self.layout.groups,
            gain=self.gain,
            centre=self.centre,
            variance=self.variance,
            eps=self.eps,
        )

    def extra_repr(self) -> str:
        """Settings for ``print``."""
        kind = "none" if self.scale is None else "layer" if self.scale.dim() == 0 else "filter"
        return f"scale={kind}, gain={self.gain:.4g}, centre={self.centre}, variance={self.variance}, eps={self.eps:g}"

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: Mapping[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        layer = prefix.removesuffix(_INSIDE)
        if layer + "weight" in state_dict:
            error_msgs.append(
                f"{layer}weight is a plain weight (of a folded network, or one without WeightAlign), but this layer is "
                "aligned; load the state into the plain network and convert that: weight_align(model, keep='function')"
            )
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )


def alignment_of(layer: nn.Module) -> WeightAlignment | None:
    """The alignment of a layer's weight, or None where it has none."""
    if not parametrize.is_parametrized(layer, "weight"):
        return None
    first = layer.parametrizations["weight"][0]  # type: ignore[index, union-attr]
    return first if isinstance(first, WeightAlignment) else None


def is_aligned(model: nn.Module) -> bool:
    """Whether ``model``, or a layer of it, is aligned."""
    return any(alignment_of(layer) is not None for layer in model.modules())
