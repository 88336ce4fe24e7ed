"""The file formats that annotated videos are read from, told apart by the ending of the name."""

from pathlib import Path

from efficiency_core.errors import UsageError
from location_anticipation.data.cocovid import CocoVideos
from location_anticipation.data.track_videos import TrackVideos
from location_anticipation.data.videos import Videos


def open_videos(path: str | Path, images: str | Path | None = None) -> Videos:
    """Open a CocoVID JSON file (``.json``) or a track-video HDF5 file (any other name).

    Args:
        path: the file.
        images: folder against which the ``file_name`` entries of a CocoVID file are resolved; by default its own folder.

    Raises:
        UsageError: if the file cannot be used, or ``images`` is given for a track-video file, which holds its frames.
    """
    path = Path(path)
    if path.suffix.lower() == ".json":
        return CocoVideos(path, images)
    if images is not None:
        raise UsageError(f"{path}: a track-video file holds its frames; --images goes with CocoVID JSON files")
    return TrackVideos(path)
