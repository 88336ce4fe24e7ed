"""Equation 5.10 in one kernel forward and one backward, for one weight or for all of a network.

Rows are standardised and multiplied by one factor each by group norm, where every row is a group and a channel; the gradient
is that of batch norm, where every row is a channel. Each is one pass over the weights. Of the forms that were timed on
the 23.5 million weights of ResNet-50's convolutions, this is the fastest (README, "What it costs").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from weight_align.filters import Layout
from weight_align.standardise import standardised_gradients

__all__ = ["Recipe", "align_fused", "align_together", "can_fuse"]


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
    return align_together([weight], [scale], [recipe])[0]


def align_together(
    weights: Sequence[Tensor], scales: Sequence[Tensor | None], recipes: Sequence[Recipe]
) -> tuple[Tensor, ...]:
    """w_hat of several weights, in one step of the backward pass, bit for bit :func:`align_fused` of each.

    That spares the overhead of a step for each of them, but holds all gradients with respect to w_hat until the last is there.

    Args:
        weights: of float32 or float64.
        scales: of each weight: (C_out,), one number, or None.
        recipes: of each weight.
    """
    aligned: tuple[Tensor, ...] = _Align.apply(tuple(recipes), *weights, *scales)  # type: ignore[no-untyped-call]
    return aligned


class _Align(torch.autograd.Function):
    """``forward`` with a context, not ``setup_context``: for a small weight the latter costs as much as all the rest."""

    @staticmethod
    def forward(ctx: Any, recipes: tuple[Recipe, ...], *tensors: Tensor | None) -> tuple[Tensor, ...]:
        ctx.recipes = recipes
        ctx.set_materialize_grads(False)
        results, kept = [], list(tensors)
        for recipe, weight, scale in zip(recipes, tensors[: len(recipes)], tensors[len(recipes) :], strict=True):
            assert weight is not None
            layout = recipe.layout
            count, length = layout.count(weight), layout.length(weight)
            # The weight as it is where it can be: a view as output of a Function costs more than the kernel does.
            in_order = layout.out_dim == 0 and _in_order(weight)
            rows = weight if in_order else layout.rows(weight).contiguous()
            factor = _factor(weight, scale, count, recipe.constant(length))
            aligned, mean, inverse = torch.native_group_norm(
                rows, factor, None, 1, count, length, count, recipe.row_eps(length)
            )
            results.append(aligned if in_order else layout.unrows(aligned, weight))
            kept += [None if in_order else rows, factor, mean, inverse]
        ctx.save_for_backward(*kept)
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        recipes: tuple[Recipe, ...] = ctx.recipes
        count = len(recipes)
        saved = ctx.saved_tensors
        of_weights: list[Tensor | None] = []
        of_scales: list[Tensor | None] = []
        for place, (recipe, gradient) in enumerate(zip(recipes, gradients, strict=True)):
            weight, scale = saved[place], saved[count + place]
            needs = ctx.needs_input_grad[1 + place], ctx.needs_input_grad[1 + count + place]
            if gradient is None or not any(needs):
                pair: tuple[Tensor | None, Tensor | None] = (None, None)
            elif torch.is_grad_enabled():  # gradients of gradients were asked for
                pair = _differentiable(gradient, weight, scale, recipe)
            else:
                start = 2 * count + 4 * place
                pair = _gradients(gradient, weight, scale, recipe, saved[start : start + 4], needs)
            of_weights.append(pair[0])
            of_scales.append(pair[1])
        return None, *of_weights, *of_scales


def _gradients(
    gradient: Tensor,
    weight: Tensor,
    scale: Tensor | None,
    recipe: Recipe,
    kept: Sequence[Tensor],
    needs: tuple[bool, bool],
) -> tuple[Tensor | None, Tensor | None]:
    rows, factor, mean, inverse = kept
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
        [needs[0], needs[1], False],
    )
    of_weight = layout.unrows(of_rows.view(count, length), weight) if needs[0] else None
    return of_weight, _gather(of_factor * recipe.constant(length), scale) if needs[1] else None


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


def _gather(gradient: Tensor, scale: Tensor | None) -> Tensor | None:
    """The gradient of a scale from those of its rows."""
    return None if scale is None else gradient.sum_to_size(scale.shape).to(scale.dtype)


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
    return layout.unrows(of_rows, weight), _gather(of_factor * recipe.constant(length), scale)
