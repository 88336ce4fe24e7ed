"""Which clusters a network puts the frames of videos into: pictures for figures 3.7 and 3.8, and how true they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..drawn import Grouping
from ..files import atomic_write
from ..records import Metric
from .stage_distances import whole_videos

if TYPE_CHECKING:
    from full_video.clips import Clips, ClipSource
    from full_video.inputs import InputConfig
    from full_video.networks import VideoNetwork
    from full_video.video_sets import VideoSet

METHODS = ("cumulative", "slope", "uniform")
"""The ways to group that are compared on the same activations."""
JUDGED = 48
"""The most test videos whose clusters are judged, spread evenly over the set."""
PICTURE = 64
"""Pixels of the shorter side of a pictured frame at most."""


class EpochClusters:
    """Follows the clusters of a few test videos over the epochs: the `after_epoch` of a training.

    What it saw is kept in the run's folder, so that a training that is stopped and continued ends with the same pictures.
    """

    def __init__(self, videos: VideoSet, inputs: InputConfig, count: int, epochs: int, folder: Path) -> None:
        self._clips, self._folder = whole_videos(videos, inputs), folder / "clusters"
        self._chosen = _spread(len(videos), count)
        last = getattr(inputs, "epochs", 1)
        self.epochs = sorted({round(epoch) for epoch in np.linspace(0, last, min(epochs, last + 1))})

    def __call__(self, epoch: int, network: VideoNetwork) -> None:
        """Look at the network after so many epochs."""
        if epoch not in self.epochs:
            return
        ids = {f"video{at}": _ids(network, self._clips, video) for at, video in enumerate(self._chosen)}
        with atomic_write(self._folder / f"epoch{epoch}.npz") as temporary:
            np.savez(temporary, allow_pickle=False, **ids)

    def pictures(self) -> dict[str, NDArray[Any]]:
        """Artifacts `epochs_video0/*` and so on: one row per epoch looked at."""
        seen = []
        for epoch in self.epochs:
            with np.load(self._folder / f"epoch{epoch}.npz", allow_pickle=False) as file:
                seen.append({name: file[name] for name in file.files})
        arrays: dict[str, NDArray[Any]] = {}
        for at in range(len(self._chosen)):
            rows = [(f"epoch {epoch}", ids[f"video{at}"]) for epoch, ids in zip(self.epochs, seen, strict=True)]
            arrays |= Grouping.of(rows).arrays(f"epochs_video{at}")
        return arrays


def kind_pictures(network: VideoNetwork, videos: VideoSet, inputs: InputConfig) -> dict[str, NDArray[Any]]:
    """Artifact `kinds/*`: a test video with its frames, what each truly is, and the clusters of every method on the same
    activations. It is the first video with every kind of frame; empty where kinds are not known.
    """
    known = _kinds(videos)
    if known is None:
        return {}
    names, kinds = known
    whole = [video for video in range(len(videos)) if len(np.unique(kinds[video])) == len(names)]
    video = whole[0] if whole else 0
    source, ways = _by_method(network, whole_videos(videos, inputs), video)
    frames = source[:]
    stride = max(1, min(frames.shape[-2:]) // PICTURE)
    return Grouping.of(
        list(zip(METHODS, ways, strict=True)),
        kinds=[names[kind] for kind in kinds[video][source.indices].tolist()],
        frames=frames[:, :, ::stride, ::stride].permute(0, 2, 3, 1).numpy(),
        index=source.indices,
    ).arrays("kinds")


def kind_agreement(network: VideoNetwork, videos: VideoSet, inputs: InputConfig) -> dict[str, Metric]:
    """Share of frames whose cluster holds mostly frames of their own kind, over test videos, for every method on the same
    activations: `cluster_purity_cumulative` and so on. Empty where the kinds of frames are not known.
    """
    known = _kinds(videos)
    if known is None:
        return {}
    _, kinds = known
    clips, chosen = whole_videos(videos, inputs), _spread(len(videos), JUDGED)
    shares = []
    for video in chosen:
        source, ways = _by_method(network, clips, video)
        shares.append([purity(ids, kinds[video][source.indices]) for ids in ways])
    means = (100 * np.mean(shares, axis=0)).tolist()
    return {f"cluster_purity_{name}": Metric(share, "%") for name, share in zip(METHODS, means, strict=True)}


def purity(ids: NDArray[np.int64], kinds: NDArray[np.uint8]) -> float:
    """Share of the frames that are of the kind most frequent in their cluster.

    Args:
        ids: (F,) cluster of each frame.
        kinds: (F,) what each is.
    """
    return sum(int(np.bincount(kinds[ids == cluster]).max()) for cluster in np.unique(ids)) / len(ids)


def _kinds(videos: VideoSet) -> tuple[Sequence[str], NDArray[np.uint8]] | None:
    """Names of the kinds of frames and (videos, frames) what each frame is, where the set says so."""
    from full_video.label_videos import KINDS, LabelVideos

    if not isinstance(videos, LabelVideos) or videos.kinds is None:
        return None
    return KINDS, videos.kinds


def _spread(videos: int, count: int) -> list[int]:
    """So many videos, evenly over the set."""
    return [int(video) for video in np.unique(np.linspace(0, videos - 1, min(count, videos)).astype(int))]


@torch.no_grad()
def _ids(network: VideoNetwork, clips: Clips, video: int) -> NDArray[np.int64]:
    """(F,) cluster of every frame of a video."""
    source, _ = clips.source(video)
    ids: NDArray[np.int64] = network.groups([source]).ids[0].cpu().numpy()
    return ids


@torch.no_grad()
def _by_method(network: VideoNetwork, clips: Clips, video: int) -> tuple[ClipSource, list[NDArray[np.int64]]]:
    """The frames of a video, and their (F,) clusters by every method from one look at them."""
    from full_video.clustering import cluster_frames

    source, _ = clips.source(video)
    was, network.memory = network.memory, "streamed"
    try:
        distances = network.explain([source]).distances
    finally:
        network.memory = was
    assert distances is not None
    found = [cluster_frames(distances, network.config.clusters, method) for method in METHODS]
    return source, [clusters.ids[0].cpu().numpy() for clusters in found]
