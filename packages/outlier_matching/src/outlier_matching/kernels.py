"""Gaussian kernels of many bandwidths, ``k_m(x, y) = exp(-||x - y||^2 / sigma_m)`` (thesis 4.4.1 and 4.5.2).

The thesis divides a *squared* distance by sigma and takes for sigma "the median of the pairwise distances", without
saying whether these are squared. Only squared ones give sigma the unit that the quotient needs (and leave the loss
unchanged when all features are scaled), so sigma is the median of squared distances here.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def bandwidths(sigma: float | Tensor, count: int = 17, factor: float = 2.0) -> Tensor:
    """``sigma * factor^e`` for ``count`` whole e about 0: 17 from 2^-8 to 2^8 in the thesis, 5 from 1/4 to 4 in the
    release.

    Args:
        sigma: the middle bandwidth, a number or a tensor (...), in the unit of squared distances.
        count: odd, at least 1.
        factor: above 1.

    Returns:
        (..., count), rising.

    Raises:
        ValueError: for another count or factor.
    """
    if count < 1 or count % 2 == 0 or not factor > 1:
        raise ValueError(f"count must be odd and at least 1 and factor above 1, got {count} and {factor}")
    middle = torch.as_tensor(sigma)
    middle = middle if middle.is_floating_point() else middle.to(torch.get_default_dtype())
    exponents = (
        torch.arange(count, dtype=middle.dtype, device=middle.device) - count // 2
    )  # made there: no copy to wait for
    return middle[..., None] * factor**exponents


def median_bandwidth(x: Tensor, size: int = 1000, generator: torch.Generator | None = None) -> Tensor:
    """The median squared distance between different points, "in the training data" where ``x`` holds source and target
    features.

    Args:
        x: floating (n, d), n at least 2.
        size: of more points than this, a random subset of this many (at least 2) stands for them: time and memory are
            O(size^2), whatever n is.
        generator: what draws the subset, on the CPU; None: torch's own.

    Returns:
        (), detached: the lower median of the s (s - 1) / 2 distances, s = min(n, size).

    Raises:
        ValueError: for fewer points.
    """
    if x.dim() != 2 or len(x) < 2 or size < 2:
        raise ValueError(f"features must be (n, d), n and size at least 2, got {tuple(x.shape)} and size {size}")
    x = in_single_precision(x.detach())
    if len(x) > size:
        x = x[torch.randperm(len(x), generator=generator)[:size].to(x.device)]
    return above_diagonal(squared_distances(x, x)).median()


class RunningMedian(nn.Module):
    """A bandwidth for every layer that follows the batches' medians: ``sigma += momentum * (median - sigma)``.

    It stands for the thesis's median over the training data, which is known only after the features have moved on. In
    training mode every call updates; the first takes the batch's median as it is. A median of 0 (a layer whose
    features agree in more than half of the pairs) is passed over. The state is a buffer: a checkpoint holds it.

    Args:
        layers: how many bandwidths.
        momentum: above 0, at most 1.

    Raises:
        ValueError: for other arguments.
    """

    sigma: Tensor

    def __init__(self, layers: int = 1, momentum: float = 0.1) -> None:
        super().__init__()
        if layers < 1 or not 0 < momentum <= 1:
            raise ValueError(f"layers must be at least 1 and momentum in (0, 1], got {layers} and {momentum}")
        self.momentum = momentum
        self.register_buffer("sigma", torch.zeros(layers))

    @torch.no_grad()
    def forward(self, medians: Tensor) -> Tensor:
        """medians (layers,) of this batch -> (layers,) the bandwidths to use; 0 where none has been seen."""
        if medians.shape != self.sigma.shape:
            raise ValueError(f"medians must be {tuple(self.sigma.shape)}, got {tuple(medians.shape)}")
        if self.training:
            medians = medians.to(self.sigma.dtype)
            moved = torch.where(self.sigma > 0, self.sigma.lerp(medians, self.momentum), medians)
            self.sigma.copy_(torch.where(medians > 0, moved, self.sigma))
        return self.sigma.clone()

    def extra_repr(self) -> str:
        return f"layers={len(self.sigma)}, momentum={self.momentum}"


def mean_bandwidth(samples: Sequence[Tensor]) -> Tensor:
    """The release's sigma: the mean squared distance over all ordered pairs of different points, differentiable.

    With N points in all, ``sum_ij ||x_i - x_j||^2 / (N^2 - N)`` is twice their sample variance summed over the
    dimensions, which takes O(N d) instead of the N x N distances that the release builds.

    Args:
        samples: floating (n_i, d), all of one batch, two points or more together.

    Returns:
        ().
    """
    points = torch.cat([in_single_precision(x) for x in samples])
    if len(points) < 2:
        raise ValueError(f"a mean distance needs two points or more, got {len(points)}")
    return 2 * points.var(0, correction=1).sum()


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """x (n, d), y (m, d) -> (n, m) squared Euclidean distances through one matrix product, centred first against
    cancellation."""
    with torch.autocast(x.device.type, enabled=False):
        x, y = in_single_precision(x), in_single_precision(y)
        centre = x.detach().mean(0)
        x, y = x - centre, y - centre
        return (x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T).clamp(min=0)


def above_diagonal(matrix: Tensor) -> Tensor:
    """matrix (n, n) -> (n (n - 1) / 2,) its entries (i, j) with i < j, row by row."""
    rows, columns = torch.triu_indices(matrix.shape[0], matrix.shape[1], offset=1, device=matrix.device)
    return matrix[rows, columns]


def in_single_precision(x: Tensor) -> Tensor:
    """``x``, but half and bfloat16 as float32: a sum of thousands of squares needs it."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
