"""Equation 5.10: filters with mean zero and variance 2/n, whatever the weights are."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from weight_align.filters import Layout
from weight_align.fused import Recipe, align_fused, can_fuse
from weight_align.standardise import centred, scaled, standardised

__all__ = ["EPS", "GAINS", "Gain", "align", "gain_value"]

EPS = 1e-8
"""Added under the root of equation 5.10, to n/2 Var[w]: 1 where weights start as He et al.'s, a sixth where as torch's."""

Gain = Literal["thesis", "nf"] | float

GAINS = {"thesis": 1.0, "nf": 1 / math.sqrt(1 - 1 / math.pi)}
"""Gains by name. ``thesis`` aims at E[Y^2] = Var[Z]/2 (equation 5.8), but what passes a filter of mean zero is Var[Y] =
(1 - 1/pi) Var[Z]/2, so that activations shrink by a third of their variance with every layer of independent weights;
``nf`` makes up for it, as the norm-free networks of Brock et al. (2021) do."""


def align(
    weight: Tensor,
    scale: Tensor | None = None,
    *,
    out_dim: int = 0,
    groups: int = 1,
    gain: Gain = "thesis",
    centre: bool = True,
    variance: bool = True,
    eps: float = EPS,
) -> Tensor:
    """WeightAlign of a weight (thesis equation 5.10), filter by filter.

        w_hat = scale * gain * (w - E[w]) / sqrt(n/2 Var[w] + eps)

    with n the weights of a filter and Var[w] their biased variance, so that at scale and gain one each filter has mean zero
    and variance 2/n. With ``variance=False`` it is ``scale * (w - E[w])``, and with ``centre=False`` E[w] is not taken
    away in the numerator (table 5.4). ``eps`` keeps a filter of constant weights, also one of a single weight, defined: with
    ``centre`` it gives zeros, and a gradient at most ``scale * gain / sqrt(eps)`` times that of w_hat.

    timm's ``ScaledStdConv2d(gamma=sqrt(2), bias=False)`` is the same with ``eps * 2/n`` for its own, which it adds to Var[w].

    Half-precision weights are aligned in float32. Gradients of any order are defined.

    Args:
        weight: (C_out, C_in / groups, k...) or (outputs, inputs); with ``out_dim=1``, (C_in, C_out / groups, k...).
        scale: gamma: (C_out,), one number a filter, or () or (1,), one for all; None is one.
        out_dim: dimension of the filters: 0, or 1 for transposed convolutions.
        groups: groups of a transposed convolution; of no effect for other layers.
        gain: ``"thesis"`` (1), ``"nf"`` (:data:`GAINS`), or a number. The thesis's factor of figure 5.6 stands in the
            denominator: ``k`` times sqrt(n/2) is a gain of ``1/k``.
        centre: whether to take away the mean of each filter (equation 5.6).
        variance: whether to divide by its deviation (equation 5.9); where not, the gain has no meaning and no effect.
        eps: above 0.

    Returns:
        A tensor like ``weight``.

    Raises:
        ValueError: for a weight, a scale, groups, a gain or an eps that makes no sense, and if nothing is to be done.
    """
    if not (centre or variance):
        raise ValueError("nothing to align: centre and variance are both False")
    if not eps > 0:
        raise ValueError(f"eps must be above 0, got {eps}")
    layout = Layout(out_dim, groups)
    layout.check(weight)
    count, length = layout.count(weight), layout.length(weight)
    if scale is not None and scale.shape not in ((count,), (1,), ()):
        raise ValueError(f"scale must be one number or ({count},), one a filter, got {tuple(scale.shape)}")
    if weight.dtype in (torch.float16, torch.bfloat16):
        whole = align(
            weight.float(),
            scale,
            out_dim=out_dim,
            groups=groups,
            gain=gain,
            centre=centre,
            variance=variance,
            eps=eps,
        )
        return whole.to(weight.dtype)
    recipe = Recipe(layout, gain_value(gain), eps)
    if centre and variance and can_fuse() and not weight.is_meta:
        return align_fused(weight, scale, recipe)
    rows = layout.rows(weight)
    factor = rows.new_ones(count) if scale is None else scale.to(rows.dtype).expand(count)
    if not variance:
        return layout.unrows(centred(rows, factor), weight)
    form = standardised if centre else scaled
    return layout.unrows(form(rows, factor * recipe.constant(length), recipe.row_eps(length)), weight)


def gain_value(gain: Gain) -> float:
    """A gain as a number.

    Raises:
        ValueError: for an unknown name, or a number that is not above 0 and finite.
    """
    if isinstance(gain, str):
        if gain not in GAINS:
            raise ValueError(f"gain must be one of {tuple(GAINS)} or a number, got {gain!r}")
        return GAINS[gain]
    if not (gain > 0 and math.isfinite(gain)):
        raise ValueError(f"a gain must be above 0 and finite, got {gain}")
    return float(gain)
