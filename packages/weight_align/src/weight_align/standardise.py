"""The arithmetic of equation 5.10 on rows, one filter a row, in torch's elementary operations."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["centred", "scaled", "standardised", "standardised_gradients"]


def standardised(rows: Tensor, factor: Tensor, eps: float) -> Tensor:
    """``factor * (w - E[w]) / sqrt(Var[w] + eps)`` of each row, with the biased variance.

    Args:
        rows: (rows, n).
        factor: (rows,).
        eps: above 0.
    """
    variance, mean = torch.var_mean(rows, 1, correction=0, keepdim=True)
    return (rows - mean) * (factor.unsqueeze(1) * torch.rsqrt(variance + eps))


def standardised_gradients(gradient: Tensor, rows: Tensor, factor: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Gradients of :func:`standardised` with respect to rows and factor, themselves differentiable."""
    variance, mean = torch.var_mean(rows, 1, correction=0, keepdim=True)
    inverse = torch.rsqrt(variance + eps)
    unit = (rows - mean) * inverse
    along = (gradient * unit).mean(1, keepdim=True)
    of_rows = factor.unsqueeze(1) * inverse * (gradient - gradient.mean(1, keepdim=True) - unit * along)
    return of_rows, along.squeeze(1) * rows.shape[1]


def scaled(rows: Tensor, factor: Tensor, eps: float) -> Tensor:
    """``factor * w / sqrt(Var[w] + eps)`` of each row: the mean stays where it is."""
    return rows * (factor * torch.rsqrt(rows.var(1, correction=0) + eps)).unsqueeze(1)


def centred(rows: Tensor, factor: Tensor) -> Tensor:
    """``factor * (w - E[w])`` of each row: the variance stays what it is."""
    return (rows - rows.mean(1, keepdim=True)) * factor.unsqueeze(1)
