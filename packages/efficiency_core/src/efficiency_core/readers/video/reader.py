"""One pass over the frames of a video, through all damage that FFmpeg decodes through."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from av import Packet, VideoFrame, VideoStream
from av.container import InputContainer
from av.stream import Disposition
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from efficiency_core.errors import BrokenFile
from efficiency_core.files import why_no_file
from efficiency_core.readers.video.checks import PacketChecks
from efficiency_core.readers.video.pixels import frame_pixels, frame_turn

_NOTES = 3  # of damage that a message tells
_SILENCE = "nothing came in time"
_MINOR = 2  # repaired frames that do not make a file broken
_REORDERED = 16  # frames that a decoder holds back at most, besides one for each thread


class VideoReader:
    """One pass over the frames of a video; made by :func:`open_video`, or from the container of a camera.

    Iterating gives ``av.VideoFrame`` objects in display order, decoded but not converted to RGB. A frame whose size differs
    from that of the first one (streams may change it midway) is scaled to it, so that a pixel means the same in all.
    Damage does not end the iteration: it gives every frame that FFmpeg makes of the file, repaired as well as it could.

    Not noticed: the loss of the last frame alone (but in AVI, MP4, WebM and Matroska), damage that the decoder repairs
    without a word, frames that a cut took away at the beginning, and any cut of a format without index and duration
    (.ts, .h264).

    Args:
        label: the file or the camera, in messages.
        name: the same without folder and ending.
        container, stream: what PyAV has opened, and the video stream in it.
        path: the file; None for a camera or an address.

    Attributes:
        label, name: as given.
        file_name: of ``path``, without folder; None for a camera or an address.
        width, height: size of an upright frame in pixels.
        rate: average frames per second as a fraction, None where the file does not say.
        frame_count: number of frames as the file declares it, None where it does not say; may be wrong.
        pixel_aspect: width of a pixel over its height, of an upright frame.
        given: number of frames that the iteration has given so far.

    Raises:
        BrokenFile: if the video has no readable frame.
    """

    def __init__(
        self, label: str, name: str, container: InputContainer, stream: VideoStream, path: Path | None = None
    ) -> None:
        self.label, self.name = label, name
        self.file_name = None if path is None else path.name
        self.given = 0
        self.rate: Fraction | None = stream.average_rate or stream.guessed_rate
        self.frame_count = stream.frames or None
        self._path = path
        self._interval = float(1 / self.rate) if self.rate else 0.0  # seconds from frame to frame
        self._time_base = stream.time_base
        self._converter = VideoReformatter()
        self._frames = self._decode(container, stream)
        first = next(self._frames, None)
        if first is None:
            raise BrokenFile(label, f"not a readable video ({self.damage or 'it holds no frames'})")
        self._first: VideoFrame | None = first
        self._coded_size = (first.width, first.height)
        self._turn = frame_turn(first)
        sideways = self._turn[0]
        self.width, self.height = self._coded_size[::-1] if sideways else self._coded_size
        aspect = stream.sample_aspect_ratio or Fraction(1)
        self.pixel_aspect = 1 / aspect if sideways else aspect

    @property
    def damage(self) -> str | None:
        """None, or one line that says what is wrong with the file, and when; final when the iteration has ended."""
        return "; ".join([*self._notes, *([f"and {self._more} more"] if self._more else [])]) or None

    @property
    def broken(self) -> str | None:
        """``damage``, or None if all data are there and the decoder repaired no more than two frames, of which FFmpeg only
        warns."""
        minor = not (self._lost or (self._incomplete and self._repaired)) and self._repaired <= _MINOR
        return None if minor else self.damage

    def __iter__(self) -> Iterator[VideoFrame]:
        frame, self._first = self._first, None
        if frame is None:
            raise RuntimeError(f"{self.label}: the frames were read already; open the video again")
        while frame is not None:
            self.given += 1
            same = (frame.width, frame.height) == self._coded_size
            yield frame if same else frame.reformat(*self._coded_size)
            frame = next(self._frames, None)

    def close(self) -> None:
        """Free the decoder and its threads at once; nothing can be read any more."""
        self._frames.close()

    def rgb(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """The upright pixels of a frame, uint8 (height, width, 3)."""
        return frame_pixels(frame, converter=self._converter, turn=self._turn)

    def seconds(self, frame: VideoFrame) -> float | None:
        """When the frame is shown, in seconds of the file's own clock; None where the file does not say."""
        start, _ = self._times(frame)
        return start if math.isfinite(start) else None

    def _decode(self, container: InputContainer, stream: VideoStream) -> Generator[VideoFrame]:
        count = 0
        again = self._path is not None and stream.thread_count != 1
        try:
            for frame in self._decode_once(container, stream, again):
                count += 1
                yield frame
            return
        except _AgainError:  # errors make PyAV lose frames that other threads are still decoding
            pass
        with _opened(str(self._path), self.label) as (container, stream):
            stream.thread_count = 1
            yield from islice(self._decode_once(container, stream), count, None)

    def _decode_once(self, container: InputContainer, stream: VideoStream, again: bool = False) -> Iterator[VideoFrame]:
        """All frames; with ``again``, up to an error of the decoder, at which it raises ``_AgainError``."""
        checks = None if self._path is None else PacketChecks(container, stream, self._path)
        # AVI has times of decoding alone, and what FFmpeg makes of them is a guess. Frames are shown in their order.
        formats = stream.container.format.name.split(",")
        times: deque[int] | None = deque() if "avi" in formats and stream.codec_context.has_b_frames else None
        self._notes: list[str] = []
        self._more = 0  # notes beyond _NOTES
        self._lost, self._incomplete, self._repaired = False, 0, 0
        # Of the frames decoded so far, in seconds: start of the last, latest end, longest time between two.
        self._start, self._end, usual = -math.inf, -math.inf, 0.0
        sent, got = 0, 0
        for packet in self._packets(container, stream):
            if packet is not None:
                if checks is not None:
                    checks.add(packet)
                if not packet.size:  # it would tell the decoder that this is the end
                    continue
                if packet.is_corrupt:
                    if again:  # whether a frame says that it was repaired depends on the order in which threads end
                        raise _AgainError
                    self._note(f"bytes are missing {self._place(packet)}", lost="mpegts" not in formats)
                    self._incomplete += 1
                if times is not None and packet.dts is not None:
                    times.append(packet.dts)
            try:
                frames = stream.decode(packet)
            except av.FFmpegError as error:
                if again:
                    raise _AgainError from error
                self._note(f"cannot be decoded {self._place(packet)}: {_reason(error)}")
                continue
            # PyAV keeps errors to itself that come after a frame.
            if again and packet is None and len(frames) < sent - got <= stream.thread_count + _REORDERED:
                raise _AgainError
            sent, got = sent + (packet is not None and not packet.is_discard), got + len(frames)
            for frame in frames:
                if times:
                    frame.pts = times.popleft()
                start, end = self._times(frame)
                step = start - self._start if math.isfinite(self._start) else 0.0
                if self._notes and step > 1.5 * max(usual, self._interval):
                    self._note(f"no frames from {self._start:.2f} s to {start:.2f} s")
                usual = max(usual, step)
                if frame.is_corrupt:
                    self._repaired += 1
                    self._note(f"the frame at {max(start, 0):.2f} s is corrupt", lost=False)
                self._start, self._end = start, max(self._end, end)
                yield frame
        if checks is not None:
            self._note(checks.missing(self._end))

    def _packets(self, container: InputContainer, stream: VideoStream) -> Iterator[Packet[Any] | None]:
        """All packets, and None at the end."""
        while True:
            try:
                yield from container.demux(stream)
                break
            except BlockingIOError:  # some cameras say so when they have no new picture yet
                time.sleep(0.002)
            except IndexError:  # PyAV, at the end, where damage has made it look as if there were another stream
                break
            except av.FFmpegError as error:
                self._note(f"cannot be read {self._place()}: {_reason(error)}")
                break
        yield None

    def _times(self, frame: VideoFrame) -> tuple[float, float]:
        """When the frame starts and ends, in seconds; -inf where the file has no times."""
        if frame.pts is None or self._time_base is None:
            return -math.inf, -math.inf
        start = float(frame.pts * self._time_base)  # not the base of the frame, which an emptied decoder gets wrong
        return start, start + max(self._interval, float(frame.duration * self._time_base))

    def _place(self, packet: Packet[Any] | None = None) -> str:
        start = None if packet is None else packet.dts if packet.pts is None else packet.pts
        if start is not None and self._time_base is not None:
            return f"at {float(start * self._time_base):.2f} s"
        return f"after {self._end:.2f} s" if math.isfinite(self._end) else "at the start"

    def _note(self, damage: str | None, lost: bool = True) -> None:
        if damage is None:
            return
        self._lost = self._lost or lost
        if len(self._notes) < _NOTES:
            self._notes.append(damage)
        else:
            self._more += 1


