"""Equation 5.10 as a function: filters with mean zero and variance 2/n, whatever the weights are."""

import math
from typing import Literal

import torch
from torch import Tensor

from weight_align.method.filters import Layout
from weight_align.method.fused import AlignSettings, align_together, can_fuse
from weight_align.method.standardise import centred, scaled, standardised

EPS = 1e-8
"""Added under the root of equation 5.10 to n/2 Var[w], which is 1 for He et al.'s initial weights and 1/6 for torch's."""

Gain = Literal["thesis", "nf"] | float

GAINS = {"thesis": 1.0, "nf": 1 / math.sqrt(1 - 1 / math.pi)}
"""Gains by name. ``thesis`` follows equation 5.8, E[Y^2] = Var[Z]/2. But a filter of mean zero passes only
Var[Y] = (1 - 1/pi) Var[Z]/2, so the variance of the activations falls by a third with every layer of independent weights.
``nf`` compensates for this, as the norm-free networks of Brock et al. (2021) do."""


def align(
    weight: Tensor, scale: Tensor | None = None, *, out_dim: int = 0, groups: int = 1, gain: Gain = "thesis",
    centre: bool = True, variance: bool = True, eps: float = EPS,
) -> Tensor:  # fmt: skip
    """WeightAlign of a weight (thesis equation 5.10), filter by filter.

        w_hat = scale * gain * (w - E[w]) / sqrt(n/2 Var[w] + eps)

    n is the number of weights of a filter and Var[w] their biased variance. At scale and gain one, each filter has mean zero
    and variance 2/n. With ``variance=False`` the result is ``scale * (w - E[w])``. With ``centre=False`` E[w] is not
    subtracted in the numerator (table 5.4). ``eps`` keeps a filter of constant weights defined, and a filter of a single
    weight: with ``centre`` the result is zeros, and its gradient is at most ``scale * gain / sqrt(eps)`` times that of w_hat.

    timm's ``ScaledStdConv2d(gamma=sqrt(2), bias=False)`` is the same with its eps, which it adds to Var[w], at ``eps * 2/n``.

    Half-precision weights are aligned in float32. Gradients of any order are defined. Returns a tensor like ``weight``.
    Raises ValueError for an invalid weight, scale, groups, gain or eps, and if neither ``centre`` nor ``variance`` is
    set.

    Args:
        weight: (C_out, C_in / groups, k...) or (outputs, inputs); with ``out_dim=1``, (C_in, C_out / groups, k...).
        scale: gamma: (C_out,), one number per filter, or () or (1,), one number for all; None is one.
        out_dim: dimension of the filters: 0, or 1 for transposed convolutions.
        groups: groups of a transposed convolution; without effect for other layers.
        gain: ``"thesis"`` (1), ``"nf"`` (:data:`GAINS`), or a number. The scale factor k of figure 5.6 multiplies sqrt(n/2)
            in the denominator, so it is a gain of ``1/k``.
        centre: whether to subtract the mean of each filter (equation 5.6).
        variance: whether to divide by the standard deviation (equation 5.9); without it the gain has no effect.
        eps: above 0."""
    if not (centre or variance):
        raise ValueError("nothing to align: centre and variance are both False")
    if not eps > 0:
        raise ValueError(f"eps must be above 0, got {eps}")
    layout = Layout(out_dim, groups)
    layout.check(weight)
    count, length = layout.count(weight), layout.length(weight)
    if scale is not None and scale.shape not in ((count,), (1,), ()):
        raise ValueError(f"scale must be one number or ({count},), one per filter, got {tuple(scale.shape)}")
    if weight.dtype in (torch.float16, torch.bfloat16):
        options = {"out_dim": out_dim, "groups": groups, "centre": centre, "variance": variance}
        return align(weight.float(), scale, gain=gain, eps=eps, **options).to(weight.dtype)  # type: ignore[arg-type]
    settings = AlignSettings(layout, gain_value(gain), eps)
    if centre and variance and can_fuse() and not weight.is_meta:
        return align_together([weight], [scale], [settings])[0]
    rows = layout.rows(weight)
    factor = rows.new_ones(count) if scale is None else scale.to(rows.dtype).expand(count)
    if not variance:
        return layout.unrows(centred(rows, factor), weight)
    form = standardised if centre else scaled
    return layout.unrows(form(rows, factor * settings.constant(length), settings.row_eps(length)), weight)


def gain_value(gain: Gain) -> float:
    """A gain as a number. Raises ValueError for an unknown name, or a number that is not above 0 and finite."""
    if isinstance(gain, str):
        if gain not in GAINS:
            raise ValueError(f"gain must be one of {tuple(GAINS)} or a number, got {gain!r}")
        return GAINS[gain]
    if not (gain > 0 and math.isfinite(gain)):
        raise ValueError(f"a gain must be above 0 and finite, got {gain}")
    return float(gain)
