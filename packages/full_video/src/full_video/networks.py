"""TSM and TSN on torchvision's ResNets, with the frames of a video clustered inside the network (thesis, figure 3.2).

A network has two parts. The *stem*, up to and including the stage ``cut``, sees every frame. What it says of the frames is
clustered and averaged over time; the *tail* sees the g averages. Without clusters it is plain TSM (or TSN), the tail sees
every frame too. :class:`~full_video.streamed.StreamedStem` lets the stem see any number of frames in constant memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from full_video.aggregation import cluster_means
from full_video.backbones import build_body
from full_video.clustering import Clusters, cluster_frames
from full_video.errors import UsageError
from full_video.frames import FrameSource
from full_video.hamming import neighbour_distances
from full_video.network_config import STAGES, NetworkConfig
from full_video.shift import ShiftedConv2d
from full_video.stem import BEFORE_STAGES, ResNetStem, run_stem
from full_video.stem_checks import check_stem
from full_video.streamed import StreamedStem, stream_distances
from full_video.video_batch import real_lengths
from full_video.weights import load_weights

__all__ = ["Memory", "NetworkConfig", "Output", "VideoNetwork", "build_network"]

Memory = Literal["plain", "checkpointed", "streamed"]

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_DEEP = 23  # blocks in stage 3 from which TSM shifts every second block only (ResNet-101 and deeper)


class Output(NamedTuple):
    """What a network says about V videos."""

    logits: Tensor
    """(V, classes)."""
    clusters: Clusters | None
    """Which frames were averaged; None without clusters."""
    distances: Tensor | None
    """int64 (V, T-1): signs of the stem's activations that differ from frame to frame; None without clusters."""


def build_network(config: NetworkConfig, weights: str | None = None) -> VideoNetwork:
    """The network of ``config``, with random weights or with pretrained ones.

    Args:
        config: the model.
        weights: what :func:`~full_video.weights.load_weights` takes: torchvision's name of ImageNet weights (such as
            ``IMAGENET1K_V1``) or a file with weights of torchvision's or TSM's.

    Raises:
        UsageError: if the weights do not exist or do not fit.
        WorkError: if they cannot be downloaded.
    """
    network = VideoNetwork(config)
    if weights is not None:
        load_weights(network, config.backbone, weights)
    return network