class _AgainError(Exception):
    """The file has to be decoded again by one thread."""


def _reason(error: av.FFmpegError) -> str:
    return _SILENCE if isinstance(error, av.error.ExitError) else error.strerror or str(error)


@contextmanager
def open_video(path: str | Path, label: str | None = None, threads: int = 0) -> Iterator[VideoReader]:
    """Open a video file for reading. Messages call it ``label``, by default its path.

    0 ``threads`` lets FFmpeg choose how many decode; the number changes no pixel.

    Raises:
        BrokenFile: if the file is missing, or no frame can be read from it (text, an empty file, sound alone).
    """
    path = Path(path)
    label = str(path) if label is None else label
    if not path.is_file():
        raise BrokenFile(label, why_no_file(path))
    # A name with a colon is an address to FFmpeg unless a folder stands before it.
    with _opened(str(path.absolute()), label) as (container, stream):
        stream.thread_type, stream.thread_count = "AUTO", threads
        with closing(VideoReader(label, path.stem, container, stream, path.absolute())) as reader:
            yield reader


@contextmanager
def open_address(
    address: str, label: str, name: str, *, live: bool = False, timeout: float = 10.0
) -> Iterator[VideoReader]:
    """Open a video on a server, or a ``live`` stream of pictures as they are taken. Messages call it ``label``.

    Raises:
        BrokenFile: if the server does not answer within ``timeout`` seconds, or no frame can be read.
    """
    options = {"rtsp_transport": "tcp"} if address[:4].lower() == "rtsp" else {}  # UDP loses packets
    with _opened(address, label, timeout=timeout, options=options) as (container, stream):
        # Frame threads hold back as many pictures as there are threads; slices do not.
        stream.thread_type = "SLICE" if live else "AUTO"
        with closing(VideoReader(label, name, container, stream)) as reader:
            yield reader


@contextmanager
def _opened(address: str, label: str, **options: Any) -> Iterator[tuple[InputContainer, VideoStream]]:
    deadline = time.monotonic() + options.get("timeout", math.inf)
    try:
        container = av.open(address, metadata_errors="replace", **options)  # a title need not be UTF-8
    except av.FFmpegError as error:
        reason = _reason(error) if time.monotonic() < deadline else _SILENCE  # some protocols say invalid data then
        raise BrokenFile(label, f"not a readable video ({reason})") from error
    with container:
        # FFmpeg plays text files as terminal animations, and shows the cover of a piece of music as a video.
        streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
        if container.format.name == "tty" or not streams:
            raise BrokenFile(label, "not a readable video (it has no video stream)")
        if streams[0].codec_context is None:
            raise BrokenFile(label, "not a readable video (there is no decoder for its codec)")
        yield container, streams[0]
