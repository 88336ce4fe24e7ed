"""Video files in and out through PyAV, the ``video`` extra."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from location_anticipation.errors import UsageError, WorkError
from location_anticipation.files import atomic_path

if TYPE_CHECKING:
    from av import VideoFrame, VideoStream
    from av.container import InputContainer, OutputContainer

__all__ = ["VideoReader", "VideoWriter", "create_video", "frame_to_rgb", "frame_to_tensor", "open_video"]

logger = logging.getLogger(__name__)

_SMPTE170M = 6  # ITU-T H.273 number of the colour matrix that FFmpeg's scaler converts RGB with


def _import_av() -> ModuleType:
    try:
        import av
    except ImportError as error:
        raise UsageError('video files need PyAV: pip install "location_anticipation[video]"') from error
    return av


def frame_to_rgb(frame: VideoFrame) -> NDArray[np.uint8]:
    """The pixels of a decoded frame, (H, W, 3) uint8 RGB, turned upright as the file's rotation mark says."""
    pixels = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(pixels, _quarter_turns(frame)), dtype=np.uint8)


def frame_to_tensor(frame: VideoFrame, dtype: torch.dtype = torch.float32) -> Tensor:
    """The upright pixels of a decoded frame as (3, H, W): float in [0, 1], or 0..255 with ``torch.uint8``."""
    tensor = torch.from_numpy(frame_to_rgb(frame)).permute(2, 0, 1).contiguous()
    return tensor if dtype == torch.uint8 else tensor.to(dtype) / 255


def _quarter_turns(frame: VideoFrame) -> int:
    return round(frame.rotation / 90) % 4  # counter-clockwise, as np.rot90 counts


class VideoReader:
    """One pass over the frames of a video file; made by :func:`open_video`.

    Iterating gives ``av.VideoFrame`` objects in display order, decoded but not converted to RGB. A frame
    whose size differs from the first one's (streams may change it midway) is scaled to it, so that a pixel
    means the same in all.

    Attributes:
        path: the file.
        width, height: size of an upright frame in pixels.
        rate: average frames per second as a fraction, None where the file does not say.
        frame_count: number of frames as the file declares it, None where it does not say; may be wrong.
        pixel_aspect: width of a pixel over its height.
        damage: None, or one line that says why the file could not be read to its end; known when the
            iteration has ended, which it does after the last frame before the damage, with a warning in the
            log. A frame that the decoder repaired as well as it could is given all the same, and counts as
            damage.
    """

    def __init__(self, path: Path, container: InputContainer, stream: VideoStream) -> None:
        self.path = path
        self.damage: str | None = None
        self._container = container
        self._stream = stream
        self.rate = stream.average_rate or stream.guessed_rate
        self.frame_count = stream.frames or None
        self._interval = float(1 / self.rate) if self.rate else 0.0  # seconds from frame to frame
        # Of the frames so far: the start of the last, the latest end, and whether times have only grown.
        self._start, self._end, self._ordered = -math.inf, -math.inf, True
        self._frames = self._decode()
        first = next(self._frames, None)
        if first is None:
            raise UsageError(f"{path}: not a readable video ({self.damage or 'it holds no frames'})")
        self._first: VideoFrame | None = first
        self._coded_size = (first.width, first.height)
        upright = self._coded_size if _quarter_turns(first) % 2 == 0 else self._coded_size[::-1]
        self.width, self.height = upright
        aspect = stream.sample_aspect_ratio or Fraction(1)
        self.pixel_aspect = aspect if upright == self._coded_size else 1 / aspect

    def __iter__(self) -> Iterator[VideoFrame]:
        if self._first is None:
            raise RuntimeError(f"{self.path}: the frames were read already; open the video again")
        frame: VideoFrame | None = self._first
        self._first = None
        given = 0
        while frame is not None:
            if frame.is_corrupt:
                self._note(f"frame {given} is corrupt")
            if (frame.width, frame.height) != self._coded_size:
                frame = frame.reformat(*self._coded_size)
            yield frame
            given += 1
            frame = next(self._frames, None)
        if self.damage is not None:
            logger.warning("%s: %s; %d frames were read", self.path, self.damage, given)

    def _decode(self) -> Iterator[VideoFrame]:
        error_type = _import_av().FFmpegError
        try:
            for packet in self._container.demux(self._stream):
                if packet.is_corrupt:
                    self._note("the file ends or is broken inside a frame")
                    break
                if packet.size:  # an empty one would tell the decoder that this is the end
                    yield from map(self._timed, packet.decode())
        except error_type as error:
            self._note(error.strerror or str(error))
        try:
            waiting = self._stream.decode(None)
        except error_type as error:
            self._note(error.strerror or str(error))
            return
        self._check_end(max([self._end, *(self._times(frame)[1] for frame in waiting)]))
        for frame in waiting:
            # The decoder was still putting these in display order. After damage, one of them may be lost, and
            # what follows it would be counted wrongly; without times in display order (AVI) none is certain.
            gap = self._times(frame)[0] > self._end + self._interval / 2
            if self.damage is not None and (gap or not self._ordered):
                return
            yield self._timed(frame)

    def _timed(self, frame: VideoFrame) -> VideoFrame:
        start, end = self._times(frame)
        self._ordered = self._ordered and start > self._start
        self._start, self._end = start, max(self._end, end)
        return frame

    def _times(self, frame: VideoFrame) -> tuple[float, float]:
        """When the frame starts and ends, in seconds; -inf where the file has no times."""
        time_base = self._stream.time_base  # the frame's own is wrong when it comes from an emptied decoder
        if frame.pts is None or time_base is None:
            return -math.inf, -math.inf
        start = float(frame.pts * time_base)
        return start, start + max(self._interval, float(frame.duration * time_base))

    def _check_end(self, end: float) -> None:
        """A file cut between two frames decodes without complaint; only its header knows of more.

        Not noticed: the loss of the last frame alone, and of frames shown before one that was stored earlier.
        """
        declared = _declared_end(self._container.format.name, self._container.duration, self._stream)
        if declared is not None and math.isfinite(end) and end + 1.5 * self._interval < declared:
            self._note(f"the header promises {declared:.2f} s, the frames end at {end:.2f} s")

    def _note(self, damage: str) -> None:
        self.damage = self.damage or damage


