"""The streamed stem: clustered averages of any number of frames, with their exact gradient, in constant memory. The
stem runs forward 2 to 2.25 times and backward once; only a few whole numbers per frame grow with the video."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd.function import once_differentiable
from torch.func import functional_call

from full_video.clustering.clusters import Clusters, cluster_frames
from full_video.clustering.hamming import pack_signs, packed_distance
from full_video.clustering.methods import METHODS
from full_video.clustering.run_sums import RunSums, VideoGroups, add_clusters
from full_video.networks.backbones import Stem
from full_video.networks.frames import FrameSource, frame_chunks, normalised, video_sources
from full_video.networks.stem_checks import (
    check_draws,
    check_mixing,
    check_stem,
    draw_state,
    floating_dtype,
    takes_frames,
)


class StreamedRows(NamedTuple):
    """Output of a streamed stem for V videos."""

    rows: Tensor
    """(V, g, *) averages of the maps of each cluster, differentiable."""
    clusters: Clusters
    """The clusters of the frames."""
    distances: Tensor
    """int64 (V, T-1) Hamming distances between neighbouring frames, 0 in the padding."""


class StreamedStem(nn.Module):
    """A stem whose maps are clustered and averaged over time, in memory that does not grow with the video.

    It takes the place of ``TemporalAggregation(clusters, method)(stem(frames))``::

        stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool, net.layer1).eval()
        rows = StreamedStem(stem, clusters=8)(frames)      # (V, 8, C, h, w)
        loss = criterion(rest(rows.flatten(0, 1)), labels)
        loss.backward()                                    # the gradients of all frames

    The gradient of a frame's map is that of its cluster's average, divided by the size of the cluster, so the backward pass
    can send the frames through the stem again, one chunk at a time. The first pass keeps at most ``kept`` sums over short runs
    of frames (:class:`~full_video.clustering.run_sums.RunSums`); only the frames of the at most g - 1 runs that contain a
    border of clusters pass a second time, with kept = 8 g less than a quarter of a video. The result equals plain autograd's
    up to rounding if a frame's map depends on that frame alone. A ``ValueError`` refuses other stems: those that
    :func:`check_stem` knows, and those that the first chunk of frames shows to mix frames or to draw random numbers.

    Frames may be on another device than the stem. A stem that does not take uint8 frames (V, T, 3, H, W) gets them from 0 to 1,
    normalised with ImageNet's mean and standard deviation. The backward pass uses the autocast of the forward pass. Hooks of the
    stem's modules run at every pass. Gradients of gradients are not defined. Raises ValueError for an unknown method or
    numbers below 1.

    Args:
        stem: (n, *) frames -> (n, *) maps, each frame by itself; batch norm in eval mode (scale and offset may be trained).
        clusters: g.
        method: one of :data:`full_video.clustering.METHODS`.
        chunk: frames that pass the stem at once; changes memory and speed, not the result.
        kept: number of sums that the first pass keeps; None is 8 g, 0 keeps none and passes every frame twice."""

    def __init__(
        self, stem: nn.Module, clusters: int, method: str = "cumulative", chunk: int = 4, kept: int | None = None
    ) -> None:
        super().__init__()
        if method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
        if clusters < 1 or chunk < 1:
            raise ValueError(f"clusters and chunk must be 1 or more, got {clusters} and {chunk}")
        if kept is not None and (kept < 0 or kept % 2):
            raise ValueError(f"kept must be an even number or 0, got {kept}")
        self.stem = stem
        self.clusters, self.method, self.chunk = clusters, method, chunk
        self.kept = 8 * clusters if kept is None else kept
        self._takes: dict[
            object, bool
        ] = {}  # kind of frames on which the stem was tried -> whether it takes them as they are

    def forward(self, frames: Tensor | Sequence[FrameSource], lengths: Tensor | None = None) -> Tensor:
        """(V, g, *) averages; a ``ValueError`` if they would not be exact, see :func:`check_stem`. ``frames`` is the
        input of the stem, (V, T, *), or V sources of frames, each of any length. ``lengths``, int64 (V,), are the real
        frames of each video of a tensor; None means all."""
        return self.explain(frames, lengths).rows

    def explain(self, frames: Tensor | Sequence[FrameSource], lengths: Tensor | None = None) -> StreamedRows:
        """The averages with the clusters and distances behind them; arguments as for :meth:`forward`."""
        check_stem(self.stem)
        sources = video_sources(frames, lengths)
        state = _named_tensors(self.stem)
        given = frames if isinstance(frames, Tensor) else None
        outputs = _Streamed.apply(self, sources, given, tuple(state), *state.values())
        rows, ids, shown, distances = outputs
        if given is not None:
            ids, distances = _widen(ids, given.shape[1], -1), _widen(distances, given.shape[1] - 1, 0)
        return StreamedRows(rows, Clusters(ids, shown), distances)

    def enter(self, frames: Tensor, device: torch.device) -> Tensor:
        """Frames (n, *) as they enter the stem, on its device. The first of a kind that are not all 0 try the stem."""
        frames = frames.to(device, non_blocking=True)
        if isinstance(self.stem, Stem):
            return frames
        kind = self.stem.training, frames.dtype, frames.dim(), frames.shape[1:2]
        takes = self._takes.get(kind)
        if takes is None:
            takes = takes_frames(self.stem, frames)
        entering = frames if takes else normalised(frames, floating_dtype(self.stem))
        if kind not in self._takes and (isinstance(entering, FakeTensor) or check_mixing(self.stem, entering)):
            self._takes[kind] = takes
        return entering


@torch.no_grad()
def stream_distances(
    stem: nn.Module, frames: Tensor | Sequence[FrameSource], lengths: Tensor | None = None, chunk: int = 4
) -> tuple[Tensor, Tensor]:
    """Hamming distances int64 (V, T-1) and lengths int64 (V,); arguments as for :meth:`StreamedStem.forward`."""
    check_stem(stem)
    call, device = StreamedStem(stem, 1, chunk=chunk), _device(stem)
    passes = [_first_pass(call, source, 0, device)[0] for source in video_sources(frames, lengths)]
    real = torch.tensor([len(one) + 1 for one in passes])
    distances = nn.utils.rnn.pad_sequence(passes, batch_first=True)
    return _widen(distances, frames.shape[1] - 1, 0) if isinstance(frames, Tensor) else distances, real


class _Streamed(torch.autograd.Function):
    """The averages of V videos; the inputs after ``names`` are the stem's parameters and buffers of these names."""

    @staticmethod
    def forward(
        ctx: Any, call: StreamedStem, sources: Sequence[FrameSource], frames: Tensor | None, names: Any, *state: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        device = _device(call.stem)
        ctx.autocast = _autocast(device)
        with _autocast_as(ctx.autocast):
            videos = [_average(call, source, device) for source in sources]
        groups = [video.group for video in videos]
        ctx.call, ctx.sources, ctx.names, ctx.groups = call, sources, names, groups
        ctx.save_for_backward(frames, *state)  # costs nothing, and detects changes before the backward pass
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
        # Other tensors than the parameters, with the same memory: gradients go into the sums alone.
        leaves = {n: t.detach().requires_grad_(w) for n, t, w in zip(ctx.names, state, wants_state, strict=True)}
        wanted = [leaf for leaf in leaves.values() if leaf.requires_grad]
        sums: list[Tensor | None] = [None] * len(wanted)
        of_frames = torch.zeros_like(frames) if wants_frames else None
        for video, (source, group) in enumerate(zip(ctx.sources, ctx.groups, strict=True)):
            of_clusters = group.gradient(gradient[video])
            for start, stop in _spans(0, group.kept, call.chunk):
                chunk = call.enter(source[start:stop].detach(), gradient.device).requires_grad_(wants_frames)
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
    """Rows (g, *) of one video: first pass, clusters, and a second pass of the frames that need it."""
    distances, sums, like = _first_pass(call, source, call.kept, device)
    group = VideoGroups.read(cluster_frames(distances[None], call.clusters, call.method))
    totals = like.new_zeros((call.clusters, *like.shape), dtype=torch.promote_types(like.dtype, torch.float32))
    for start, stop in sums.spend(group.numbers, totals):
        for first, last in _spans(start, stop, call.chunk):
            maps = call.stem(call.enter(source[first:last], device))
            add_clusters(totals, maps, group.numbers[first:last])
    return _Video(group.means(totals).to(like.dtype), group, distances)


def _first_pass(
    call: StreamedStem, source: FrameSource, kept: int, device: torch.device
) -> tuple[Tensor, RunSums, Tensor]:
    """Distances (N-1,), sums over runs of all frames of a video, and a tensor without memory in the shape of one map."""
    sums = RunSums(kept)
    counts: list[Tensor] = []
    bits = like = None
    for frames in frame_chunks(source, call.chunk):
        entering = call.enter(frames, device)
        if like is None:
            state = draw_state(device)
            maps = call.stem(entering)
            if not isinstance(maps, FakeTensor):
                check_draws(state, device)
            like = maps.new_empty(()).expand(maps.shape[1:])
        else:
            maps = call.stem(entering)
        new = pack_signs(maps)
        before, after = (new[:-1], new[1:]) if bits is None else (torch.cat((bits, new[:-1])), new)
        counts.append(packed_distance(before, after))
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
    """Device of the stem's parameters; the CPU for a stem without any."""
    return next((tensor.device for tensor in _named_tensors(stem).values()), torch.device("cpu"))


def _named_tensors(stem: nn.Module) -> dict[str, Tensor]:
    return {**dict(stem.named_parameters()), **dict(stem.named_buffers())}


def _autocast(device: torch.device) -> tuple[str, torch.dtype, bool]:
    return device.type, torch.get_autocast_dtype(device.type), torch.is_autocast_enabled(device.type)


def _autocast_as(state: tuple[str, torch.dtype, bool]) -> torch.autocast:
    device_type, dtype, enabled = state
    # Without its cache, which would later return weights that were cast without gradient.
    return torch.autocast(device_type, dtype, enabled, cache_enabled=False)


def _add_up(sums: list[Tensor | None], found: Sequence[Tensor | None]) -> None:
    for place, (total, new) in enumerate(zip(sums, found, strict=True)):
        if new is not None:  # not in place: a gradient may be a broadcast one
            sums[place] = new if total is None else total + new
