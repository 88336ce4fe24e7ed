"""TSM and TSN on torchvision's ResNets and MobileNetV2, with the frames of a video clustered inside (thesis, figure 3.2).

The *stem*, up to the stage ``cut``, sees every frame; the *tail* sees the g averages of its maps, without clusters every map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from full_video.clustering.aggregation import cluster_means
from full_video.clustering.clusters import Clusters, cluster_frames
from full_video.clustering.hamming import neighbour_distances
from full_video.networks.backbones import Stem, build_body, layout_of, run_stem
from full_video.networks.config import STAGES, Memory, NetworkConfig
from full_video.networks.frames import IMAGENET_MEAN, IMAGENET_STD, FrameSource, real_lengths
from full_video.networks.shift import ShiftedConv2d
from full_video.networks.stem_checks import check_stem
from full_video.networks.streamed import StreamedStem, stream_distances
from full_video.networks.weights import load_weights


class Output(NamedTuple):
    """Output of a network for V videos."""

    logits: Tensor
    """(V, classes)."""
    clusters: Clusters | None
    """Clusters of frames that were averaged; None without clusters."""
    distances: Tensor | None
    """int64 (V, T-1): number of signs of the stem's activations that differ between neighbours; None without clusters."""


def build_network(config: NetworkConfig, weights: str | Mapping[str, Tensor] | None = None) -> VideoNetwork:
    """The network of ``config``, with random or pretrained weights. ``weights`` None are random ones; otherwise see
    :func:`~full_video.networks.weights.load_weights`. Raises ValueError if ``config.classes`` is 0, or the weights do
    not exist or do not fit; ConnectionError if the weights cannot be downloaded."""
    network = VideoNetwork(config)
    if weights is not None:
        load_weights(network, config.backbone, weights)
    return network


