"""Action recognition on every frame of a video at the memory of a few (thesis chapter 3, CVPR 2021)."""

from full_video.aggregation import TemporalAggregation, cluster_means
from full_video.checkpoint import load_network, save_network
from full_video.clustering import METHODS, Clusters, cluster_frames
from full_video.errors import BrokenVideo, UsageError, WorkError
from full_video.hamming import neighbour_distances
from full_video.networks import NetworkConfig, VideoNetwork, build_network
from full_video.prediction import predict
from full_video.shift import temporal_shift
from full_video.streamed import StreamedStem

__version__ = "0.1.0"

__all__ = [
    "METHODS",
    "BrokenVideo",
    "Clusters",
    "NetworkConfig",
    "StreamedStem",
    "TemporalAggregation",
    "UsageError",
    "VideoNetwork",
    "WorkError",
    "build_network",
    "cluster_frames",
    "cluster_means",
    "load_network",
    "neighbour_distances",
    "predict",
    "save_network",
    "temporal_shift",
]
