"""The streamed stem: clustered averages of any number of frames, with their exact gradient, in constant memory.

Plain autograd keeps what the stem computed for every frame until the backward pass, although only g averages go on. Two
facts make that needless where the stem sees each frame by itself:

- an average is linear, so the gradient that reaches a frame's map is that of its cluster's average divided by the cluster's
  size: backward, frames can pass the stem again a chunk at a time, each chunk with its own small graph;
- clusters are runs of consecutive frames. The first look therefore keeps sums over short runs of frames, at most
  ``kept`` of them (when they are full, neighbours are added and runs are twice as long). Once the clusters are known,
  every run that lies inside one of them is used as it is; only frames of the at most g - 1 runs with a border inside
  are looked at a second time. With kept = 8 g that is less than a quarter of a video, and nothing of a short one.

What lives at one time is a chunk of frames, ``kept`` sums (gone before the rest of the network runs) and the g averages:
nothing that grows with the video but a few whole numbers a frame. The stem runs forward 2 to 2.25 times and backward once.

The result is that of the one-shot graph up to rounding, if :func:`check_stem` has nothing against the stem and a frame's
map depends on that frame alone (:func:`frames_independent` tells).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd.function import once_differentiable
from torch.func import functional_call

from full_video.clustering import METHODS, Clusters, cluster_frames
from full_video.frames import FrameSource, frame_chunks
from full_video.hamming import pack_signs, packed_distance
from full_video.run_sums import RunSums, add_clusters
from full_video.stem_checks import check_draws, check_stem, draw_state
from full_video.video_batch import video_sources
from full_video.video_groups import VideoGroups

__all__ = ["StreamedRows", "StreamedStem", "stream_distances"]


class StreamedRows(NamedTuple):
    """What a streamed stem makes of V videos."""

    rows: Tensor
    """(V, g, *) averages of the maps of each cluster, differentiable."""
    clusters: Clusters
    """Which frames are in which."""
    distances: Tensor
    """int64 (V, T-1) Hamming distances between neighbouring frames, 0 in the padding."""


class StreamedStem(nn.Module):
    """Any stem, clustered and averaged over time in memory that does not grow with the video.

    In place of ``TemporalAggregation(clusters, method)(stem(frames))``::

        stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool, net.layer1).eval()
        rows = StreamedStem(stem, clusters=8)(frames)      # (V, 8, C, h, w)
        loss = criterion(rest(rows.flatten(0, 1)), labels)
        loss.backward()                                    # the gradients of all frames

    The frames are fetched chunk by chunk and may lie on another device than the stem. Autocast is as in the forward pass.
    Hooks of the stem's modules run at every look; gradients of gradients are not defined.

    Args:
        stem: (n, *) frames to (n, *) maps, each frame by itself; batch norm in eval mode (its scale and offset may learn).
        clusters: g.
        method: one of :data:`~full_video.clustering.METHODS`.
        chunk: frames that pass the stem at once; changes memory and speed, not the result.
        kept: sums of runs that the first look keeps; None is 8 g, 0 keeps none and looks twice at every frame.

    Raises:
        ValueError: for an unknown method or numbers below 1.
    """

    def __init__(
        self, stem: nn.Module, clusters: int, method: str = "cumulative", chunk: int = 4, kept: int | None = None
    ) -> None:
        super().__init__()
        if method not in METHODS:
            raise ValueError(f"method must be one of {METHODS}, got {method!r}")
        if clusters < 1 or chunk < 1:
            raise ValueError(f"clusters and chunk must be 1 or more, got {clusters} and {chunk}")
        if kept is not None and (kept < 0 or kept % 2):
            raise ValueError(f"kept must be an even number or 0, got {kept}")
        self.stem = stem
        self.clusters, self.method, self.chunk = clusters, method, chunk
        self.kept = 8 * clusters if kept is None else kept

    def forward(self, frames: Tensor | Sequence[FrameSource], lengths: Tensor | None = None) -> Tensor:
        """(V, g, *) averages.

        Args:
            frames: (V, T, *) what the stem takes, or V sources of frames of any length each.
            lengths: int64 (V,) real frames of each video of a tensor; the others are never looked at. None means all.

        Raises:
            UsageError: if the result would not be exact; see :func:`check_stem`.
        """
        return self.explain(frames, lengths).rows

    def explain(self, frames: Tensor | Sequence[FrameSource], lengths: Tensor | None = None) -> StreamedRows:
        """The averages with the clusters and distances they came from; arguments as for :meth:`forward`."""
        check_stem(self.stem)
        sources = video_sources(frames, lengths)
        state = _named_tensors(self.stem)
        given = frames if isinstance(frames, Tensor) else None
        outputs = _Streamed.apply(self, sources, given, tuple(state), *state.values())
        rows, ids, shown, distances = outputs
        if given is not None:
            ids, distances = _widen(ids, given.shape[1], -1), _widen(distances, given.shape[1] - 1, 0)
        return StreamedRows(rows, Clusters(ids, shown), distances)


@torch.no_grad()
def stream_distances(
    stem: nn.Module, frames: Tensor | Sequence[FrameSource], lengths: Tensor | None = None, chunk: int = 4
) -> tuple[Tensor, Tensor]:
    """Hamming distances of V videos without holding their maps: (V, T-1) int64 and the lengths (V,) int64.

    Arguments as for :class:`StreamedStem`.
    """
    check_stem(stem)
    device = _device(stem)
    looks = [_first_look(stem, source, chunk, 0, device)[0] for source in video_sources(frames, lengths)]
    real = torch.tensor([len(look) + 1 for look in looks])
    distances = nn.utils.rnn.pad_sequence(looks, batch_first=True)
    return _widen(distances, frames.shape[1] - 1, 0) if isinstance(frames, Tensor) else distances, real


class _Streamed(torch.autograd.Function):
    """The averages of V videos; the inputs after ``names`` are the stem's parameters and buffers of these names."""

    @staticmethod
    def forward(
        ctx: Any,
        call: StreamedStem,
        sources: Sequence[FrameSource],
        frames: Tensor | None,
        names: tuple[str, ...],
        *state: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        device = _device(call.stem)
        ctx.autocast = _autocast(device)
        with _autocast_as(ctx.autocast):
            videos = [_average(call, source, device) for source in sources]
        groups = [video.group for video in videos]
        ctx.call, ctx.sources, ctx.names, ctx.groups = call, sources, names, groups
        ctx.save_for_backward(frames, *state)  # costs nothing, and notices if they are changed before the backward pass
        ids = nn.utils.rnn.pad_sequence([group.ids for group in groups], batch_first=True, padding_value=-1)
        shown = torch.stack([group.rows for group in groups])
        distances = nn.utils.rnn.pad_sequence([video.distances for video in videos], batch_first=True)
        ctx.mark_non_differentiable(ids, shown, distances)
        ctx.set_materialize_grads(False)
        rows = videos[0].rows[None] if len(videos) == 1 else torch.stack([video.rows for video in videos])
        return rows, ids, shown, distances

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor | None, *_: None) -> tuple[Any, ...]:
        call: StreamedStem = ctx.call
        frames, *state = ctx.saved_tensors
        wants_frames, wants_state = ctx.needs_input_grad[2], ctx.needs_input_grad[4:]
        if gradient is None:
            return (None,) * (4 + len(state))
        check_stem(call.stem)
        # Other tensors than the parameters, over the same memory: what autograd finds goes into the sums and nowhere else.
        leaves = {n: t.detach().requires_grad_(w) for n, t, w in zip(ctx.names, state, wants_state, strict=True)}
        wanted = [leaf for leaf in leaves.values() if leaf.requires_grad]
        sums: list[Tensor | None] = [None] * len(wanted)
        of_frames = torch.zeros_like(frames) if wants_frames else None
        for video, (source, group) in enumerate(zip(ctx.sources, ctx.groups, strict=True)):
            of_clusters = group.gradient(gradient[video])
            for start, stop in _spans(0, group.kept, call.chunk):
                chunk = source[start:stop].detach().to(gradient.device, non_blocking=True).requires_grad_(wants_frames)
                of_maps = group.spread(of_clusters, start, stop)
                with torch.enable_grad(), _autocast_as(ctx.autocast):
                    maps = functional_call(call.stem, leaves, (chunk,))
                    inputs = [*wanted, chunk] if wants_frames else wanted
                    found = torch.autograd.grad(maps, inputs, of_maps.to(maps.dtype), allow_unused=True)
                del maps, of_maps
                _add_up(sums, found[: len(wanted)])
                if of_frames is not None and found[-1] is not None:
                    of_frames[video, start:stop] = found[-1]
        in_order = iter(sums)
        return None, None, of_frames, None, *(next(in_order) if wants else None for wants in wants_state)