def _declared_end(container_format: str, container_duration: int | None, stream: VideoStream) -> float | None:
    """When the last frame ends, in seconds, as the header says; None where FFmpeg can only estimate it."""
    names = container_format.split(",")
    if "avi" in names and stream.frames and stream.average_rate:
        return float(stream.frames / stream.average_rate)
    if "mp4" in names and stream.duration and stream.time_base:
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    tag = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", ""))
    if "matroska" in names and container_duration and tag:
        hours, minutes, seconds = tag.groups()
        # Tools that cut such files may forget to mend one of the two.
        return min(int(hours) * 3600 + int(minutes) * 60 + float(seconds), container_duration / 1_000_000)
    return None


@contextmanager
def open_video(path: str | Path) -> Iterator[VideoReader]:
    """Open a video file for reading.

    Raises:
        UsageError: if the file is missing, or no frame can be read from it (text, an empty file, sound
            alone), or PyAV is not installed. The message names the file.
    """
    av = _import_av()
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"{path}: no such file" if not path.exists() else f"{path}: not a file")
    try:
        container = av.open(str(path))
    except av.FFmpegError as error:
        raise UsageError(f"{path}: not a readable video ({error.strerror or error})") from error
    with container:
        # FFmpeg plays text files as terminal animations, and shows the cover of a piece of music as a video.
        pictures = [stream for stream in container.streams.video if not _is_cover(stream)]
        if container.format.name == "tty" or not pictures:
            raise UsageError(f"{path}: not a readable video (it has no video stream)")
        stream = pictures[0]
        stream.thread_type = "AUTO"
        yield VideoReader(path, container, stream)


def _is_cover(stream: VideoStream) -> bool:
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)


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
        av = _import_av()
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
    av = _import_av()
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
    av = _import_av()
    try:
        yield
    except av.FFmpegError as error:
        raise WorkError(f"{path}: cannot be written ({error.strerror or error})") from error
