"""Multi-kernel maximum mean discrepancy, plain and weighted (thesis equations 4.2 to 4.6; Gretton et al., NeurIPS
2012).

Every estimator is a mean of h (equation 4.5) over pairs of positions (i, j), and h needs four distances. Only these
are computed: the linear estimators take O(n d) time and memory, where the release (and the libraries in use) build the
(2n, 2n, d) differences first. ``torch.compile(mk_mmd, fullgraph=True)``, or of an :class:`MKMMD`, reads the features once
for all of them and is faster still.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from outlier_matching.kernels import (
    RunningMedian,
    above_diagonal,
    bandwidths,
    in_single_precision,
    mean_bandwidth,
    squared_distances,
)

Kernels = Literal["thesis", "author"]
Estimator = Literal["linear", "circular", "quadratic"]
KERNELS: tuple[Kernels, ...] = ("thesis", "author")
ESTIMATORS: tuple[Estimator, ...] = ("linear", "circular", "quadratic")

_COUNTS = {"thesis": 17, "author": 5}
# A bandwidth of 0 (all points the same) would give 0/0. Far below any distance, and its square is no denormal number.
_SMALLEST = 1e-18


def mk_mmd(
    source: Tensor,
    target: Tensor,
    weights: Tensor | None = None,
    *,
    kernels: Kernels = "thesis",
    estimator: Estimator = "linear",
    sigma: Tensor | float | None = None,
) -> Tensor:
    """Equation 4.4, or with ``weights`` 4.6: the mean of ``w_i w_j h(z_i, z_j)`` over the estimator's pairs (i, j).

    ``h = k(s_i, s_j) + k(t_i, t_j) - k(s_i, t_j) - k(t_i, s_j)`` (4.5), k from Gaussians ``exp(-||x - y||^2 /
    sigma_m)``.

    At a given sigma the estimate is unbiased: it may be below 0.

    Args:
        source: floating (n, d); half precision is computed in single.
        target: floating (n, d).
        weights: (n,) of the target samples, in [0, 1] as in the thesis (not looked at); None: all 1. A constant in the
            method; a tensor that asks for gradients gets them.
        kernels: ``"thesis"``: the mean (beta = 1/17) of 17 Gaussians, bandwidths 2^-8 to 2^8 times sigma.
            ``"author"``: the *sum* of 5, 1/4 to 4 times sigma.
        estimator: ``"linear"``: the n / 2 pairs (1, 2), (3, 4), ... of the thesis, n even. ``"circular"``: the n pairs
            (i, i + 1), the last with the first, as in the release. ``"quadratic"``: all n (n - 1) / 2 pairs, the
            U-statistic, O(n^2 + n d) memory: what the other two estimate.
        sigma: (), the middle bandwidth. None: from this batch; ``"thesis"`` takes the median of the squared distances
            that the estimator uses, without gradient; ``"author"`` the mean over all pairs of the 2n points, with
            gradient, as the release.

    Returns:
        ().

    Raises:
        ValueError: for unequal numbers of samples, an odd n where pairs are disjoint, fewer than two, or other shapes
            or names.

    Example:
        >>> x = torch.tensor([[0.0], [1.0]])
        >>> print(f"{mk_mmd(x, x):.4f} {mk_mmd(x, x + 8) > 0.5}")
        0.0000 True
    """
    sigma = None if sigma is None else torch.as_tensor(sigma).reshape(1)
    return multi_layer_mk_mmd([source], [target], weights, kernels=kernels, estimator=estimator, sigma=sigma)


def multi_layer_mk_mmd(
    sources: Sequence[Tensor],
    targets: Sequence[Tensor],
    weights: Tensor | None = None,
    *,
    kernels: Kernels = "thesis",
    estimator: Estimator = "linear",
    sigma: Tensor | None = None,
) -> Tensor:
    """Equation 4.2: the sum over layers of :func:`mk_mmd`, each with its own bandwidth, all kernels in one
    exponential.

    Args:
        sources: one (n, d_l) a layer: fc6, fc7 and fc8 in the thesis.
        targets: the same layers, the same n.
        weights: (n,), for every layer.
        kernels: see :func:`mk_mmd`.
        estimator: see :func:`mk_mmd`.
        sigma: (layers,); None: from this batch.

    Returns:
        ().

    Raises:
        ValueError: see :func:`mk_mmd`, and for layers that do not go together.
    """
    distances = pair_distances(sources, targets, estimator)
    _check_kernels(kernels)
    if sigma is None:
        sigma = _medians(distances) if kernels == "thesis" else _means(sources, targets)
    elif sigma.shape != distances.shape[:1]:
        raise ValueError(f"sigma must be ({len(distances)},), one a layer, got {tuple(sigma.shape)}")
    return _mean_h(distances, sigma, kernels, _pair_weights(weights, len(sources[0]), estimator))


class MKMMD(nn.Module):
    """:func:`multi_layer_mk_mmd` (one layer: :func:`mk_mmd`) with a choice of where the bandwidth comes from.

    Args:
        kernels: see :func:`mk_mmd`.
        estimator: see :func:`mk_mmd`.
        bandwidth: ``"batch"``: each batch's own; ``"running"``: :class:`RunningMedian` over the training batches
            (thesis kernels only); a tensor (layers,) or a number for every layer: this one, from
            :func:`median_bandwidth` for example.
        layers: how many.
        momentum: of the running median.

    Raises:
        ValueError: for other names, or a tensor of another shape.
    """

    sigma: Tensor

    def __init__(
        self,
        kernels: Kernels = "thesis",
        estimator: Estimator = "linear",
        bandwidth: Literal["batch", "running"] | float | Tensor = "batch",
        layers: int = 1,
        momentum: float = 0.1,
    ) -> None:
        super().__init__()
        _check_kernels(kernels)
        _check_estimator(estimator)
        self.kernels: Kernels = kernels
        self.estimator: Estimator = estimator
        self.layers = layers
        self.bandwidth: str
        if not isinstance(bandwidth, str):
            self.bandwidth = "fixed"
            fixed = torch.as_tensor(bandwidth, dtype=torch.get_default_dtype()).detach()
            fixed = fixed.expand(layers) if fixed.dim() == 0 else fixed
            if fixed.shape != (layers,):
                raise ValueError(f"bandwidth must be ({layers},), one a layer, got {tuple(fixed.shape)}")
            self.register_buffer("sigma", fixed.clone())
        elif bandwidth == "batch" or (bandwidth == "running" and kernels == "thesis"):
            self.bandwidth = bandwidth
            if bandwidth == "running":
                self.running = RunningMedian(layers, momentum)
        else:
            raise ValueError(
                f"bandwidth must be batch, running (thesis kernels only) or numbers, got {bandwidth!r} with {kernels}"
            )

    def forward(
        self, source: Tensor | Sequence[Tensor], target: Tensor | Sequence[Tensor], weights: Tensor | None = None
    ) -> Tensor:
        """source and target (n, d), or one of each a layer; weights (n,) -> ()."""
        sources = [source] if isinstance(source, Tensor) else source
        targets = [target] if isinstance(target, Tensor) else target
        if len(sources) != self.layers:
            raise ValueError(f"expected {self.layers} layers, got {len(sources)}")
        distances = pair_distances(sources, targets, self.estimator)
        if self.bandwidth == "fixed":
            sigma = self.sigma
        elif self.bandwidth == "running":
            sigma = self.running(_medians(distances))
        else:
            sigma = _medians(distances) if self.kernels == "thesis" else _means(sources, targets)
        return _mean_h(distances, sigma, self.kernels, _pair_weights(weights, len(sources[0]), self.estimator))

    def extra_repr(self) -> str:
        return f"{self.kernels}, {self.estimator}, bandwidth={self.bandwidth}, layers={self.layers}"


def pair_distances(sources: Sequence[Tensor], targets: Sequence[Tensor], estimator: Estimator) -> Tensor:
    """Squared distances that h needs, (layers, 4, pairs): s_i s_j, t_i t_j, s_i t_j, t_i s_j. Raises as
    :func:`mk_mmd`."""
    _check_estimator(estimator)
    if not sources or len(sources) != len(targets):
        raise ValueError(f"the same layers are needed of both domains, got {len(sources)} and {len(targets)}")
    for s, t in zip(sources, targets, strict=True):
        if s.dim() != 2 or t.dim() != 2 or s.shape[1] != t.shape[1] or not s.is_floating_point() or s.dtype != t.dtype:
            got = f"{s.dtype} {tuple(s.shape)} and {t.dtype} {tuple(t.shape)}"
            raise ValueError(f"features must be floating (n, d) of one d and type in both domains, got {got}")
        if len(s) != len(t):
            raise ValueError(f"source and target need the same number of samples, got {len(s)} and {len(t)}")
    counts = {len(s) for s in sources}
    if len(counts) > 1:
        raise ValueError(f"every layer needs the same samples, got {[len(s) for s in sources]}")
    (samples,) = counts
    if samples < 2:
        raise ValueError(f"MK-MMD needs two samples or more of each domain, got {samples}")
    if estimator == "linear" and samples % 2:
        raise ValueError(f"the linear estimator takes samples two by two and needs an even number, got {samples}")
    layers = [
        _distances(in_single_precision(s), in_single_precision(t), estimator)
        for s, t in zip(sources, targets, strict=True)
    ]
    return torch.stack(layers)


def _distances(s: Tensor, t: Tensor, estimator: Estimator) -> Tensor:
    if estimator == "quadratic":
        across = squared_distances(s, t)
        matrices = (squared_distances(s, s), squared_distances(t, t), across, across.T)
        return torch.stack([above_diagonal(matrix) for matrix in matrices])
    if estimator == "linear":
        s, t = (x.reshape(len(x) // 2, 2, -1) for x in (s, t))
    else:
        s, t = (torch.stack((x, x.roll(-1, 0)), 1) for x in (s, t))
    if torch.compiler.is_compiling():  # the compiler makes one loop of it, and another of its gradient
        return torch.stack([(x - y).square().sum(1) for x, y in _four_pairs(s, t)])
    distances: Tensor = _FourDistances.apply(s, t)
    return distances


def _four_pairs(s: Tensor, t: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
    (s_i, s_j), (t_i, t_j) = s.unbind(1), t.unbind(1)
    return (s_i, s_j), (t_i, t_j), (s_i, t_j), (t_i, s_j)


class _FourDistances(torch.autograd.Function):
    # s and t (pairs, 2, d). Each difference is made, summed and dropped while it is in the cache. The gradient of a
    # weighted sum of squared distances is twice the weights' graph Laplacian times the points: two products that write
    # it in place, where autograd's own way keeps and fills several times the memory of the features, which takes longer
    # than the arithmetic. It has no root of 0 in it, and is itself differentiable.

    @staticmethod
    def forward(s: Tensor, t: Tensor) -> Tensor:
        difference = torch.empty_like(s[:, 0])  # one for all four: fresh memory costs twice the subtraction
        norms = [torch.linalg.vector_norm(torch.sub(x, y, out=difference), dim=1) for x, y in _four_pairs(s, t)]
        return torch.stack(norms).square_()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        s, t = ctx.saved_tensors
        ss, tt, st, ts = (2 * grads[0]).unbind()
        zero = torch.zeros_like(ss)
        rows = (ss + st, -ss, -ss, ss + ts, tt + ts, -tt, -tt, tt + st, zero, -st, -ts, zero)
        of_s, of_t, across = torch.stack(rows, 1).view(-1, 3, 2, 2).unbind(1)
        with torch.autocast(s.device.type, enabled=False):
            return of_s.bmm(s).baddbmm_(across, t), of_t.bmm(t).baddbmm_(across.mT, s)


def _mean_h(distances: Tensor, sigma: Tensor, kernels: Kernels, weights: Tensor | None) -> Tensor:
    """distances (layers, 4, pairs), sigma (layers,), weights (pairs,) -> (), summed over the layers."""
    middle = sigma.to(distances).clamp(min=_SMALLEST)
    every = bandwidths(middle, _COUNTS[kernels])[:, None, None, :]
    k = torch.exp(-distances[..., None] / every)
    k = k.mean(3) if kernels == "thesis" else k.sum(3)
    within, across = k.view(len(k), 2, 2, -1).unbind(1)
    h = (within - across).sum(1)
    return (h if weights is None else h * weights.to(h)).mean(1).sum()


def _pair_weights(weights: Tensor | None, samples: int, estimator: Estimator) -> Tensor | None:
    if weights is None:
        return None
    if weights.shape != (samples,):
        raise ValueError(f"weights must be ({samples},), one a target sample, got {tuple(weights.shape)}")
    if estimator == "linear":
        return weights[0::2] * weights[1::2]
    return weights * weights.roll(-1, 0) if estimator == "circular" else above_diagonal(weights[:, None] * weights)


def _medians(distances: Tensor) -> Tensor:
    return distances.detach().flatten(1).median(1).values


def _means(sources: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    return torch.stack([mean_bandwidth((s, t)) for s, t in zip(sources, targets, strict=True)])


def _check_kernels(kernels: str) -> None:
    if kernels not in KERNELS:
        raise ValueError(f"kernels must be one of {', '.join(KERNELS)}, got {kernels!r}")


def _check_estimator(estimator: str) -> None:
    if estimator not in ESTIMATORS:
        raise ValueError(f"estimator must be one of {', '.join(ESTIMATORS)}, got {estimator!r}")
