"""Video files decoded through PyAV (the ``video`` extra): every frame, or an error that says why not."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, MutableMapping
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from full_video.errors import BrokenVideo, UsageError
from full_video.frames import Wanted, rising_indices
from full_video.matroska import count_blocks

if TYPE_CHECKING:
    from av import Packet, VideoFrame, VideoStream
    from av.container import InputContainer

__all__ = ["VIDEO_SUFFIXES", "VideoFile"]

VIDEO_SUFFIXES = (
    ".avi",
    ".mp4",
    ".webm",
    ".mkv",
    ".mov",
    ".m4v",
    ".mpg",
    ".mpeg",
    ".flv",
    ".wmv",
    ".3gp",
    ".ts",
    ".ogv",
)


class VideoFile:
    """The frames of a video file in display order, upright, all of the first one's size.

    How many there are is known only when the file has been decoded once (headers count wrongly, webm has no count), so
    ``len`` and reading a part decode it without keeping anything; :func:`~full_video.frames.frame_chunks` needs no such
    pass. A file that is damaged, cut off, or shorter than its header promises is a broken video, never a shorter one.
    Not noticed: the loss of the last frame alone (but in WebM), damage that the decoder repairs without a word,
    and frames that a cut took away at the beginning. Pixels that are not square stay as they are stored.

    Args:
        path: the file.
        name: what messages call it; by default the path.
        counts: path -> number of frames, shared by the sources of a set, so that each is counted once in a process.
        least: number of frames that the file must have, as a list of videos declares it.
    """

    def __init__(
        self,
        path: str | Path,
        name: str | None = None,
        counts: MutableMapping[Path, int] | None = None,
        least: int = 0,
    ) -> None:
        self.path = Path(path)
        self.name = str(path) if name is None else name
        self._counts: MutableMapping[Path, int] = {} if counts is None else counts
        self._least = least
        self._pass: Iterator[VideoFrame] | None = None
        self._position = 0  # index of the frame that the pass gives next
        self._converter: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_pass": None, "_position": 0, "_converter": None}

    def __len__(self) -> int:
        if self.path not in self._counts:
            self._remember(sum(1 for _ in _decoded(self.path, self.name)))
        return self._counts[self.path]

    def __getitem__(self, wanted: Wanted) -> Tensor:
        indices = rising_indices(wanted, len(self))
        if not len(indices):
            return self._read(np.zeros(1, dtype=np.int64))[:0]
        return self._read(indices)

    def chunks(self, size: int) -> Iterator[Tensor]:
        """All frames in order, ``size`` at a time and the rest at the end, in one pass of its own.

        Raises:
            BrokenVideo: where the file cannot be read further.
        """
        waiting: list[Tensor] = []
        count = 0
        for frame in _decoded(self.path, self.name):
            waiting.append(self._pixels(frame))
            count += 1
            if len(waiting) == size:
                yield torch.stack(waiting)
                waiting.clear()
        self._remember(count)
        if waiting:
            yield torch.stack(waiting)

    def _remember(self, count: int) -> None:
        if count < self._least:
            raise BrokenVideo(self.name, f"{self._least} frames are declared, the file holds {count}")
        if self._counts.setdefault(self.path, count) != count:
            raise BrokenVideo(self.name, f"had {self._counts[self.path]} frames before and now {count}")

    def _read(self, indices: np.ndarray[Any, np.dtype[np.int64]]) -> Tensor:
        if self._pass is None or indices[0] < self._position:
            self._pass, self._position = _decoded(self.path, self.name), 0
        frames: Tensor | None = None
        at = 0
        while at < len(indices):
            frame = next(self._pass, None)
            if frame is None:
                self._pass = None
                raise BrokenVideo(self.name, f"had {len(self)} frames before and now {self._position}")
            if self._position == indices[at]:
                pixels = self._pixels(frame)
                if frames is None:
                    frames = pixels.new_empty((len(indices), *pixels.shape))
                while at < len(indices) and indices[at] == self._position:
                    frames[at] = pixels
                    at += 1
            self._position += 1
        assert frames is not None
        if self._position == len(self):
            self._pass = None  # nothing more comes: close the file
        return frames

    def _pixels(self, frame: VideoFrame) -> Tensor:
        """(3, H, W) uint8. What FFmpeg prepares for the first frame serves all; preparing takes longer than converting."""
        if self._converter is None:
            self._converter = _av().video.reformatter.VideoReformatter()
        pixels = self._converter.reformat(frame, format="rgb24").to_ndarray()
        quarter_turns = round(frame.rotation / 90) % 4  # counter-clockwise, as np.rot90 counts
        return torch.from_numpy(np.ascontiguousarray(np.rot90(pixels, quarter_turns).transpose(2, 0, 1)))


def _av() -> ModuleType:
    try:
        import av
    except ImportError as error:
        raise UsageError('video files need PyAV: pip install "full_video[video]"') from error
    return av


def _decoded(path: Path, name: str) -> Iterator[VideoFrame]:
    """One pass over the frames; it ends after the last one or with :class:`BrokenVideo`, never early."""
    av = _av()
    if not path.is_file():
        raise BrokenVideo(name, "no such file" if not path.exists() else "not a file")
    count = 0
    try:
        # A name with a colon is an address to FFmpeg unless a folder stands before it; and a title need not be UTF-8.
        with av.open(str(path.absolute()), metadata_errors="replace") as container:
            stream = _video_stream(container, name)
            # A loader's worker process has one core; elsewhere all of them help.
            stream.thread_type = "AUTO"
            stream.thread_count = 0 if get_worker_info() is None else 1
            size: tuple[int, int] | None = None
            for frame in _frames(container, stream, path, name):
                if frame.is_corrupt:
                    raise BrokenVideo(name, f"frame {count} is corrupt")
                size = size or (frame.width, frame.height)
                # Streams may change their size midway; a pixel means the same in all frames.
                yield frame if (frame.width, frame.height) == size else frame.reformat(*size)
                count += 1
    except av.FFmpegError as error:
        where = f"cannot be decoded after frame {count - 1}" if count else "not a readable video"
        raise BrokenVideo(name, f"{where} ({error.strerror or error})") from error
    if not count:
        raise BrokenVideo(name, "not a readable video (it holds no frames)")


def _video_stream(container: InputContainer, name: str) -> VideoStream:
    from av.stream import Disposition

    # FFmpeg plays text files as terminal animations, and shows the cover of a piece of music as a video.
    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if container.format.name == "tty" or not streams:
        raise BrokenVideo(name, "not a readable video (it has no video stream)")
    return streams[0]


def _frames(container: InputContainer, stream: VideoStream, path: Path, name: str) -> Iterator[VideoFrame]:
    formats = container.format.name.split(",")
    avi = "avi" in formats
    listed = sum(entry.size > 0 for entry in stream.index_entries)  # before reading, which adds to it
    packets = 0
    end = -math.inf  # of the packets so far, in seconds
    for packet in container.demux(stream):
        if packet.is_corrupt:
            raise BrokenVideo(name, "the file ends or is broken inside a frame")
        if packet.size:  # an empty one would tell the decoder that this is the end
            packets += 1
            end = max(end, _packet_end(packet, stream, avi))
            yield from packet.decode()
    # A file cut between two frames decodes without complaint, and so does one in which some cannot be found.
    if avi:
        _check_avi(stream, name, packets, listed, end)
    elif "matroska" in formats:
        _check_blocks(path, name, packets if len(container.streams) == 1 else None)
    interval = float(1 / stream.average_rate) if stream.average_rate else 0.0
    declared = _declared_end(container, stream, formats)
    if declared is not None and math.isfinite(end) and end + 1.5 * interval < declared:
        raise BrokenVideo(name, f"the header promises {declared:.2f} s, the frames end at {end:.2f} s")
    yield from stream.decode(None)


def _check_avi(stream: VideoStream, name: str, packets: int, listed: int, end: float) -> None:
    """FFmpeg goes on where it finds the next frame. The index at the end of a file knows of all; cut off or damaged, it
    lists fewer than were read, and the header's number must do, which some programs write one too high."""
    if packets < listed:
        raise BrokenVideo(name, f"lists {listed} frames, of which {packets} could be read")
    if packets > listed and stream.average_rate and end < float((stream.frames - Fraction(1, 2)) / stream.average_rate):
        raise BrokenVideo(name, f"the header promises {stream.frames} frames, {packets} could be read")


