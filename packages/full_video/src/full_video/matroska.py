"""Whether a WebM or Matroska file is whole.

FFmpeg looks for the next cluster where such a file is damaged and goes on, so frames are lost without a word; and the file
does not say how many there are. But it is a chain of elements, each with its size (RFC 8794), and a damaged or cut
chain does not end where the file does.
"""

from __future__ import annotations

from io import BufferedReader
from pathlib import Path

__all__ = ["count_blocks"]

_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675
_SIMPLE_BLOCK, _BLOCK_GROUP = 0xA3, 0xA0
_PARENTS = (_SEGMENT, _CLUSTER)  # looked into; all others are passed over as a whole


def count_blocks(path: Path) -> int:
    """How many blocks (frames of picture or sound) the file holds.

    Only headers of elements are read, not what they hold.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if the chain of elements is broken or goes beyond the end of the file; the message says where.
    """
    blocks = 0
    with path.open("rb") as file:
        length = path.stat().st_size
        ends = [length]  # of the elements around the present place
        while (at := file.tell()) < length:
            while ends[-1] == at:
                ends.pop()
            element, size = _number(file, keep_marker=True), _number(file, keep_marker=False)
            if element in _PARENTS and size is None:  # a live recording: up to whatever comes next
                continue
            if element is None or size is None or file.tell() + size > ends[-1]:
                raise ValueError(f"the file is broken or cut off at byte {at}")
            if element in _PARENTS:
                ends.append(file.tell() + size)
            else:
                blocks += element in (_SIMPLE_BLOCK, _BLOCK_GROUP)
                file.seek(size, 1)
    return blocks


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
