"""Gaussian kernels of many bandwidths, ``k_m(x, y) = exp(-||x - y||^2 / sigma_m)`` (thesis 4.4.1 and 4.5.2). Sigma is
the median of *squared* distances: the thesis does not say so, but only these have the numerator's unit and leave the
loss unchanged when all features are scaled."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def bandwidths(sigma: float | Tensor, count: int = 17, factor: float = 2.0) -> Tensor:
    """``sigma * factor^e`` for ``count`` integers e centred at 0. Thesis: 17, from 2^-8 to 2^8. Release: 5, from 1/4 to
    4. Returns (..., count), ascending. Raises ValueError for another count or factor.

    Args:
        sigma: middle bandwidth, a number or a tensor (...), in the unit of squared distances.
        count: odd, at least 1.
        factor: above 1."""
    if count < 1 or count % 2 == 0 or not factor > 1:
        raise ValueError(f"count must be odd and at least 1 and factor above 1, got {count} and {factor}")
    middle = torch.as_tensor(sigma)
    middle = middle if middle.is_floating_point() else middle.to(torch.get_default_dtype())
    exponents = (
        torch.arange(count, dtype=middle.dtype, device=middle.device) - count // 2
    )  # created on the device: no copy to wait for
    return middle[..., None] * factor**exponents


def median_bandwidth(x: Tensor, size: int = 1000, generator: torch.Generator | None = None) -> Tensor:
    """Median squared distance between different points. The thesis takes it over source and target training features.
    Returns (), without gradient: the lower median of the s (s - 1) / 2 distances, s = min(n, size). Raises ValueError
    for fewer points.

    Args:
        x: floating (n, d), n at least 2.
        size: if there are more points, a random subset of this size (at least 2) is used, so time and memory are
            O(size^2).
        generator: draws the subset, on the CPU; None uses torch's default generator."""
    if x.dim() != 2 or len(x) < 2 or size < 2:
        raise ValueError(f"features must be (n, d), n and size at least 2, got {tuple(x.shape)} and size {size}")
    x = in_single_precision(x.detach())
    if len(x) > size:
        x = x[torch.randperm(len(x), generator=generator)[:size].to(x.device)]
    return above_diagonal(squared_distances(x, x)).median()


class RunningMedian(nn.Module):
    """One bandwidth per layer that follows the medians of the batches: ``sigma += momentum * (median - sigma)``. It
    replaces the thesis's median over the training data, because features change with every step. In training mode every
    call updates sigma; the first call sets it to the batch's median. A median of 0 (a layer with equal features in more
    than half of the pairs) is skipped. The state is a buffer, so checkpoints hold it. Raises ValueError for other
    arguments. ``layers``: number of bandwidths; ``momentum``: above 0, at most 1."""

    sigma: Tensor

    def __init__(self, layers: int = 1, momentum: float = 0.1) -> None:
        super().__init__()
        if layers < 1 or not 0 < momentum <= 1:
            raise ValueError(f"layers must be at least 1 and momentum in (0, 1], got {layers} and {momentum}")
        self.momentum = momentum
        self.register_buffer("sigma", torch.zeros(layers))

    @torch.no_grad()
    def forward(self, medians: Tensor) -> Tensor:
        """medians (layers,) of this batch -> (layers,) bandwidths; 0 for a layer without any median above 0 so far."""
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
    """Sigma of the release: the mean squared distance over all ordered pairs of different points, differentiable. For N
    points, ``sum_ij ||x_i - x_j||^2 / (N^2 - N)`` is twice their sample variance summed over the dimensions. This takes
    O(N d); the release builds N x N distances. Returns (). ``samples``: floating (n_i, d) tensors of one batch, two
    points or more in total."""
    points = torch.cat([in_single_precision(x) for x in samples])
    if len(points) < 2:
        raise ValueError(f"a mean distance needs two points or more, got {len(points)}")
    return 2 * points.var(0, correction=1).sum()


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """x (n, d), y (m, d) -> (n, m) squared Euclidean distances by one matrix product, after centring, which reduces
    cancellation."""
    with torch.autocast(x.device.type, enabled=False):
        x, y = in_single_precision(x), in_single_precision(y)
        centre = x.detach().mean(0)
        x, y = x - centre, y - centre
        return (x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T).clamp(min=0)


def above_diagonal(matrix: Tensor) -> Tensor:
    """matrix (n, n) -> (n (n - 1) / 2,) its entries (i, j) with i < j, in row order."""
    rows, columns = torch.triu_indices(matrix.shape[0], matrix.shape[1], offset=1, device=matrix.device)
    return matrix[rows, columns]


def in_single_precision(x: Tensor) -> Tensor:
    """``x``, but float16 and bfloat16 as float32, which sums of thousands of squares need."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
