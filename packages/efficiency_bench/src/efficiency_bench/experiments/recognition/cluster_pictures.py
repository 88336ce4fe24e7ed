"""Clusters of the frames of test videos: pictures for figures 3.7 and 3.8, and their agreement with the kinds of frames."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from efficiency_bench.experiments.recognition.stage_distances import whole_videos
from efficiency_bench.records.pictures import Grouping
from efficiency_bench.records.run_record import Metric
from efficiency_core.files import atomic_path
from full_video import TrainConfig, VideoNetwork, cluster_frames
from full_video.data import KINDS, ClipConfig, Clips, ClipSource, LabelVideos, VideoSet

METHODS = ("cumulative", "slope", "uniform")
"""Groupings that are compared on the same activations."""
JUDGED = 48
"""Largest number of test videos whose clusters are judged, spread evenly over the set."""
PICTURE = 64
"""Largest length in pixels of the shorter side of a pictured frame."""


class EpochClusters:
    """Follows the clusters of a few test videos over the epochs: the `after_epoch` of a training.

    The clusters are kept in the run's folder, so that a training that is stopped and continued ends with the same pictures.
    """

    def __init__(self, videos: VideoSet, recipe: TrainConfig, count: int, epochs: int, folder: Path) -> None:
        self._clips, self._folder = whole_videos(videos, recipe), folder / "clusters"
        self._chosen = _spread(len(videos), count)
        self.epochs = sorted({round(at) for at in np.linspace(0, recipe.epochs, min(epochs, recipe.epochs + 1))})

    @torch.no_grad()
    def __call__(self, epoch: int, network: VideoNetwork) -> None:
        """Keep the clusters of the network after `epoch` epochs, if it is one of those to show."""
        if epoch not in self.epochs:
            return
        ids = {
            f"video{at}": network.groups([self._clips.source(video)[0]]).ids[0].cpu().numpy()
            for at, video in enumerate(self._chosen)
        }
        with atomic_path(self._folder / f"epoch{epoch}.npz") as temporary:
            np.savez(temporary, allow_pickle=False, **ids)

    def pictures(self) -> dict[str, NDArray[Any]]:
        """Artifacts `epochs_video0/*` and so on: one row per epoch looked at."""
        seen = [self._seen(epoch) for epoch in self.epochs]
        arrays: dict[str, NDArray[Any]] = {}
        for at in range(len(self._chosen)):
            rows = [(f"epoch {epoch}", ids[f"video{at}"]) for epoch, ids in zip(self.epochs, seen, strict=True)]
            arrays |= Grouping.of(rows).arrays(f"epochs_video{at}")
        return arrays

    def moved(self) -> Metric:
        """Share of the frames of these videos that are in another cluster after the training than before it."""
        before, after = self._seen(self.epochs[0]), self._seen(self.epochs[-1])
        shares = [float(np.mean(before[name] != after[name])) for name in before]
        return Metric(100 * float(np.mean(shares)), "%")

    def _seen(self, epoch: int) -> dict[str, NDArray[np.int64]]:
        with np.load(self._folder / f"epoch{epoch}.npz", allow_pickle=False) as file:
            return {name: file[name] for name in file.files}


def kind_pictures(network: VideoNetwork, videos: VideoSet, shown: ClipConfig) -> dict[str, NDArray[Any]]:
    """Artifact `kinds/*`: a test video with its frames, their true kinds, and the clusters of every method on the same
    activations. It is the first video with every kind of frame; empty if kinds are not known.
    """
    if (kinds := _kinds(videos)) is None:
        return {}
    video = next((at for at in range(len(videos)) if len(np.unique(kinds[at])) == len(KINDS)), 0)
    source, ways = _by_method(network, whole_videos(videos, shown), video)
    frames = source[:]
    stride = max(1, min(frames.shape[-2:]) // PICTURE)
    return Grouping.of(
        list(zip(METHODS, ways, strict=True)),
        kinds=[KINDS[kind] for kind in kinds[video][source.indices].tolist()],
        frames=frames[:, :, ::stride, ::stride].permute(0, 2, 3, 1).numpy(),
        index=source.indices,
    ).arrays("kinds")


def kind_agreement(network: VideoNetwork, videos: VideoSet, shown: ClipConfig) -> dict[str, Metric]:
    """Share of the frames that have the most frequent kind of their cluster, over test videos, for every method on the same
    activations: `cluster_purity_cumulative` and so on. Empty if the kinds of frames are not known.
    """
    if (kinds := _kinds(videos)) is None:
        return {}
    clips, chosen = whole_videos(videos, shown), _spread(len(videos), JUDGED)
    shares = []
    for video in chosen:
        source, ways = _by_method(network, clips, video)
        shares.append([purity(ids, kinds[video][source.indices]) for ids in ways])
    means = (100 * np.mean(shares, axis=0)).tolist()
    return {f"cluster_purity_{name}": Metric(share, "%") for name, share in zip(METHODS, means, strict=True)}


def purity(ids: NDArray[np.int64], kinds: NDArray[np.uint8]) -> float:
    """Share of the frames that have the most frequent kind of their cluster; cluster and kind of each, (F,)."""
    return sum(int(np.bincount(kinds[ids == cluster]).max()) for cluster in np.unique(ids)) / len(ids)


def _kinds(videos: VideoSet) -> NDArray[np.uint8] | None:
    """Kind of each frame (videos, frames), a number of `KINDS`; None if the set does not say."""
    return videos.kinds if isinstance(videos, LabelVideos) else None


def _spread(videos: int, count: int) -> list[int]:
    """Numbers of `count` videos, evenly over the set."""
    return [int(video) for video in np.unique(np.linspace(0, videos - 1, min(count, videos)).astype(int))]


@torch.no_grad()
def _by_method(network: VideoNetwork, clips: Clips, video: int) -> tuple[ClipSource, list[NDArray[np.int64]]]:
    """The frames of a video, and their (F,) clusters by every method from one pass over them."""
    source, _ = clips.source(video)
    was, network.memory = network.memory, "streamed"
    try:
        distances = network.explain([source]).distances
    finally:
        network.memory = was
    assert distances is not None
    found = [cluster_frames(distances, network.config.clusters, method) for method in METHODS]
    return source, [clusters.ids[0].cpu().numpy() for clusters in found]
