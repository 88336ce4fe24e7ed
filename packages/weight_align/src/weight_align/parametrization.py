"""Equation 5.10 as a parametrization of torch: a layer's ``weight`` is its aligned one, what is trained lies behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from weight_align.align import EPS, Gain, align, gain_value
from weight_align.filters import Layout
from weight_align.fused import Recipe

__all__ = ["Scale", "WeightAlignment", "alignment_of", "attach", "detach", "is_aligned"]

Scale = Literal["filter", "layer", "none"]


class WeightAlignment(nn.Module):
    """:func:`~weight_align.align.align` with a scale of its own, for ``torch.nn.utils.parametrize`` to put before a weight.

    ``layer.parametrizations.weight.original`` is then w, the parameter that was the weight, and
    ``layer.parametrizations.weight[0].scale`` is gamma.

    Args:
        weight: the layer's weight; its size, device and type, no more, are looked at.
        layout: where its filters lie.
        gain, centre, variance, eps: as of :func:`~weight_align.align.align`.
        scale: a learnable gamma for each ``"filter"`` (C_out,), one for the ``"layer"`` (), or ``"none"``. It starts at one.

    Raises:
        ValueError: for a weight or a setting that makes no sense.
    """

    scale: nn.Parameter | None
    ready: Tensor | None
    """The aligned weight while :mod:`weight_align.together` has it; None at all other times."""

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
        layout = layout or Layout()
        layout.check(weight)
        if scale not in ("filter", "layer", "none"):
            raise ValueError(f"scale must be one of ('filter', 'layer', 'none'), got {scale!r}")
        if not (centre or variance):
            raise ValueError("nothing to align: centre and variance are both False")
        if not eps > 0:
            raise ValueError(f"eps must be above 0, got {eps}")
        self.recipe = Recipe(layout, gain_value(gain), eps)
        self.centre, self.variance, self.ready = centre, variance, None
        shape = {"filter": (layout.count(weight),), "layer": ()}
        start = torch.ones(shape[scale], device=weight.device, dtype=weight.dtype) if scale in shape else None
        self.register_parameter(
            "scale", None if start is None else nn.Parameter(start, requires_grad=weight.requires_grad)
        )

    def forward(self, weight: Tensor) -> Tensor:
        """w -> w_hat of the same shape."""
        if self.ready is not None:
            return self.ready
        layout = self.recipe.layout
        return align(
            weight,
            self.scale,
            out_dim=layout.out_dim,
            groups=layout.groups,
            gain=self.recipe.gain,
            centre=self.centre,
            variance=self.variance,
            eps=self.recipe.eps,
        )

    def extra_repr(self) -> str:
        """Settings for ``print``."""
        kind = "none" if self.scale is None else "layer" if self.scale.dim() == 0 else "filter"
        gain, eps = self.recipe.gain, self.recipe.eps
        return f"scale={kind}, gain={gain:.4g}, centre={self.centre}, variance={self.variance}, eps={eps:g}"


def alignment_of(layer: nn.Module) -> WeightAlignment | None:
    """The alignment of a layer's weight, or None where it has none."""
    if not parametrize.is_parametrized(layer, "weight"):
        return None
    first = layer.parametrizations["weight"][0]  # type: ignore[index, union-attr]
    return first if isinstance(first, WeightAlignment) else None


def is_aligned(model: nn.Module) -> bool:
    """Whether ``model``, or a layer of it, is aligned."""
    return any(alignment_of(layer) is not None for layer in model.modules())


def attach(layer: nn.Module, alignment: WeightAlignment) -> None:
    """Let ``layer.weight`` be what ``alignment`` makes of it.

    A state that holds a plain weight for such a layer, a folded one for example, is refused by ``load_state_dict``, strict or
    not.
    """
    parametrize.register_parametrization(layer, "weight", alignment)
    layer.register_load_state_dict_pre_hook(_refuse_plain)


def detach(layer: nn.Module) -> None:
    """Make the reverse of :func:`attach`: a plain layer whose weight is the aligned one, the same parameter as ever."""
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    for name in [name for name in layer._parameters if name != "weight"]:  # the weight is the first again
        layer._parameters[name] = layer._parameters.pop(name)
    hooks = layer._load_state_dict_pre_hooks
    for key in [key for key, wrapped in hooks.items() if getattr(wrapped, "hook", None) is _refuse_plain]:
        del hooks[key]


def _refuse_plain(
    layer: nn.Module,
    state_dict: Mapping[str, Any],
    prefix: str,
    local_metadata: Mapping[str, Any],
    strict: bool,
    missing_keys: list[str],
    unexpected_keys: list[str],
    error_msgs: list[str],
) -> None:
    if prefix + "weight" in state_dict:
        error_msgs.append(
            f"{prefix}weight is a plain weight (of a folded network, or one without WeightAlign), but this layer is "
            "aligned; load the state into the plain network and convert that: weight_align(model, keep='function')"
        )
