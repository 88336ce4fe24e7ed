"""MP4 files written through PyAV, the ``video`` extra."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from efficiency_core.errors import UsageError, WorkError
from efficiency_core.files import atomic_path

_TICKS = 90_000  # a second, at least
_LONGEST_LEAD = 60  # seconds: a clock that starts later, of a broadcast for example, says nothing about the video
_SMPTE170M = 6  # ITU-T H.273 number of the colour matrix that FFmpeg's scaler converts RGB with


@contextmanager
def create_video(
    path: str | Path, fps: Fraction, size: tuple[int, int], *, pixel_aspect: Fraction = Fraction(1)
) -> Iterator[Callable[..., None]]:
    """Create an MP4 file (H.264, yuv420p, no sound) that plays while it is loaded.

    It appears under its name when the block has ended well. The format needs even sides: an odd width or
    height is padded by one pixel, which repeats the last column or row.

    Args:
        path: where the file goes, ending in ``.mp4``; an existing one is replaced.
        fps: frames per second, where frames are written without times.
        size: (width, height) of the frames that will be written, in pixels.
        pixel_aspect: width of a pixel over its height, for players.

    Yields:
        a function that appends a frame, (H, W, 3) uint8 RGB, to be shown at a number of seconds from the start, if given.
        ``ValueError`` for another shape or type.

    Raises:
        UsageError: if ``path`` does not end in ``.mp4``, or if PyAV is not installed.
        WorkError: if the file cannot be written, on a full disk for example; nothing is left behind then.
    """
    try:
        import av
    except ImportError as error:
        raise UsageError('video files need PyAV: pip install "location_anticipation[video]"') from error
    path = Path(path)
    if path.suffix.lower() != ".mp4":
        raise UsageError(f"{path}: videos are written as MP4, give a name that ends in .mp4")
    if fps <= 0:
        raise ValueError(f"fps must be a positive number, got {fps}")
    if "libx264" not in av.codecs_available:
        raise WorkError(f"{path}: cannot be written (this build of PyAV has no H.264 encoder, libx264)")
    # 1001 is the denominator of television rates: 29.97 becomes 30000/1001.
    rate = max(fps.limit_denominator(1001), Fraction(1, 1001))
    width, height = size
    ticks = rate.numerator * math.ceil(_TICKS / rate.numerator)  # per second; a frame lasts a whole number of them
    last, following, shift = -1, 0, 0

    @contextmanager
    def writing() -> Iterator[None]:
        """Tell the failure of a write as the failure of this very file, however many are open."""
        try:
            yield
        except av.FFmpegError as error:
            raise WorkError(f"{path}: cannot be written ({error.strerror or error})") from error

    def write(image: NDArray[np.uint8], seconds: float | None = None) -> None:
        nonlocal last, following, shift
        if image.shape != (height, width, 3) or image.dtype != np.uint8:
            raise ValueError(f"expected uint8 pixels ({height}, {width}, 3), got {image.dtype} {image.shape}")
        padded = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        at = following if seconds is None else round(seconds * ticks) + shift
        # Where the clock of the source jumps back, the video goes on.
        if at <= last or (last < 0 and at > _LONGEST_LEAD * ticks):
            shift, at = shift + following - at, following
        last, following = at, at + int(ticks / rate)
        frame = av.VideoFrame.from_ndarray(padded, format="rgb24")
        frame.pts, frame.time_base = at, Fraction(1, ticks)
        with writing():
            container.mux(stream.encode(frame))

    with atomic_path(path) as temporary:
        with writing():
            container = av.open(str(temporary), "w", format="mp4", options={"movflags": "faststart"})
        try:
            stream = container.add_stream("libx264", rate=rate, options={"preset": "veryfast", "crf": "20"})
            stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
            stream.codec_context.sample_aspect_ratio = pixel_aspect
            stream.codec_context.time_base = Fraction(1, ticks)
            stream.codec_context.colorspace = _SMPTE170M
            yield write
            with writing():
                container.mux(stream.encode(None))
                container.close()
        except BaseException:
            # Closing flushes, which fails again where writing failed; the first error is the one to tell.
            with suppress(av.FFmpegError):
                container.close()
            raise
