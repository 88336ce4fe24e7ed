"""Multi-kernel maximum mean discrepancy, plain and weighted (thesis equations 4.2 to 4.6; Gretton et al., NeurIPS
2012). Only the four distances of h (4.5) are computed, in O(n d) for the linear and circular estimators. A compiled
:class:`MKMMD`, or ``torch.compile(mk_mmd, fullgraph=True)``, reads the features only once and is faster."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from outlier_matching.method.config import Estimator, Kernels, check_choice
from outlier_matching.method.kernels import (
    RunningMedian,
    above_diagonal,
    bandwidths,
    in_single_precision,
    mean_bandwidth,
    squared_distances,
)

_COUNTS = {"thesis": 17, "author": 5}
# A bandwidth of 0 (all points equal) would give 0/0. This value is far below any distance; its square is not denormal.
_SMALLEST = 1e-18


def mk_mmd(
    source: Tensor, target: Tensor, weights: Tensor | None = None, *, kernels: Kernels = "thesis",
    estimator: Estimator = "linear", sigma: Tensor | float | None = None,
) -> Tensor:  # fmt: skip
    """Equation 4.4, or 4.6 with ``weights``: the mean of ``w_i w_j h(z_i, z_j)`` over the estimator's pairs (i, j). ``h
    = k(s_i, s_j) + k(t_i, t_j) - k(s_i, t_j) - k(t_i, s_j)`` (4.5), where k combines Gaussians ``exp(-||x - y||^2 /
    sigma_m)``. For a given sigma the estimate is unbiased, so it can be below 0. Returns (). Raises ValueError for
    unequal numbers of samples, an odd n with the linear estimator, fewer than two samples, or other shapes or names.

    Args:
        source: floating (n, d); half precision is computed in single precision.
        target: floating (n, d).
        weights: (n,) of the target samples, in [0, 1] in the thesis (not checked); None: all 1. The method treats them as
            constants, but gradients are computed for a tensor that requires them.
        kernels: ``"thesis"``: the mean (beta = 1/17) of 17 Gaussians, bandwidths 2^-8 to 2^8 times sigma.
            ``"author"``: the *sum* of 5 Gaussians, 1/4 to 4 times sigma.
        estimator: ``"linear"``: the n / 2 pairs (1, 2), (3, 4), ... of the thesis, n even. ``"circular"``: the n pairs
            (i, i + 1), including the last with the first, as in the release. ``"quadratic"``: all n (n - 1) / 2 pairs
            (the U-statistic), with O(n^2 + n d) memory.
        sigma: (), the middle bandwidth. None computes it from this batch: for ``"thesis"`` the median of the squared
            distances that the estimator uses, without gradient; for ``"author"`` the mean over all pairs of the 2n
            points, with gradient, as in the release.

    Example:
        >>> x = torch.tensor([[0.0], [1.0]])
        >>> print(f"{mk_mmd(x, x):.4f} {mk_mmd(x, x + 8) > 0.5}")
        0.0000 True"""
    sigma = None if sigma is None else torch.as_tensor(sigma).reshape(1)
    return multi_layer_mk_mmd([source], [target], weights, kernels=kernels, estimator=estimator, sigma=sigma)


def multi_layer_mk_mmd(
    sources: Sequence[Tensor], targets: Sequence[Tensor], weights: Tensor | None = None, *, kernels: Kernels = "thesis",
    estimator: Estimator = "linear", sigma: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Equation 4.2: the sum of :func:`mk_mmd` over layers, each with its own bandwidth; one exponential computes all
    kernels. Returns (). Raises ValueError: see :func:`mk_mmd`, and if source and target have different layers.

    Args:
        sources: one (n, d_l) per layer: fc6, fc7 and fc8 in the thesis.
        targets: the same layers, the same n.
        weights: (n,), used for every layer.
        sigma: (layers,); None computes it from this batch."""
    distances = pair_distances(sources, targets, estimator)
    check_choice("kernels", kernels, Kernels)
    if sigma is None:
        sigma = _medians(distances) if kernels == "thesis" else _means(sources, targets)
    elif sigma.shape != distances.shape[:1]:
        raise ValueError(f"sigma must be ({len(distances)},), one per layer, got {tuple(sigma.shape)}")
    return _mean_h(distances, sigma, kernels, _pair_weights(weights, len(sources[0]), estimator))


