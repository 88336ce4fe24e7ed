"""Video files read through PyAV: in one pass through all damage, or by frame number where every frame must be sound."""

from efficiency_core.errors import UsageError

try:
    import av  # noqa: F401
except ImportError as error:
    raise UsageError("video files need PyAV: pip install av") from error

from efficiency_core.readers.video.file import VideoFile
from efficiency_core.readers.video.pixels import frame_pixels
from efficiency_core.readers.video.reader import VideoReader, open_address, open_video

__all__ = ["VIDEO_SUFFIXES", "VideoFile", "VideoReader", "frame_pixels", "open_address", "open_video"]

VIDEO_SUFFIXES = (
    ".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".ts", ".webm", ".wmv",
)  # fmt: skip
"""Endings of the names of video files, in small letters."""
