"""Grouping consecutive frames by their activations, and averaging each group. Needs torch alone."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from full_video.clustering.aggregation import TemporalAggregation, cluster_means
    from full_video.clustering.clusters import Clusters, cluster_frames
    from full_video.clustering.gradients import BoundCheck, check_bound
    from full_video.clustering.hamming import neighbour_distances, pack_signs, packed_distance
    from full_video.clustering.methods import METHODS, Method
    from full_video.clustering.run_sums import RunSums, VideoGroups, add_clusters

__all__ = [
    "METHODS", "BoundCheck", "Clusters", "Method", "RunSums", "TemporalAggregation", "VideoGroups", "add_clusters",
    "check_bound", "cluster_frames", "cluster_means", "neighbour_distances", "pack_signs", "packed_distance",
]  # fmt: skip
_MODULES = ("methods", "hamming", "clusters", "aggregation", "gradients", "run_sums")


def __getattr__(name: str) -> Any:
    for module in _MODULES if name in __all__ else ():
        if hasattr(found := import_module(f"{__name__}.{module}"), name):
            return getattr(found, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
