"""Gradients of two frames and of their mean: equations 3.2 to 3.7 of the thesis, and where the bound of 3.7 fails. x_1,
x_2 (D,) are activations of two frames, x̄ their mean, w (D, C) weights, h the ReLU, q_c(x) the softmax over classes of
h(x w_c), q̄ = (q(x_1) + q(x_2)) / 2, y the label. All functions take P pairs at once: x (P, 2, D), label int64 (P,)."""

from dataclasses import dataclass

import torch
from torch import Tensor


def class_probabilities(x: Tensor, w: Tensor) -> Tensor:
    """q_c(x) of equation 3.2: softmax over classes of relu(x w). x (..., D) and w (D, C) to (..., C)."""
    if w.dim() != 2 or x.shape[-1] != w.shape[0]:
        raise ValueError(f"expected x (..., D) and w (D, C), got {tuple(x.shape)} and {tuple(w.shape)}")
    return (x @ w).relu().softmax(dim=-1)


def pair_loss(x: Tensor, w: Tensor, label: Tensor) -> Tensor:
    """Equation 3.2, L: the mean cross-entropy of both frames, (P,); a ``ValueError`` for other shapes, here and below."""
    _check_pairs(x, label)
    scores = (x @ w).relu().log_softmax(dim=-1)
    return -scores.gather(2, label[:, None, None].expand(-1, 2, 1)).mean(dim=(1, 2))


def pair_gradient(x: Tensor, w: Tensor, label: Tensor, *, through_relu: bool = False) -> Tensor:
    """Equation 3.3, the gradient of L with respect to w: the mean over both frames of x_i (q_c(x_i) - delta_yc), (P, D, C).

    ``through_relu`` leaves out the classes whose score the ReLU cuts off, as autograd does for equation 3.2."""
    _check_pairs(x, label)
    per_frame = x[..., :, None] * _errors(x, w, label[:, None], through_relu)[..., None, :]
    return per_frame.mean(dim=1)


def merged_loss(x: Tensor, w: Tensor, label: Tensor) -> Tensor:
    """Equation 3.4, the loss of the mean frame: the cross-entropy at x̄, (P,)."""
    _check_pairs(x, label)
    return -(x.mean(dim=1) @ w).relu().log_softmax(dim=-1).gather(1, label[:, None])[:, 0]


def merged_gradient(x: Tensor, w: Tensor, label: Tensor, *, through_relu: bool = False) -> Tensor:
    """Equation 3.5, its gradient: x̄ (q_c(x̄) - delta_yc), (P, D, C); ``through_relu`` as for :func:`pair_gradient`."""
    _check_pairs(x, label)
    mean = x.mean(dim=1)
    return mean[:, :, None] * _errors(mean, w, label, through_relu)[:, None, :]


def gradient_bound(x: Tensor, w: Tensor) -> Tensor:
    """The right-hand side of equation 3.7: |(x_1 - x_2)(q_c(x_1) - q_c(x_2))| / 4, (P, D, C)."""
    q = class_probabilities(x, w)
    return ((x[:, 0] - x[:, 1])[:, :, None] * (q[:, 0] - q[:, 1])[:, None, :] / 4).abs()


def true_bound(x: Tensor, w: Tensor) -> Tensor:
    """A bound that always holds, (P, D, C): equation 3.7 plus |x̄ (q̄_c - q_c(x̄))|."""
    mean = x.mean(dim=1)
    gap = class_probabilities(x, w).mean(dim=1) - class_probabilities(mean, w)
    return gradient_bound(x, w) + (mean[:, :, None] * gap[:, None, :]).abs()


@dataclass(frozen=True)
class BoundCheck:
    """Equation 3.7 tried on P pairs of frames: P * D * C inequalities. Shares are in [0, 1], NaN where there are none."""

    entries: int
    """Inequalities tried."""
    fails: float
    """Share of them that are false."""
    signs_agree: float
    """Share of (pair, class) whose two scores x_i w_c have one sign, the condition of section 3.3.2."""
    convex: float
    """Share of (pair, class) where Jensen's inequality q_c(x̄) <= q̄_c holds."""
    fails_where_signs_agree: float
    """Share of false inequalities among pairs whose signs agree in all classes."""
    fails_where_convex: float
    """Share of false ones among the entries where signs agree and Jensen's inequality holds: the cost of the one-sided step."""
    median_ratio: float
    """Median over entries of |difference| / bound; above 1 the bound fails."""
    true_bound_fails: float
    """Share of entries above :func:`true_bound`: 0, up to rounding."""


def check_bound(x: Tensor, w: Tensor, label: Tensor) -> BoundCheck:
    """Try equation 3.7 on pairs of frames, entry by entry; float64 has the smallest rounding errors.

    For every class c, (3.3) - (3.5) = 1/4 (x_1 - x_2)(q_c(x_1) - q_c(x_2)) + x̄ (q̄_c - q_c(x̄)). Equation 3.7 bounds its
    absolute value by that of the first term alone and drops the second by Jensen's inequality, q_c(x̄) <= q̄_c. This fails:

    1. The softmax is convex in the score of its own class only where q_c is small.
    2. Where the inequality holds, it bounds the difference from one side (3.6), not its absolute value.
    3. Equation 3.3 is the derivative of 3.2 only where the ReLU is on (``through_relu``).

    Equal signs of the two frames make h linear, but do not repair 1 and 2."""
    q = class_probabilities(x, w)
    difference = (pair_gradient(x, w, label) - merged_gradient(x, w, label)).abs()
    bound, always = gradient_bound(x, w), true_bound(x, w)
    # The two sides are often equal; rounding of the gradients must not count.
    slack = 32 * torch.finfo(x.dtype).eps * x.abs().amax(dim=1)[:, :, None]
    false = difference > bound + slack
    scores = x @ w
    agree = (scores[:, 0] > 0) == (scores[:, 1] > 0)
    convex = class_probabilities(x.mean(dim=1), w) <= q.mean(dim=1)
    return BoundCheck(
        entries=false.numel(),
        fails=_share(false),
        signs_agree=_share(agree),
        convex=_share(convex),
        fails_where_signs_agree=_share(false[agree.all(dim=1)]),
        fails_where_convex=_share(false.transpose(1, 2)[convex & agree.all(dim=1, keepdim=True)]),
        median_ratio=float((difference / bound).nan_to_num(nan=0.0).median()),
        true_bound_fails=_share(difference > always + slack),
    )


def _errors(x: Tensor, w: Tensor, label: Tensor, through_relu: bool) -> Tensor:
    """q_c(x) - delta_yc (..., C)."""
    errors = class_probabilities(x, w)
    errors = errors - torch.nn.functional.one_hot(label, w.shape[1]).to(errors.dtype)
    return errors * (x @ w > 0) if through_relu else errors


def _check_pairs(x: Tensor, label: Tensor) -> None:
    if x.dim() != 3 or x.shape[1] != 2 or label.shape != x.shape[:1]:
        raise ValueError(f"expected x (P, 2, D) and label (P,), got {tuple(x.shape)} and {tuple(label.shape)}")


def _share(mask: Tensor) -> float:
    return float(mask.double().mean()) if mask.numel() else float("nan")