class VideoNetwork(nn.Module):
    """A ResNet or MobileNetV2 that classifies videos; its parameters have torchvision's names (``layer1.0.conv1.weight``,
    ``features.0.0.weight``), those of the classifier ``fc.weight`` and ``fc.bias``.

    Attributes:
        memory: how the stem is trained. ``plain`` keeps everything that autograd saves of all frames; ``checkpointed``
            recomputes the stem chunk by chunk and keeps its maps; ``streamed`` keeps neither
            (:mod:`full_video.networks.streamed`). The results are the same up to rounding. It can be set at any time.
        chunk: frames that pass the stem at once if ``memory`` is not ``plain``."""

    def __init__(self, config: NetworkConfig, memory: Memory = "plain", chunk: int = 4) -> None:
        super().__init__()
        if config.classes < 1:
            raise ValueError("a network needs the number of its classes, got classes = 0")
        self.config, self.chunk = config, chunk
        self.memory: Memory = memory
        body = build_body(config)
        self._layout = layout_of(body)
        for name, layer in body.named_children():
            if name not in ("fc", "classifier"):
                self.add_module(name, layer)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout(config.dropout)
        self.fc = nn.Linear(self._layout.features, config.classes)
        nn.init.normal_(self.fc.weight, std=0.001)  # as TSM: a new classifier starts undecided
        nn.init.zeros_(self.fc.bias)
        self._shift_convolutions()
        # Buffers follow the device and dtype of the network; they are not in the state, which has torchvision's names.
        self.pixel_mean = nn.Buffer(torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.pixel_std = nn.Buffer(torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)
        self._freeze_norm()

    def forward(self, frames: Tensor | Sequence[FrameSource], lengths: Tensor | None = None) -> Tensor:
        """(V, classes) logits: the mean over the rows that the tail sees (consensus of TSN and TSM).

        Args:
            frames: (V, T, 3, H, W), uint8 (normalised here with ImageNet's mean and standard deviation) or float (taken as it
                is). V may be 0, as a device's share of a small batch. With streamed memory they may be on any device, or V
                sources of frames. A ``ValueError`` for another shape, or as :meth:`check_memory`.
            lengths: int64 (V,), number of real frames of each video; None means all T. Others are ignored."""
        return self.explain(frames, lengths).logits

    def explain(self, frames: Tensor | Sequence[FrameSource], lengths: Tensor | None = None) -> Output:
        """The logits with the clusters and distances behind them; arguments as for :meth:`forward`."""
        _check_shape(frames)
        if isinstance(frames, Tensor) and len(frames) == 0:
            self._tell_shifts(self.stem_names, ())
            return Output(self._classify(self.stem(frames.flatten(0, 1)), ()), None, None)
        if self.config.clusters and self.memory == "streamed":
            stem = StreamedStem(self._stem_module(), self.config.clusters, self.config.grouping, self.chunk)
            rows, clusters, distances = stem.explain(frames, lengths)
            return Output(self.tail(rows), clusters, distances)
        maps, counts = self._maps(frames, lengths)
        if not self.config.clusters:
            return Output(self._classify(maps, counts), None, None)
        videos = _padded(maps, counts, len(frames[0]))
        distances = neighbour_distances(videos, lengths)
        clusters = cluster_frames(distances, self.config.clusters, self.config.grouping, lengths)
        return Output(self.tail(cluster_means(videos, clusters)), clusters, distances)

    def stem(self, x: Tensor) -> Tensor:
        """(n, 3, H, W) frames, uint8 or normalised -> (n, C, h, w) maps that are compared and averaged."""
        return run_stem(self, x, self.stem_names, self._last)

    def tail(self, rows: Tensor) -> Tensor:
        """(V, g, C, h, w) averages -> (V, classes) logits."""
        return self._classify(rows.flatten(0, 1), (rows.shape[1],) * rows.shape[0])

    @torch.no_grad()
    def groups(self, frames: Tensor | Sequence[FrameSource], lengths: Tensor | None = None) -> Clusters:
        """The clusters of frames, without running the tail; arguments as for :meth:`forward`. A ``ValueError`` for a
        network without clusters."""
        config = self.config
        if not config.clusters:
            raise ValueError("this network has no clusters: every frame passes all of it (clusters=0)")
        if config.streams:
            _check_shape(frames)
            distances, real = stream_distances(self._stem_module(), frames, lengths, self.chunk)
            return cluster_frames(distances, config.clusters, config.grouping, real)
        clusters = self.explain(frames, lengths).clusters
        assert clusters is not None
        return clusters

    def check_memory(self) -> None:
        """Raise ``ValueError`` if ``memory`` does not fit the network in its present mode (training or eval)."""
        if self.memory == "streamed" and not self.config.clusters:
            raise ValueError("memory='streamed' needs clusters: without them the tail sees, and keeps, every frame")
        if self.memory != "plain":
            check_stem(self._stem_module())

    @property
    def stages(self) -> dict[str, tuple[str, ...]]:
        """Names of the layers of every stage, in order. The output of the last one is that of the stage; with ``average``
        ``before_relu``, the last one of the stem is not called as a module."""
        return dict(self._layout.stages)

    @property
    def stem_names(self) -> tuple[str, ...]:
        """Names of the layers that make the stem, in order."""
        return (*self._layout.first, *self._of_stages(STAGES[: STAGES.index(self.config.cut) + 1]))

    @property
    def tail_names(self) -> tuple[str, ...]:
        """Names of the layers after the stem, in order, without pooling and classifier."""
        return self._of_stages(STAGES[STAGES.index(self.config.cut) + 1 :])

    @contextmanager
    def testing(self, chunk: int | None = None) -> Iterator[None]:
        """Eval mode inside the block, with the stem streamed if it can be: without gradients that costs nothing."""
        was = self.training, self.memory, self.chunk
        self.memory, self.chunk = "streamed" if self.config.streams else "plain", chunk or self.chunk
        try:
            self.eval()
            yield
        finally:
            self.train(was[0])
            self.memory, self.chunk = was[1:]

    def train(self, mode: bool = True) -> VideoNetwork:
        """As ``nn.Module.train``; frozen batch norm stays in eval mode."""
        super().train(mode)
        for norm in self._frozen:
            norm.eval()
        return self

    def _stem_module(self) -> nn.Module:
        """The stem with the same layers, made when needed, so that no layer has two names."""
        if self.config.stem_shifts:
            raise ValueError(
                f"memory={self.memory!r} needs frames that pass the stem independently, but the blocks up to "
                f"{self.config.cut} shift over time; use memory='plain', or clusters > 0 with stem_shift=False"
            )
        return Stem(self, self.stem_names, self._last)

    def _maps(self, frames: Tensor | Sequence[FrameSource], lengths: Tensor | None) -> tuple[Tensor, tuple[int, ...]]:
        """Maps (sum of lengths, C, h, w) of the real frames of all videos, and the lengths."""
        if not isinstance(frames, Tensor):
            raise ValueError(f"memory={self.memory!r} takes one tensor; sources of frames need memory='streamed'")
        counts = real_lengths(frames.shape[0], frames.shape[1], lengths)
        whole = all(count == frames.shape[1] for count in counts)
        real = frames.flatten(0, 1) if whole else torch.cat([v[:n] for v, n in zip(frames, counts, strict=True)])
        self.check_memory()
        if self.memory == "checkpointed":
            stem = self._stem_module()
            chunks = torch.split(real, self.chunk)
            return torch.cat([checkpoint(stem, chunk, use_reentrant=False) for chunk in chunks]), counts
        self._tell_shifts(self.stem_names, counts)
        return self.stem(real), counts

    def _classify(self, maps: Tensor, counts: tuple[int, ...]) -> Tensor:
        """Maps (sum of counts, C, h, w) of the rows of all videos -> (V, classes)."""
        if self.config.average == "before_relu":
            maps = self._layout.relu(maps)  # not in place: averages can be views of the result of another operator
        self._tell_shifts(self.tail_names, counts)
        for name in self.tail_names:
            maps = self.get_submodule(name)(maps)
        logits: Tensor = self.fc(self.dropout(self.avgpool(maps).flatten(1)))
        if not counts:
            return logits
        if len(set(counts)) == 1:
            return logits.view(len(counts), counts[0], -1).mean(dim=1)
        return torch.stack([video.mean(dim=0) for video in torch.split(logits, list(counts))])

    @property
    def _last(self) -> Callable[[Any, Tensor], Tensor] | None:
        """What stands in for the last layer of the stem."""
        return self._layout.before_relu if self.config.average == "before_relu" else None

    def _of_stages(self, stages: Sequence[str]) -> tuple[str, ...]:
        return tuple(name for stage in stages for name in self._layout.stages[stage])

    def _inside(self, names: Sequence[str]) -> Iterator[nn.Module]:
        return (module for name in names for module in self.get_submodule(name).modules())

    def _shift_convolutions(self) -> None:
        stem = set(self._inside(self.stem_names))
        for name in self._layout.shifted:
            convolution = self.get_submodule(name)
            assert isinstance(convolution, nn.Conv2d)
            if self.config.stem_shifts if convolution in stem else self.config.shift:
                self.set_submodule(name, ShiftedConv2d.around(convolution))

    def _tell_shifts(self, names: Sequence[str], counts: tuple[int, ...]) -> None:
        lengths = None if len(set(counts)) <= 1 else counts
        for module in self._inside(names):
            if isinstance(module, ShiftedConv2d):
                module.num_frames, module.lengths = counts[0] if counts else 1, lengths

    def _freeze_norm(self) -> None:
        frozen, stem = self.config.frozen_norm, set(self._inside(self.stem_names))
        norms = [module for module in self.modules() if isinstance(module, nn.BatchNorm2d)]
        kept = {"none": [], "stem": [norm for norm in norms if norm in stem], "partial": norms[1:], "all": norms}
        self._frozen = tuple(kept[frozen])
        for norm in self._frozen:
            norm.eval().requires_grad_(frozen == "stem")


def _check_shape(frames: Tensor | Sequence[FrameSource]) -> None:
    if not isinstance(frames, Tensor):
        return
    real = frames.dtype == torch.uint8 or frames.is_floating_point()
    if frames.dim() != 5 or frames.shape[2] != 3 or 0 in frames.shape[1:] or not real:
        got = f"{frames.dtype} {tuple(frames.shape)}"
        raise ValueError(f"expected uint8 or floating frames (V, T, 3, H, W), got {got}")


def _padded(maps: Tensor, counts: tuple[int, ...], frames: int) -> Tensor:
    """Maps (sum of counts, *) of all videos as (V, frames, *), with zeros where there is no frame."""
    if min(counts) == frames:
        return maps.view(len(counts), frames, *maps.shape[1:])
    out = maps.new_zeros(len(counts) * frames, *maps.shape[1:])
    place = torch.cat([torch.arange(n) + v * frames for v, n in enumerate(counts)]).to(maps.device)
    return out.index_copy_(0, place, maps).view(len(counts), frames, *maps.shape[1:])
