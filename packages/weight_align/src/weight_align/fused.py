"""Equation 5.10 in one kernel forward and one backward.

Rows are standardised and multiplied by one factor each by group norm, where every row is a group and a channel; the gradient
is that of batch norm, where every row is a channel. Each is one pass over the weights. Of the forms that were timed on
the 23.5 million weights of ResNet-50's convolutions, this is the fastest (README, "What it costs").
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from weight_align.filters import Layout
from weight_align.standardise import standardised_gradients

__all__ = ["Recipe", "align_fused", "can_fuse"]


@dataclass(frozen=True)
class Recipe:
    """What is done to a weight."""

    layout: Layout
    """Where its filters lie."""
    gain: float
    """Multiplies sqrt(2/n)."""
    eps: float
    """Under the root of equation 5.10."""

    def constant(self, length: int) -> float:
        """What multiplies scale and unit variance: ``gain * sqrt(2/n)``."""
        return self.gain * math.sqrt(2 / length)

    def row_eps(self, length: int) -> float:
        """eps beside Var[w], since sqrt(n/2 Var + eps) = sqrt(n/2) sqrt(Var + 2/n eps)."""
        return 2 / length * self.eps


def can_fuse() -> bool:
    """Whether the kernels may be called by name here: not where torch.compile, torch.export or torch.func reads along."""
    return not (torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active())


def align_fused(weight: Tensor, scale: Tensor | None, recipe: Recipe) -> Tensor:
    """w_hat of a weight of float32 or float64; gradients of any order are defined.

    Args:
        weight: as ``recipe.layout`` says.
        scale: (C_out,), one number, or None.
        recipe: what to do.
    """
    aligned: Tensor = _Align.apply(weight, scale, recipe)  # type: ignore[no-untyped-call]
    return aligned


class _Align(torch.autograd.Function):
    """``forward`` with a context, not ``setup_context``: for a small weight the latter costs as much as all the rest."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, scale: Tensor | None, recipe: Recipe) -> Tensor:
        layout = recipe.layout
        count, length = layout.count(weight), layout.length(weight)
        # The weight as it is where it can be: a view as output of a Function costs more than the kernel does.
        in_order = layout.out_dim == 0 and _in_order(weight)
        rows = weight if in_order else layout.rows(weight).contiguous()
        factor = _factor(weight, scale, count, recipe.constant(length))
        aligned, mean, inverse = torch.native_group_norm(
            rows, factor, None, 1, count, length, count, recipe.row_eps(length)
        )
        ctx.recipe = recipe
        ctx.save_for_backward(weight, scale, factor, mean, inverse, None if in_order else rows)
        return aligned if in_order else layout.unrows(aligned, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None]:
        weight, scale, factor, mean, inverse, rows = ctx.saved_tensors
        recipe: Recipe = ctx.recipe
        if torch.is_grad_enabled():  # gradients of gradients were asked for
            return *_differentiable(gradient, weight, scale, recipe), None
        layout, count, length = recipe.layout, len(factor), weight.numel() // len(factor)
        of_rows, of_factor, _ = torch.ops.aten.native_batch_norm_backward.default(
            layout.rows(gradient, weight).contiguous().view(1, count, length),
            (weight if rows is None else rows).view(1, count, length),
            factor,
            None,
            None,
            mean.view(-1),
            inverse.view(-1),
            True,
            recipe.row_eps(length),
            [True, ctx.needs_input_grad[1], False],
        )
        of_scale = None if of_factor is None else _gather(of_factor * recipe.constant(length), scale)
        return layout.unrows(of_rows.view(count, length), weight), of_scale, None


def _in_order(weight: Tensor) -> bool:
    """Whether a weight's strides are those of its shape, dimensions of size one included.

    ``is_contiguous`` overlooks the latter, by which the kernel tells channels-last from other formats.
    """
    expected = 1
    for size, stride in zip(reversed(weight.shape), reversed(weight.stride()), strict=True):
        if stride != expected:
            return False
        expected *= size
    return True


def _factor(weight: Tensor, scale: Tensor | None, count: int, constant: float) -> Tensor:
    """One factor a row."""
    if scale is None:
        return weight.new_full((count,), constant)
    factor = scale.to(weight.dtype) * constant
    return factor if factor.shape == (count,) else factor.expand(count).contiguous()


def _gather(gradient: Tensor, scale: Tensor) -> Tensor:
    """The gradient of a scale from those of its rows."""
    return gradient.sum_to_size(scale.shape).to(scale.dtype)


def _differentiable(
    gradient: Tensor, weight: Tensor, scale: Tensor | None, recipe: Recipe
) -> tuple[Tensor, Tensor | None]:
    layout = recipe.layout
    count, length = layout.count(weight), layout.length(weight)
    of_rows, of_factor = standardised_gradients(
        layout.rows(gradient, weight),
        layout.rows(weight),
        _factor(weight, scale, count, recipe.constant(length)),
        recipe.row_eps(length),
    )
    of_scale = None if scale is None else _gather(of_factor * recipe.constant(length), scale)
    return layout.unrows(of_rows, weight), of_scale