class _Video(NamedTuple):
    rows: Tensor
    group: VideoGroups
    distances: Tensor


def _average(call: StreamedStem, source: FrameSource, device: torch.device) -> _Video:
    """Rows (g, *) of one video: the first look, its clusters, and a second look where they need it."""
    distances, sums, like = _first_look(call.stem, source, call.chunk, call.kept, device)
    group = VideoGroups.read(cluster_frames(distances[None], call.clusters, call.method))
    totals = like.new_zeros((call.clusters, *like.shape), dtype=torch.promote_types(like.dtype, torch.float32))
    for start, stop in sums.spend(group.numbers, totals):
        for first, last in _spans(start, stop, call.chunk):
            maps = call.stem(source[first:last].to(device, non_blocking=True))
            add_clusters(totals, maps, group.numbers[first:last])
    return _Video(group.means(totals).to(like.dtype), group, distances)


def _first_look(
    stem: nn.Module, source: FrameSource, chunk: int, kept: int, device: torch.device
) -> tuple[Tensor, RunSums, Tensor]:
    """Distances (N-1,) and sums over runs of all frames of a video; the third is shaped as one map and has no memory."""
    sums = RunSums(kept)
    counts: list[Tensor] = []
    bits = like = None
    for frames in frame_chunks(source, chunk):
        if like is None:
            state = draw_state(device)
            maps = stem(frames.to(device, non_blocking=True))
            if not isinstance(maps, FakeTensor):
                check_draws(state, device)
            like = maps.new_empty(()).expand(maps.shape[1:])
        else:
            maps = stem(frames.to(device, non_blocking=True))
        new = pack_signs(maps)
        counts.append(
            packed_distance(new[:-1], new[1:]) if bits is None else packed_distance(torch.cat((bits, new[:-1])), new)
        )
        bits = new[-1:].clone()
        sums.add(maps)
    if like is None:
        raise ValueError("a video has no frames")
    return torch.cat(counts), sums, like


