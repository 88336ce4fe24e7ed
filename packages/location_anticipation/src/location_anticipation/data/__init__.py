"""Annotated videos, sources of frames, and the keyframes of training."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from location_anticipation.data.cocovid import CocoVideos, read_sections
    from location_anticipation.data.formats import open_videos
    from location_anticipation.data.frame_sources import FrameSource, open_source
    from location_anticipation.data.keyframes import Keyframes
    from location_anticipation.data.motion_supervision import Motion, Supervision, supervise, supervise_sparse
    from location_anticipation.data.track_videos import TrackVideos
    from location_anticipation.data.videos import Concatenated, Sparse, Tracks, Videos, VideosInfo

__all__ = [
    "CocoVideos", "Concatenated", "FrameSource", "Keyframes", "Motion", "Sparse", "Supervision", "TrackVideos",
    "Tracks", "Videos", "VideosInfo", "open_source", "open_videos", "read_sections", "supervise",
    "supervise_sparse",
]  # fmt: skip
_MODULES = ("motion_supervision", "videos", "cocovid", "track_videos", "formats", "keyframes", "frame_sources")


def __getattr__(name: str) -> Any:
    if name in __all__:
        for module in _MODULES:
            if hasattr(found := import_module(f"{__name__}.{module}"), name):
                return getattr(found, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
