"""The arithmetic of equation 5.10 on rows, one filter per row, in elementary operations of torch."""

import torch
from torch import Tensor


def standardised(rows: Tensor, factor: Tensor, eps: float) -> Tensor:
    """``factor * (w - E[w]) / sqrt(Var[w] + eps)`` of each row, with the biased variance.

    Args:
        rows: (rows, n).
        factor: (rows,).
        eps: above 0."""
    apart, inverse = _statistics(rows, eps)
    return apart * (factor.unsqueeze(1) * inverse)


def standardised_gradients(gradient: Tensor, rows: Tensor, factor: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Gradients of :func:`standardised` with respect to rows and factor, themselves differentiable."""
    apart, inverse = _statistics(rows, eps)
    unit = apart * inverse
    along = (gradient * unit).mean(1, keepdim=True)
    of_rows = factor.unsqueeze(1) * inverse * (gradient - gradient.mean(1, keepdim=True) - unit * along)
    return of_rows, along.squeeze(1) * rows.shape[1]


def scaled(rows: Tensor, factor: Tensor, eps: float) -> Tensor:
    """``factor * w / sqrt(Var[w] + eps)`` of each row: the mean is not subtracted."""
    _, inverse = _statistics(rows, eps)
    return rows * (factor.unsqueeze(1) * inverse)


def centred(rows: Tensor, factor: Tensor) -> Tensor:
    """``factor * (w - E[w])`` of each row: the variance is kept."""
    return (rows - rows.mean(1, keepdim=True)) * factor.unsqueeze(1)


def _statistics(rows: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Differences from the mean, and 1 / sqrt(Var[w] + eps). On CPUs ``torch.var_mean`` takes several times as long."""
    apart = rows - rows.mean(1, keepdim=True)
    return apart, torch.rsqrt(apart.square().mean(1, keepdim=True) + eps)
