"""Equation 5.10 in one kernel forward and one backward, for one weight or all weights of a network: group norm forward
(a row is a group and a channel), batch norm backward (a row is a channel), one pass over the weights each. The fastest
of the forms that were timed on the 23.5 million weights of the convolutions of ResNet-50 (README, "What it costs")."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from weight_align.method.filters import Layout
from weight_align.method.standardise import standardised_gradients


@dataclass(frozen=True)
class AlignSettings:
    """Parameters of the alignment of one weight."""

    layout: Layout
    """Positions of the filters in the weight."""
    gain: float
    """Multiplies sqrt(2/n)."""
    eps: float
    """Under the root of equation 5.10."""

    def constant(self, length: int) -> float:
        """Standard deviation of the filters at scale one: ``gain * sqrt(2/n)``."""
        return self.gain * math.sqrt(2 / length)

    def row_eps(self, length: int) -> float:
        """The eps to add to Var[w], since sqrt(n/2 Var + eps) = sqrt(n/2) sqrt(Var + 2/n eps)."""
        return 2 / length * self.eps


def can_fuse() -> bool:
    """Whether the kernels may be called by name: not under torch.compile, torch.export or torch.func."""
    return not (torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active())


def align_together(
    weights: Sequence[Tensor], scales: Sequence[Tensor | None], settings: Sequence[AlignSettings]
) -> tuple[Tensor, ...]:
    """w_hat of one or several weights as one node of the graph; gradients of any order are defined. One node has less
    overhead than one per weight, with bit for bit the same results. It holds all gradients with respect to w_hat until
    the last one arrives.

    Args:
        weights: in float32 or float64.
        scales: of each weight: (C_out,), one number, or None.
        settings: parameters of the alignment of each weight."""
    aligned: tuple[Tensor, ...] = _Align.apply(tuple(settings), *weights, *scales)  # type: ignore[no-untyped-call]
    return aligned


class _Align(torch.autograd.Function):
    """Has ``forward`` with a context: for a small weight ``setup_context`` costs as much as everything else."""

    @staticmethod
    def forward(ctx: Any, settings: tuple[AlignSettings, ...], *tensors: Tensor | None) -> tuple[Tensor, ...]:
        ctx.settings = settings
        ctx.set_materialize_grads(False)
        results, kept = [], list(tensors)
        for each, weight, scale in zip(settings, tensors[: len(settings)], tensors[len(settings) :], strict=True):
            assert weight is not None
            layout = each.layout
            count, length = layout.count(weight), layout.length(weight)
            # The weight itself where possible: a view as output of a Function costs more than the kernel.
            in_order = layout.out_dim == 0 and _in_order(weight)
            rows = weight if in_order else layout.rows(weight).contiguous()
            factor = _factor(weight, scale, count, each.constant(length))
            aligned, mean, inverse = torch.native_group_norm(
                rows, factor, None, 1, count, length, count, each.row_eps(length)
            )
            results.append(aligned if in_order else layout.unrows(aligned, weight))
            kept += [None if in_order else rows, factor, mean, inverse]
        ctx.save_for_backward(*kept)
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        settings: tuple[AlignSettings, ...] = ctx.settings
        count = len(settings)
        saved = ctx.saved_tensors
        of_weights: list[Tensor | None] = []
        of_scales: list[Tensor | None] = []
        for place, (each, gradient) in enumerate(zip(settings, gradients, strict=True)):
            weight, scale = saved[place], saved[count + place]
            needs = ctx.needs_input_grad[1 + place], ctx.needs_input_grad[1 + count + place]
            if gradient is None or not any(needs):
                pair: tuple[Tensor | None, Tensor | None] = (None, None)
            elif torch.is_grad_enabled():  # gradients of gradients were asked for
                pair = _differentiable(gradient, weight, scale, each)
            else:
                start = 2 * count + 4 * place
                pair = _gradients(gradient, weight, scale, each, saved[start : start + 4], needs)
            of_weights.append(pair[0])
            of_scales.append(pair[1])
        return None, *of_weights, *of_scales


def _gradients(
    gradient: Tensor, weight: Tensor, scale: Tensor | None, settings: AlignSettings, kept: Sequence[Tensor],
    needs: tuple[bool, bool],
) -> tuple[Tensor | None, Tensor | None]:  # fmt: skip
    rows, factor, mean, inverse = kept
    layout, count, length = settings.layout, len(factor), weight.numel() // len(factor)
    of_rows, of_factor, _ = torch.ops.aten.native_batch_norm_backward.default(
        layout.rows(gradient, weight).contiguous().view(1, count, length),
        (weight if rows is None else rows).view(1, count, length), factor, None, None, mean.view(-1), inverse.view(-1),
        True, settings.row_eps(length), [needs[0], needs[1], False],
    )  # fmt: skip
    of_weight = layout.unrows(of_rows.view(count, length), weight) if needs[0] else None
    return of_weight, _gather(of_factor * settings.constant(length), scale) if needs[1] else None


def _in_order(weight: Tensor) -> bool:
    """Whether a weight is contiguous, with the strides of dimensions of size one checked too. ``is_contiguous`` ignores
    those, but the kernel recognises channels-last by them."""
    expected = 1
    for size, stride in zip(reversed(weight.shape), reversed(weight.stride()), strict=True):
        if stride != expected:
            return False
        expected *= size
    return True


def _factor(weight: Tensor, scale: Tensor | None, count: int, constant: float) -> Tensor:
    if scale is None:
        return weight.new_full((count,), constant)
    factor = scale.to(weight.dtype) * constant
    return factor if factor.shape == (count,) else factor.expand(count).contiguous()


def _gather(gradient: Tensor, scale: Tensor | None) -> Tensor | None:
    return None if scale is None else gradient.sum_to_size(scale.shape).to(scale.dtype)


def _differentiable(
    gradient: Tensor, weight: Tensor, scale: Tensor | None, settings: AlignSettings
) -> tuple[Tensor, Tensor | None]:
    layout = settings.layout
    count, length = layout.count(weight), layout.length(weight)
    of_rows, of_factor = standardised_gradients(
        layout.rows(gradient, weight), layout.rows(weight), _factor(weight, scale, count, settings.constant(length)),
        settings.row_eps(length),
    )  # fmt: skip
    return layout.unrows(of_rows, weight), _gather(of_factor * settings.constant(length), scale)