class VideoNetwork(nn.Module):
    """A ResNet that classifies videos; its parameters have torchvision's names (``layer1.0.conv1.weight``, ``fc.bias``).

    Attributes:
        config: the model.
        memory: how the stem is trained. ``plain`` keeps what autograd wants of all frames; ``checkpointed`` recomputes the
            stem chunk by chunk and keeps its maps; ``streamed`` keeps neither (:mod:`full_video.streamed`). The three
            give the same numbers up to rounding. It can be set at any time.
        chunk: frames that pass the stem at once in the last two.
    """

    memory: Memory
    chunk: int

    def __init__(self, config: NetworkConfig, memory: Memory = "plain", chunk: int = 4) -> None:
        super().__init__()
        self.config, self.memory, self.chunk = config, memory, chunk
        body = build_body(config)
        self.conv1, self.bn1, self.relu, self.maxpool = body.conv1, body.bn1, body.relu, body.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = body.layer1, body.layer2, body.layer3, body.layer4
        self.avgpool = body.avgpool
        self.dropout = nn.Dropout(config.dropout)
        self.fc = nn.Linear(body.fc.in_features, config.classes)
        nn.init.normal_(self.fc.weight, std=0.001)  # as TSM: a new classifier starts undecided
        nn.init.zeros_(self.fc.bias)
        cut = STAGES.index(config.cut) + 1
        self._stem_stages, self._tail_stages = STAGES[:cut], STAGES[cut:]
        self._shift_blocks()
        # Not in the state, whose names are torchvision's; as buffers they follow the network's device and type.
        self.pixel_mean = nn.Buffer(torch.tensor(_IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.pixel_std = nn.Buffer(torch.tensor(_IMAGENET_STD).view(3, 1, 1), persistent=False)
        self._freeze_norm()

    def forward(self, frames: Tensor | Sequence[FrameSource], lengths: Tensor | None = None) -> Tensor:
        """(V, classes) logits: the mean of those of the rows the tail saw (TSN's and TSM's consensus).

        Args:
            frames: (V, T, 3, H, W), uint8 (normalised here with ImageNet's mean and spread) or float (taken as it is); in
                streamed memory on any device, or V sources of frames (:class:`~full_video.frames.FrameSource`).
            lengths: int64 (V,), how many of the T frames are the video's; None means all. The others never count.

        Raises:
            ValueError: for frames of another shape.
            UsageError: if the memory asked for does not fit the network; the message says what would mend it.
        """
        return self.explain(frames, lengths).logits

    def explain(self, frames: Tensor | Sequence[FrameSource], lengths: Tensor | None = None) -> Output:
        """The logits with the clusters and distances they came from; arguments as for :meth:`forward`."""
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
        """(n, 3, H, W) frames, uint8 or normalised, to the (n, C, h, w) maps that are compared and averaged."""
        return run_stem(self, x, self._stem_stages, self.config.average)

    def tail(self, rows: Tensor) -> Tensor:
        """(V, g, C, h, w) averages to (V, classes) logits."""
        return self._classify(rows.flatten(0, 1), (rows.shape[1],) * rows.shape[0])

    @torch.no_grad()
    def groups(self, frames: Tensor | Sequence[FrameSource], lengths: Tensor | None = None) -> Clusters:
        """Which frames the network averages, without running the tail; arguments as for :meth:`forward`.

        Raises:
            UsageError: for a network without clusters.
        """
        config = self.config
        if not config.clusters:
            raise UsageError("this network has no clusters: every frame goes through the whole of it (clusters=0)")
        if config.streams:
            distances, real = stream_distances(self._stem_module(), frames, lengths, self.chunk)
            return cluster_frames(distances, config.clusters, config.grouping, real)
        clusters = self.explain(frames, lengths).clusters
        assert clusters is not None
        return clusters

    @property
    def stem_names(self) -> tuple[str, ...]:
        """Attributes of the network that make its stem, in order."""
        return (*BEFORE_STAGES, *self._stem_stages)

    def train(self, mode: bool = True) -> VideoNetwork:
        """As ``nn.Module.train``; frozen batch norm stays in eval mode."""
        super().train(mode)
        for norm in self._frozen:
            norm.eval()
        return self

    def _stem_module(self) -> nn.Module:
        """The stem as a module of its own, of the same layers: made when needed, so that no layer has two names."""
        if self.config.stem_shifts:
            raise UsageError(
                f"memory={self.memory!r} needs frames that pass the stem independently, but the blocks up to "
                f"{self.config.cut} shift over time; use memory='plain', or clusters > 0 with stem_shift=False"
            )
        return ResNetStem(self, self._stem_stages, self.config.average)

    def _maps(self, frames: Tensor | Sequence[FrameSource], lengths: Tensor | None) -> tuple[Tensor, tuple[int, ...]]:
        """The stem's maps (sum of lengths, C, h, w) of the real frames of all videos, and the lengths."""
        if not isinstance(frames, Tensor):
            raise UsageError(
                f"memory={self.memory!r} takes frames as one tensor; sources of frames need memory='streamed'"
            )
        if frames.dim() != 5 or frames.shape[2] != 3 or 0 in frames.shape:
            raise ValueError(f"expected frames (V, T, 3, H, W), got the shape {tuple(frames.shape)}")
        counts = real_lengths(frames.shape[0], frames.shape[1], lengths)
        whole = all(count == frames.shape[1] for count in counts)
        real = frames.flatten(0, 1) if whole else torch.cat([v[:n] for v, n in zip(frames, counts, strict=True)])
        if self.memory == "checkpointed":
            stem = self._stem_module()
            check_stem(stem)
            chunks = torch.split(real, self.chunk)
            return torch.cat([checkpoint(stem, chunk, use_reentrant=False) for chunk in chunks]), counts
        if self.memory == "streamed":
            raise UsageError("memory='streamed' needs clusters: without them the tail sees, and keeps, every frame")
        self._tell_shifts(self._stem_stages, counts)
        return self.stem(real), counts

    def _classify(self, maps: Tensor, counts: tuple[int, ...]) -> Tensor:
        """Maps (sum of counts, C, h, w) of the rows of all videos to (V, classes)."""
        if self.config.average == "before_relu":
            maps = torch.relu(maps)  # not in place: averages can be views of another operator's result
        self._tell_shifts(self._tail_stages, counts)
        for stage in self._tail_stages:
            maps = getattr(self, stage)(maps)
        logits: Tensor = self.fc(self.dropout(self.avgpool(maps).flatten(1)))
        if len(set(counts)) == 1:
            return logits.view(len(counts), counts[0], -1).mean(dim=1)
        return torch.stack([video.mean(dim=0) for video in torch.split(logits, list(counts))])

    def _shift_blocks(self) -> None:
        stages = (
            *(self._stem_stages if self.config.stem_shifts else ()),
            *(self._tail_stages if self.config.shift else ()),
        )
        every = 2 if len(self.layer3) >= _DEEP else 1
        for stage in stages:
            for block in list(getattr(self, stage))[::every]:
                block.conv1 = ShiftedConv2d.around(block.conv1)

    def _tell_shifts(self, stages: Sequence[str], counts: tuple[int, ...]) -> None:
        lengths = None if len(set(counts)) == 1 else counts
        for stage in stages:
            for block in getattr(self, stage):
                if isinstance(block.conv1, ShiftedConv2d):
                    block.conv1.num_frames, block.conv1.lengths = counts[0], lengths

    def _freeze_norm(self) -> None:
        frozen = self.config.frozen_norm
        norms = [(name, module) for name, module in self.named_modules() if isinstance(module, nn.BatchNorm2d)]
        kept = {"none": [], "stem": [m for n, m in norms if n.split(".")[0] in self.stem_names]}
        kept |= {"partial": [m for n, m in norms if n != "bn1"], "all": [m for _, m in norms]}
        self._frozen: tuple[nn.BatchNorm2d, ...] = tuple(kept[frozen])
        for norm in self._frozen:
            norm.eval().requires_grad_(frozen == "stem")


def _padded(maps: Tensor, counts: tuple[int, ...], frames: int) -> Tensor:
    """Maps (sum of counts, *) of all videos as (V, frames, *), with zeros where there is no frame."""
    if min(counts) == frames:
        return maps.view(len(counts), frames, *maps.shape[1:])
    out = maps.new_zeros(len(counts) * frames, *maps.shape[1:])
    place = torch.cat([torch.arange(n) + v * frames for v, n in enumerate(counts)]).to(maps.device)
    return out.index_copy_(0, place, maps).view(len(counts), frames, *maps.shape[1:])
