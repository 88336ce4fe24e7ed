"""The mean of each cluster, and clustering as one module for any network with stages (thesis 3.3.3, figure 3.2)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from full_video.clustering.clusters import Clusters, cluster_frames, first_of_runs
from full_video.clustering.hamming import map_axes, neighbour_distances, readable
from full_video.clustering.methods import METHODS


def cluster_means(x: Tensor, clusters: Clusters) -> Tensor:
    """Mean activation of each cluster of x, floating (V, T, *), differentiable: (V, g, *) with the dtype and memory
    format of ``x``. Frames of no cluster are left out and get the gradient 0. The row of an empty cluster shows the
    cluster that ``clusters.rows`` names, which receives the gradients of both rows.

    The gradient of a frame is that of its cluster, divided by the number of frames in the cluster. The thesis averages
    after the convolution and before the ReLU, the release after the ReLU; ``x`` may be either. Sums are taken in one
    fixed order on every device, so that a training step repeats bit for bit. Raises ValueError if ``x`` does not have
    the V and T of the clusters, or (checked on the CPU alone, which costs no wait) if they are not runs of frames."""
    if not x.is_floating_point() or x.dim() < 3 or x.shape[:2] != clusters.ids.shape:
        expected = f"floating {(*clusters.ids.shape, '*')}"
        raise ValueError(f"activations must be {expected} for these clusters, got {x.dtype} {tuple(x.shape)}")
    axes = map_axes(x)
    maps = x.permute(0, 1, *axes)
    starts = clusters.starts
    counts = starts.diff(dim=1)[:, :, None]
    if clusters.full:
        means = _sum_runs(maps.flatten(2), clusters.ids, starts[:, :-1], counts)
    else:  # frames of no cluster go into an additional row, which is thrown away
        slots = torch.where(clusters.ids < 0, clusters.rows.shape[1], clusters.ids)
        if readable(slots) and bool((slots.diff(dim=1) < 0).any() | (clusters.rows.diff(dim=1) < 0).any()):
            raise ValueError("clusters must be runs: ids and rows never fall along a video, and -1 is only at its end")
        means = _sum_runs(maps.flatten(2), slots, starts)[:, :-1] / counts.clamp(min=1)
        means = _spread_runs(means, clusters.rows)
    back = sorted(range(2, x.dim()), key=lambda axis: axes[axis - 2])
    return means.view(*means.shape[:2], *maps.shape[2:]).permute(0, 1, *back)


class TemporalAggregation(nn.Module):
    """T frames in, g rows out: a module to put between two stages of a network whose earlier stages treat frames one by one.

    >>> network = nn.Sequential(stem, stage1, TemporalAggregation(8, num_frames=32), stage2)  # doctest: +SKIP

    ``clusters`` is g, ``method`` one of :data:`full_video.clustering.METHODS`, ``num_frames`` T if the frames are folded into
    the batch, as 2-D networks take them; None: the input has a time axis. A ``ValueError`` for others, or g or T below 1.
    """

    def __init__(self, clusters: int, method: str = "cumulative", num_frames: int | None = None) -> None:
        super().__init__()
        if method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
        if clusters < 1 or (num_frames is not None and num_frames < 1):
            raise ValueError(f"clusters and num_frames must be at least 1, got {clusters} and {num_frames}")
        self.clusters, self.method, self.num_frames = clusters, method, num_frames

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """x (V, T, *) -> (V, g, *), or folded (V*T, *) -> (V*g, *). Frames past ``lengths``, int64 (V,), are ignored."""
        means = cluster_means(self._unfold(x), self.group(x, lengths))
        return means if self.num_frames is None else means.flatten(0, 1)

    def group(self, x: Tensor, lengths: Tensor | None = None) -> Clusters:
        """The clusters that :meth:`forward` averages over."""
        return cluster_frames(neighbour_distances(self._unfold(x), lengths), self.clusters, self.method, lengths)

    def extra_repr(self) -> str:
        return f"{self.clusters}, method={self.method!r}, num_frames={self.num_frames}"

    def _unfold(self, x: Tensor) -> Tensor:
        if self.num_frames is None:
            return x
        if x.dim() < 2 or x.numel() == 0:
            raise ValueError(f"expected folded frames (V * {self.num_frames}, *), got the shape {tuple(x.shape)}")
        if x.shape[0] % self.num_frames:
            raise ValueError(f"folded frames must be a multiple of num_frames = {self.num_frames}, got {x.shape[0]}")
        return x.view(-1, self.num_frames, *x.shape[1:])


def _sum_runs(x: Tensor, slots: Tensor, starts: Tensor, counts: Tensor | None = None) -> Tensor:
    """Sum of the frames x (V, T, K) of each slot, divided by ``counts`` (V, S, 1) if given: (V, S, K); ``slots`` int64 (V, T),
    never falling, is the slot of each frame, ``starts`` int64 (V, S) the first frame of each slot."""
    return _SumRuns.apply(x, slots, starts, counts)


def _spread_runs(rows: Tensor, slots: Tensor) -> Tensor:
    """rows (V, S, K), slots int64 (V, T), never falling -> (V, T, K), the row of each frame: the adjoint of :func:`_sum_runs`."""
    return _SpreadRuns.apply(rows, slots)


class _SumRuns(torch.autograd.Function):
    # embedding_bag reads every frame once, in order, in one kernel. index_add_ would add atomically on CUDA, with another sum
    # in each run. A product with a 0/1 matrix would take part in autocast and TF32, and spread an infinity of the padding.
    # The backward pass of embedding_bag would sort the indices, although the gradient of a sum is a copy.

    @staticmethod
    def forward(x: Tensor, slots: Tensor, starts: Tensor, counts: Tensor | None) -> Tensor:
        videos, frames, size = x.shape
        first = starts + torch.arange(0, videos * frames, frames, device=x.device)[:, None]
        every = torch.arange(videos * frames, device=x.device)
        sums = embedding_bag(every, x.reshape(-1, size), first.flatten(), mode="sum").view(videos, -1, size)
        return sums if counts is None else sums.div_(counts)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, Tensor | None], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1], inputs[3])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        slots, counts = ctx.saved_tensors
        return _spread_runs(grads[0] if counts is None else grads[0] / counts, slots), None, None, None


class _SpreadRuns(torch.autograd.Function):
    @staticmethod
    def forward(rows: Tensor, slots: Tensor) -> Tensor:
        videos, outputs, size = rows.shape
        index = slots + torch.arange(0, videos * outputs, outputs, device=rows.device)[:, None]
        return rows.reshape(-1, size).index_select(0, index.flatten()).view(videos, -1, size)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])
        ctx.outputs = inputs[0].shape[1]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (slots,) = ctx.saved_tensors
        return _sum_runs(grads[0], slots, first_of_runs(slots, ctx.outputs)), None