class MKMMD(nn.Module):
    """:func:`multi_layer_mk_mmd` (:func:`mk_mmd` with one layer) as a module, with a choice of bandwidth. Raises
    ValueError for other names, or a tensor of another shape.

    Args:
        bandwidth: ``"batch"``: computed from each batch. ``"running"``: :class:`RunningMedian` over the training batches
            (thesis kernels only). A tensor (layers,) or a number: this fixed bandwidth, for example from
            :func:`median_bandwidth`."""

    sigma: Tensor

    def __init__(
        self, kernels: Kernels = "thesis", estimator: Estimator = "linear",
        bandwidth: Literal["batch", "running"] | float | Tensor = "batch", layers: int = 1, momentum: float = 0.1,
    ) -> None:  # fmt: skip
        super().__init__()
        check_choice("kernels", kernels, Kernels)
        check_choice("estimator", estimator, Estimator)
        self.kernels: Kernels = kernels
        self.estimator: Estimator = estimator
        self.layers = layers
        self.bandwidth: str
        if not isinstance(bandwidth, str):
            self.bandwidth = "fixed"
            fixed = torch.as_tensor(bandwidth, dtype=torch.get_default_dtype()).detach()
            fixed = fixed.expand(layers) if fixed.dim() == 0 else fixed
            if fixed.shape != (layers,):
                raise ValueError(f"bandwidth must be ({layers},), one per layer, got {tuple(fixed.shape)}")
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
        """source and target (n, d), or one such pair per layer; weights (n,) -> ()."""
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
    """Squared distances that h needs, (layers, 4, pairs): s_i s_j, t_i t_j, s_i t_j, t_i s_j. Raises ValueError: see
    :func:`multi_layer_mk_mmd`."""
    check_choice("estimator", estimator, Estimator)
    if not sources or len(sources) != len(targets):
        raise ValueError(f"source and target need the same layers, got {len(sources)} and {len(targets)}")
    for s, t in zip(sources, targets, strict=True):
        if s.dim() != 2 or t.dim() != 2 or s.shape[1] != t.shape[1] or not s.is_floating_point() or s.dtype != t.dtype:
            got = f"{s.dtype} {tuple(s.shape)} and {t.dtype} {tuple(t.shape)}"
            raise ValueError(f"source and target features must be floating (n, d) with the same d and dtype, got {got}")
        if len(s) != len(t):
            raise ValueError(f"source and target need the same number of samples, got {len(s)} and {len(t)}")
    counts = {len(s) for s in sources}
    if len(counts) > 1:
        raise ValueError(f"every layer needs the same number of samples, got {[len(s) for s in sources]}")
    (samples,) = counts
    if samples < 2:
        raise ValueError(f"MK-MMD needs at least two samples of each domain, got {samples}")
    if estimator == "linear" and samples % 2:
        raise ValueError(f"the linear estimator needs an even number of samples, got {samples}")
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
    if torch.compiler.is_compiling():  # the compiler fuses this into one loop, and its gradient into another
        return torch.stack([(x - y).square().sum(1) for x, y in _four_pairs(s, t)])
    return _FourDistances.apply(s, t)


def _four_pairs(s: Tensor, t: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
    (s_i, s_j), (t_i, t_j) = s.unbind(1), t.unbind(1)
    return (s_i, s_j), (t_i, t_j), (s_i, t_j), (t_i, s_j)


class _FourDistances(torch.autograd.Function):
    # s and t (pairs, 2, d). Each difference is computed, summed and dropped while it is in the cache. The gradient of a
    # weighted sum of squared distances is twice the weights' graph Laplacian times the points: two products that write in
    # place. Plain autograd keeps and fills several times the memory of the features, which takes longer than the
    # arithmetic. This backward contains no square root of 0 and is itself differentiable.

    @staticmethod
    def forward(s: Tensor, t: Tensor) -> Tensor:
        difference = torch.empty_like(s[:, 0])  # reused four times: new memory costs twice the subtraction
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
        raise ValueError(f"weights must be ({samples},), one per target sample, got {tuple(weights.shape)}")
    if estimator == "linear":
        return weights[0::2] * weights[1::2]
    return weights * weights.roll(-1, 0) if estimator == "circular" else above_diagonal(weights[:, None] * weights)


def _medians(distances: Tensor) -> Tensor:
    return distances.detach().flatten(1).median(1).values


def _means(sources: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    return torch.stack([mean_bandwidth((s, t)) for s, t in zip(sources, targets, strict=True)])
