"""The contrastive loss of matching and unmatching pairs (thesis equation 4.1; Hadsell et al., CVPR 2006)."""

from typing import Literal

import torch
from torch import Tensor, nn

from outlier_matching.method.config import check_choice
from outlier_matching.method.kernels import in_single_precision

Reduction = Literal["mean", "sum", "none"]


def contrastive_loss(
    a: Tensor, b: Tensor, matching: Tensor, margin: float = 1.0, reduction: Reduction = "mean"
) -> Tensor:
    """Equation 4.1: ``y D^2 / 2 + (1 - y) max(0, m - D)^2 / 2``, D the Euclidean distance of a pair. The author's
    release averages over the batch, as ``"mean"`` does. The gradient of a matching pair is computed without a square
    root and is exact everywhere. For a pair that does not match, the gradient at D = 0 is defined as 0. Raises
    ValueError for other shapes, types, margins or reductions, or another value of y (checked on the CPU only).

    Args:
        a: floating (n, d), n at least 1; half precision is computed in single.
        b: features of the other image of each pair, same shape.
        matching: (n,) y, bool or 0 and 1: whether each pair matches.
        margin: m, above 0, in the unit of the distance. The thesis gives no value; the release uses 1.
        reduction: ``"mean"`` or ``"sum"`` over the pairs, or ``"none"``: (n,).

    Example:
        >>> far, near = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.3, 0.4]])
        >>> round(float(contrastive_loss(far, near, torch.tensor([True]))), 4)
        0.125
        >>> round(float(contrastive_loss(far, near, torch.tensor([False]), margin=1.5)), 4)
        0.5"""
    if a.dim() != 2 or a.shape != b.shape or not len(a) or not (a.is_floating_point() and b.is_floating_point()):
        got = f"{a.dtype} {tuple(a.shape)} and {b.dtype} {tuple(b.shape)}"
        raise ValueError(f"features must be floating (n, d) twice, n at least 1, got {got}")
    if matching.shape != a.shape[:1]:
        raise ValueError(f"matching must be ({len(a)},), one value a pair, got {tuple(matching.shape)}")
    if matching.device.type == "cpu" and not ((matching == 0) | (matching == 1)).all():
        raise ValueError("matching must be bool, or 0 and 1")
    if not margin > 0:
        raise ValueError(f"margin must be above 0, got {margin}")
    check_choice("reduction", reduction, Reduction)
    difference = in_single_precision(a) - in_single_precision(b)
    apart = (margin - torch.linalg.vector_norm(difference, dim=1)).clamp(min=0)  # its subgradient at 0 is 0
    losses = torch.where(matching.bool(), difference.square().sum(1), apart.square()) / 2
    return losses if reduction == "none" else losses.mean() if reduction == "mean" else losses.sum()


class ContrastiveLoss(nn.Module):
    """:func:`contrastive_loss` as a module."""

    def __init__(self, margin: float = 1.0, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.margin = margin
        self.reduction: Reduction = reduction

    def forward(self, a: Tensor, b: Tensor, matching: Tensor) -> Tensor:
        return contrastive_loss(a, b, matching, self.margin, self.reduction)

    def extra_repr(self) -> str:
        return f"margin={self.margin}, reduction={self.reduction!r}"