def _widen(x: Tensor, width: int, value: int) -> Tensor:
    return nn.functional.pad(x, (0, width - x.shape[1]), value=value)


def _spans(start: int, stop: int, size: int) -> Iterator[tuple[int, int]]:
    return ((first, min(first + size, stop)) for first in range(start, stop, size))


def _device(stem: nn.Module) -> torch.device:
    """Where the stem's parameters are; the CPU for a stem without any."""
    return next((tensor.device for tensor in _named_tensors(stem).values()), torch.device("cpu"))


def _named_tensors(stem: nn.Module) -> dict[str, Tensor]:
    return {**dict(stem.named_parameters()), **dict(stem.named_buffers())}


def _autocast(device: torch.device) -> tuple[str, torch.dtype, bool]:
    return device.type, torch.get_autocast_dtype(device.type), torch.is_autocast_enabled(device.type)


def _autocast_as(state: tuple[str, torch.dtype, bool]) -> torch.autocast:
    device_type, dtype, enabled = state
    # Without its cache: weights that were cast where no gradient was wanted would later be taken from it without one.
    return torch.autocast(device_type, dtype, enabled, cache_enabled=False)


def _add_up(sums: list[Tensor | None], found: Sequence[Tensor | None]) -> None:
    for place, (total, new) in enumerate(zip(sums, found, strict=True)):
        if new is not None:  # not in place: a gradient may be a broadcast one
            sums[place] = new if total is None else total + new