def _check_blocks(path: Path, name: str, packets: int | None) -> None:
    try:
        blocks = count_blocks(path)
    except ValueError as error:
        raise BrokenVideo(name, str(error)) from error
    if packets is not None and packets < blocks:
        raise BrokenVideo(name, f"holds {blocks} blocks, of which {packets} could be read")


def _packet_end(packet: Packet[Any], stream: VideoStream, avi: bool) -> float:
    # AVI numbers its packets in the order of decoding; what FFmpeg says of their display is a guess.
    start = packet.dts if avi or packet.pts is None else packet.pts
    if start is None or stream.time_base is None:
        return -math.inf
    least = 1 / stream.average_rate if stream.average_rate else 0
    return float(max(least, (packet.duration or 0) * stream.time_base) + start * stream.time_base)


def _declared_end(container: InputContainer, stream: VideoStream, formats: list[str]) -> float | None:
    """When the last frame ends, in seconds, as the header says; None where FFmpeg can only estimate it."""
    if "avi" in formats and stream.frames and stream.average_rate:
        return float(stream.frames / stream.average_rate)
    if "mp4" in formats and stream.duration and stream.time_base:
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    tag = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", ""))
    if "matroska" in formats and container.duration and tag:
        hours, minutes, seconds = tag.groups()
        # Tools that cut such files may forget to mend one of the two.
        return min(int(hours) * 3600 + int(minutes) * 60 + float(seconds), container.duration / 1_000_000)
    return None
