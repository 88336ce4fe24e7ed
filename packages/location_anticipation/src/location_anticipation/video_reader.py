"""Video files read through PyAV, the ``video`` extra."""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from location_anticipation.errors import UsageError

if TYPE_CHECKING:
    from av import Packet, VideoFrame, VideoStream
    from av.container import InputContainer
    from av.video.reformatter import VideoReformatter

__all__ = ["VideoReader", "frame_to_rgb", "frame_to_tensor", "import_av", "open_video"]

logger = logging.getLogger(__name__)


def import_av() -> ModuleType:
    """PyAV, or a :class:`UsageError` that says how to install it."""
    try:
        import av
    except ImportError as error:
        raise UsageError('video files need PyAV: pip install "location_anticipation[video]"') from error
    return av


def frame_to_rgb(frame: VideoFrame, converter: VideoReformatter | None = None) -> NDArray[np.uint8]:
    """The pixels of a decoded frame, (H, W, 3) uint8 RGB, turned upright as the file's rotation mark says.

    With a ``converter`` of the caller's, what FFmpeg prepares for it, threads included, serves all its frames; preparing
    takes longer than converting.
    """
    rgb = frame.reformat(format="rgb24") if converter is None else converter.reformat(frame, format="rgb24")
    pixels = rgb.to_ndarray()
    return np.ascontiguousarray(np.rot90(pixels, _quarter_turns(frame)), dtype=np.uint8)


def frame_to_tensor(frame: VideoFrame, dtype: torch.dtype = torch.float32) -> Tensor:
    """The upright pixels of a decoded frame as (3, H, W): float in [0, 1], or 0..255 with ``torch.uint8``."""
    tensor = torch.from_numpy(frame_to_rgb(frame)).permute(2, 0, 1).contiguous()
    return tensor if dtype == torch.uint8 else tensor.to(dtype) / 255


def _quarter_turns(frame: VideoFrame) -> int:
    return round(frame.rotation / 90) % 4  # counter-clockwise, as np.rot90 counts


class VideoReader:
    """One pass over the frames of a video; made by :func:`open_video` or
    :func:`~location_anticipation.camera.open_camera`.

    Iterating gives ``av.VideoFrame`` objects in display order, decoded but not converted to RGB. A frame
    whose size differs from the first one's (streams may change it midway) is scaled to it, so that a pixel
    means the same in all.

    Attributes:
        label: the file or the camera, for messages.
        name: the same without folder and ending, for outputs.
        width, height: size of an upright frame in pixels.
        rate: average frames per second as a fraction, None where the file does not say.
        frame_count: number of frames as the file declares it, None where it does not say; may be wrong.
        pixel_aspect: width of a pixel over its height.
        damage: None, or one line that says why the file could not be read to its end; known when the
            iteration has ended, which it does after the last frame before the damage, with a warning in the
            log. A frame that the decoder repaired as well as it could is given all the same, and counts as
            damage.
    """

    def __init__(self, label: str, name: str, container: InputContainer, stream: VideoStream) -> None:
        self.label = label
        self.name = name
        self.damage: str | None = None
        self._container = container
        self._stream = stream
        self.rate = stream.average_rate or stream.guessed_rate
        self.frame_count = stream.frames or None
        self._interval = float(1 / self.rate) if self.rate else 0.0  # seconds from frame to frame
        # Of the frames so far: the start of the last, the latest end, and whether times have only grown.
        self._start, self._end, self._ordered = -math.inf, -math.inf, True
        self._converter: VideoReformatter = import_av().video.reformatter.VideoReformatter()
        self._frames = self._decode()
        first = next(self._frames, None)
        if first is None:
            raise UsageError(f"{label}: not a readable video ({self.damage or 'it holds no frames'})")
        self._first: VideoFrame | None = first
        self._coded_size = (first.width, first.height)
        upright = self._coded_size if _quarter_turns(first) % 2 == 0 else self._coded_size[::-1]
        self.width, self.height = upright
        aspect = stream.sample_aspect_ratio or Fraction(1)
        self.pixel_aspect = aspect if upright == self._coded_size else 1 / aspect

    def __iter__(self) -> Iterator[VideoFrame]:
        if self._first is None:
            raise RuntimeError(f"{self.label}: the frames were read already; open the video again")
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
            logger.warning("%s: %s; %d frames were read", self.label, self.damage, given)

    def rgb(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """:func:`frame_to_rgb`."""
        return frame_to_rgb(frame, self._converter)

    def file_name(self, index: int) -> str:
        """The image that stands for a frame in lists of images: where FFmpeg puts it by

        ``ffmpeg -i NAME.mp4 -start_number 0 NAME/%06d.jpg``.
        """
        return f"{self.name}/{index:06d}.jpg"

    def _decode(self) -> Iterator[VideoFrame]:
        error_type = import_av().FFmpegError
        try:
            for packet in self._packets():
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

    def _packets(self) -> Iterator[Packet[Any]]:
        while True:
            try:
                yield from self._container.demux(self._stream)
                return
            except BlockingIOError:  # some cameras say so when they have no new picture yet
                time.sleep(0.002)

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
    av = import_av()
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
        yield VideoReader(str(path), path.stem, container, stream)


def _is_cover(stream: VideoStream) -> bool:
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)
