"""MP4 files written through PyAV, the ``video`` extra."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from location_anticipation.errors import UsageError, WorkError
from location_anticipation.files import atomic_path
from location_anticipation.video_reader import import_av

if TYPE_CHECKING:
    from av import VideoStream
    from av.container import OutputContainer

__all__ = ["VideoWriter", "create_video"]

_SMPTE170M = 6  # ITU-T H.273 number of the colour matrix that FFmpeg's scaler converts RGB with


class VideoWriter:
    """Writes frames of one size into an MP4 file; made by :func:`create_video`."""

    def __init__(self, container: OutputContainer, stream: VideoStream, size: tuple[int, int], path: Path) -> None:
        self._container = container
        self._stream = stream
        self._size = size
        self._path = path

    def write(self, image: NDArray[np.uint8]) -> None:
        """Append ``image``, (H, W, 3) uint8 RGB.

        Raises:
            ValueError: if its shape or type is another one.
            WorkError: if the file cannot be written.
        """
        width, height = self._size
        if image.shape != (height, width, 3) or image.dtype != np.uint8:
            raise ValueError(f"expected uint8 pixels ({height}, {width}, 3), got {image.dtype} {image.shape}")
        av = import_av()
        padded = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        with _writing(self._path):
            self._mux(self._stream.encode(av.VideoFrame.from_ndarray(padded, format="rgb24")))

    def finish(self) -> None:
        """Write what the encoder still holds and close the file; :func:`create_video` does so at its end."""
        with _writing(self._path):
            self._mux(self._stream.encode(None))
            self._container.close()

    def _mux(self, packets: Iterable[Any]) -> None:
        for packet in packets:
            self._container.mux(packet)


@contextmanager
def create_video(
    path: str | Path,
    fps: float | Fraction,
    size: tuple[int, int],
    *,
    pixel_aspect: Fraction = Fraction(1),
) -> Iterator[VideoWriter]:
    """Create an MP4 file (H.264, yuv420p, constant frame rate, no sound).

    It appears under its name when the block has ended well. The format needs even sides: an odd width or
    height is padded by one pixel, which repeats the last column or row.

    Args:
        path: where the file goes, ending in ``.mp4``; an existing one is replaced.
        fps: frames per second.
        size: (width, height) of the frames that will be written, in pixels.
        pixel_aspect: width of a pixel over its height, for players.

    Raises:
        UsageError: if ``path`` does not end in ``.mp4``, or if PyAV is not installed.
        WorkError: if the file cannot be written, on a full disk for example; nothing is left behind then.
    """
    av = import_av()
    path = Path(path)
    if path.suffix.lower() != ".mp4":
        raise UsageError(f"{path}: videos are written as MP4, give a name that ends in .mp4")
    if not (math.isfinite(fps) and fps > 0):
        raise ValueError(f"fps must be a positive number, got {fps}")
    if "libx264" not in av.codecs_available:
        raise WorkError(f"{path}: cannot be written (this build of PyAV has no H.264 encoder, libx264)")
    # 1001 is the denominator of television rates: 29.97 becomes 30000/1001.
    rate = max(Fraction(fps).limit_denominator(1001), Fraction(1, 1001))
    width, height = size
    with atomic_path(path) as temporary:
        with _writing(path):
            container = av.open(str(temporary), "w", format="mp4")
        try:
            stream = container.add_stream("libx264", rate=rate, options={"preset": "veryfast", "crf": "20"})
            stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
            stream.codec_context.sample_aspect_ratio = pixel_aspect
            stream.codec_context.colorspace = _SMPTE170M
            writer = VideoWriter(container, stream, size, path)
            yield writer
            writer.finish()
        except BaseException:
            # Closing flushes, which fails again where writing failed; the first error is the one to tell.
            with suppress(av.FFmpegError):
                container.close()
            raise


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Tell the failure of a write as the failure of this very file, however many are open."""
    av = import_av()
    try:
        yield
    except av.FFmpegError as error:
        raise WorkError(f"{path}: cannot be written ({error.strerror or error})") from error
