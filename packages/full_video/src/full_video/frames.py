"""The frames of one video, wherever they lie: all of them, in order, without holding more than are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["FrameSource", "Wanted", "frame_chunks", "rising_indices"]

Wanted = slice | NDArray[np.int64]
"""Which frames: a slice that counts upwards, or whole numbers from 0 that never fall (one may come several times)."""


class FrameSource(Protocol):
    """The frames of one video. A uint8 tensor (N, 3, H, W) is one.

    A source may be read again and in any order of calls. Those that read files decode one frame after the other and hold
    no more than what a call asked for, so reading in rising order costs one pass, and going back starts another.
    """

    def __len__(self) -> int:
        """Number of frames N, exact.

        Raises:
            BrokenVideo: if the video cannot be read to its end.
        """

    def __getitem__(self, wanted: Wanted, /) -> Tensor:
        """uint8 (n, 3, H, W), RGB in 0..255, exactly the n frames that were asked for.

        Raises:
            BrokenVideo: if one of them cannot be read.
            IndexError: if an index is negative, falls, or is N or more.
        """


@runtime_checkable
class _OnePass(Protocol):
    """A source that must look through the whole video to know its length, and better gives the frames meanwhile."""

    def chunks(self, size: int) -> Iterator[Tensor]:
        """All frames in order, ``size`` at a time and the rest at the end."""


def frame_chunks(source: FrameSource, size: int) -> Iterator[Tensor]:
    """All frames of a source in order, each exactly once: uint8 (n, 3, H, W) with n = ``size``, fewer in the last chunk.

    A video file is decoded once, while ``len(source)`` before reading takes a pass of its own.

    Raises:
        BrokenVideo: if the video cannot be read to its end; some chunks may have been given by then.
        ValueError: if ``size`` is below 1.
    """
    if size < 1:
        raise ValueError(f"a chunk holds at least 1 frame, got {size}")
    if isinstance(source, _OnePass):
        yield from source.chunks(size)
        return
    for start in range(0, len(source), size):
        yield source[start : min(start + size, len(source))]


def rising_indices(wanted: Wanted, length: int) -> NDArray[np.int64]:
    """``wanted`` of ``length`` frames written out as int64 (n,).

    Raises:
        IndexError: if an index is out of 0..length-1 or smaller than the one before it.
        TypeError: if ``wanted`` is neither a slice nor a row of whole numbers.
        ValueError: if a slice has a step below 1.
    """
    if isinstance(wanted, slice):
        start, stop, step = wanted.indices(length)
        if step < 1:
            raise ValueError(f"frames are read in rising order, got a slice with step {step}")
        return np.arange(start, stop, step, dtype=np.int64)
    indices = np.asarray(wanted)
    if indices.ndim != 1 or (indices.size and indices.dtype.kind not in "iu"):
        raise TypeError(f"frames are asked for by a slice or a row of whole numbers, got {wanted!r}")
    indices = indices.astype(np.int64)
    if indices.size and not (indices.min() >= 0 and indices.max() < length):
        raise IndexError(f"frames {indices.min()} to {indices.max()} were asked for, there are 0 to {length - 1}")
    if (np.diff(indices) < 0).any():
        raise IndexError("frames are read in rising order, got indices that fall")
    return indices
