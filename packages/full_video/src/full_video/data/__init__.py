"""Videos as networks are shown them: data sets, frames of files, sampling, augmentation and batches."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from full_video.data.augmentation import Augmentation
    from full_video.data.batches import Batch, Skipped, batch_of
    from full_video.data.clip_config import ClipConfig
    from full_video.data.clips import Clip, Clips, ClipSource
    from full_video.data.file_videos import open_frames
    from full_video.data.formats.label_videos import KINDS, LabelVideos
    from full_video.data.formats.registry import FORMATS, open_videos
    from full_video.data.sampling import Sampling, motion_indices, motion_scores
    from full_video.data.video_set import VideoSet, VideoSetInfo

__all__ = [
    "FORMATS", "KINDS", "Augmentation", "Batch", "Clip", "ClipConfig", "ClipSource", "Clips", "LabelVideos", "Sampling",
    "Skipped", "VideoSet", "VideoSetInfo", "batch_of", "motion_indices", "motion_scores", "open_frames", "open_videos",
]  # fmt: skip
_MODULES = (
    "sampling", "augmentation", "clip_config", "video_set", "formats.registry", "clips", "batches",
    "file_videos", "formats.label_videos",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    for module in _MODULES if name in __all__ else ():
        if hasattr(found := import_module(f"{__name__}.{module}"), name):
            return getattr(found, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
