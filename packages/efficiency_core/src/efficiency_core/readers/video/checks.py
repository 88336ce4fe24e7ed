"""What the header and the index of a video file promise, against the packets that could be read: a file that was cut
between two frames decodes without complaint."""

from __future__ import annotations

import math
import mmap
import re
from fractions import Fraction
from io import BufferedReader
from pathlib import Path
from typing import Any

from av import Packet, VideoStream
from av.container import InputContainer

# Elements of Matroska (RFC 9559). Segments and clusters contain others, which are read; all others are passed over as a whole.
_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675
_SIMPLE_BLOCK, _BLOCK_GROUP = 0xA3, 0xA0
_EMPTY = {0xEC, 0xBF}  # padding, checksum
# Header of the file, table of contents, information, tracks, cues, attachments, chapters, tags.
_OUTER = _EMPTY | {0x1A45DFA3, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367}
# Time, silent tracks, position, size of the cluster before, encrypted block.
_INNER = _EMPTY | {_SIMPLE_BLOCK, _BLOCK_GROUP, 0xE7, 0x5854, 0xA7, 0xAB, 0xAF}


class PacketChecks:
    """Counts the packets of a video stream, of a file not yet read, and tells in the end whether some are missing.

    Where sources disagree, the one that lists every frame counts: a header may say anything about the duration.
    """

    def __init__(self, container: InputContainer, stream: VideoStream, path: Path) -> None:
        self._container, self._stream, self._path = container, stream, path
        self._formats = container.format.name.split(",")
        # Reading adds to the index. It lists frames reliably in AVI and MP4 alone.
        indexed = {"avi", "mp4"} & set(self._formats)
        self._listed = sum(entry.size > 0 for entry in stream.index_entries) if indexed else 0
        self._interval = 1 / stream.average_rate if stream.average_rate else Fraction(0)  # seconds from frame to frame
        self._count = 0
        # Of the packets so far, in seconds: start of the last, latest end, shortest and longest time between two.
        self._start, self._end = math.inf, -math.inf
        self._shortest, self._longest = math.inf, float(self._interval)

    def add(self, packet: Packet[Any]) -> None:
        """Count a packet; one of AVI without data repeats the picture before."""
        self._count += packet.size > 0
        # AVI numbers its packets in the order of decoding; what FFmpeg says of their display is a guess.
        start = packet.dts if "avi" in self._formats or packet.pts is None else packet.pts
        if start is not None and self._stream.time_base is not None and not packet.is_discard:
            length = max(self._interval, (packet.duration or 0) * self._stream.time_base)
            at = float(start * self._stream.time_base)
            if (step := at - self._start) > 0:
                self._shortest, self._longest = min(self._shortest, step), max(self._longest, step)
            self._start, self._end = at, max(self._end, at + float(length))

    def missing(self, shown: float) -> str | None:
        """After the last packet: one line on what is missing or broken; None if the file seems whole. The last decoded frame
        ends ``shown`` seconds after the start, -inf where the file has no times."""
        if "avi" in self._formats:
            return self._missing_from_avi()
        if self._count < self._listed:
            return f"lists {self._listed} frames, of which {self._count} could be read"
        if "matroska" in self._formats and (found := self._missing_from_matroska()):
            return found
        if shown + 1.5 * float(self._interval) < self._end and not math.isinf(shown):  # dropped without a word
            return f"the packets end at {self._end:.2f} s, the frames at {shown:.2f} s"
        return None

    def _missing_from_avi(self) -> str | None:
        """FFmpeg goes on where it finds the next frame. The index at the end of a file knows of all, and the header how long
        they last. Either may be damaged, and an index that is cut off lists fewer than were read."""
        with self._path.open("rb") as file:
            cut = int.from_bytes(file.read(8)[4:], "little") + 8 > self._path.stat().st_size
        # Frames may be shorter than the time from one to the next.
        early = self._start + 1.5 * self._longest < float(self._stream.frames * self._interval)
        if self._count < self._listed and (early or self._longest > 1.5 * self._shortest):
            return f"lists {self._listed} frames, of which {self._count} could be read"
        if early and (cut or self._count > self._listed):
            return f"the header promises {self._stream.frames} frames, {self._count} could be read"
        return None

    def _missing_from_matroska(self) -> str | None:
        try:
            blocks = count_blocks(self._path)
        except (OSError, ValueError) as error:
            return str(error)
        if len(self._container.streams) == 1 and self._count < blocks:
            return f"holds {blocks} blocks, of which {self._count} could be read"
        tag = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", self._stream.metadata.get("DURATION", ""))
        if self._container.duration and tag:
            hours, minutes, seconds = tag.groups()
            # Tools that cut such files may forget to mend one of the two.
            declared = min(int(hours) * 3600 + int(minutes) * 60 + float(seconds), self._container.duration / 1_000_000)
            if self._end + 1.5 * float(self._interval) < declared:
                return f"the header promises {declared:.2f} s, the frames end at {self._end:.2f} s"
        return None


def count_blocks(path: Path) -> int:
    """Number of blocks (frames of picture or sound) in a WebM or Matroska file; only headers of elements are read.

    Such a file is a chain of elements, each with its size (RFC 8794), that ends where the file does. FFmpeg goes on at
    the next cluster after a damage, so frames are lost without a word. Elements outside of clusters hold none: a damage
    after the last cluster is passed over. What is damaged before a cluster may have been a cluster too.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if the chain of elements is broken in or before a cluster or ends in one; the message says where.
    """
    # Blocks so far; where the present cluster ends, or outside of clusters the file; what may come.
    blocks, end, known = 0, 0, _OUTER
    with path.open("rb") as file:
        length = path.stat().st_size
        while (at := file.tell()) < length:
            if at >= end:
                known, end = _OUTER, length
            element, size = _number(file, keep_marker=True), _number(file, keep_marker=False)
            sound = size is not None and file.tell() + size <= end
            if element == _SEGMENT and known is not _INNER:
                continue  # it goes to the end of the file, unless it is cut off
            if element == _CLUSTER and known is not _INNER and size is None:
                known, end = _OUTER | _INNER, length  # a live recording: up to whatever comes next
            elif element == _CLUSTER and known is not _INNER and sound:
                known, end = _INNER, file.tell() + (size or 0)
            elif element in known and sound:
                blocks += element in (_SIMPLE_BLOCK, _BLOCK_GROUP)
                file.seek(size or 0, 1)
            elif known is not _OUTER or element == _CLUSTER or _holds_cluster(file, at):
                raise ValueError(f"the file is broken or cut off at byte {at}")
            else:
                break
    return blocks


def _holds_cluster(file: BufferedReader, start: int) -> bool:
    """Whether the mark of a cluster stands anywhere after a place in the file."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(_CLUSTER.to_bytes(4), start) >= 0


def _number(file: BufferedReader, keep_marker: bool) -> int | None:
    """A number whose leading zero bits say how many bytes it has; None where there is none, or all its bits are set."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    width = 9 - first[0].bit_length()
    rest = file.read(width - 1)
    if len(rest) < width - 1:
        return None
    value = int.from_bytes(first + rest)
    if keep_marker:
        return value
    mask = (1 << 7 * width) - 1
    return None if value & mask == mask else value & mask
