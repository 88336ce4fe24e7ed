"""The frames of videos: a source of frames for each, whether they are in a tensor or in files."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Wanted = slice | NDArray[np.int64]
"""Which frames: a slice that counts upwards, or whole numbers from 0 that never fall (one may come several times)."""


class FrameSource(Protocol):
    """The frames of one video. A uint8 tensor (N, 3, H, W) is a source. A source may be read repeatedly and in any
    order of calls; of a file, going back starts another pass. Sources raise their own error where a video cannot be
    read. One that must read the whole video to know its length may have ``chunks(size)`` beside, all frames in order in
    one pass."""

    def __len__(self) -> int:
        """Number of frames N, exact."""

    def __getitem__(self, wanted: Wanted, /) -> Tensor:
        """The n frames that are asked for, uint8 (n, 3, H, W), RGB. Raises IndexError if an index is negative, N or
        more, or less than the one before it."""


def frame_chunks(source: FrameSource, size: int) -> Iterator[Tensor]:
    """All frames of a source in order: uint8 (n, 3, H, W) with n = ``size``, fewer in the last chunk. A video file is
    decoded once, while ``len(source)`` before reading takes a pass of its own. A ``ValueError`` if ``size`` is below
    1."""
    if size < 1:
        raise ValueError(f"a chunk holds at least 1 frame, got {size}")
    if hasattr(source, "chunks"):
        yield from source.chunks(size)
        return
    for start in range(0, len(source), size):
        yield source[start : min(start + size, len(source))]


def rising_indices(wanted: Wanted, length: int) -> NDArray[np.int64]:
    """The frame numbers int64 (n,) that ``wanted`` means in a video of ``length`` frames. Raises IndexError if an index
    is out of 0 to length - 1, or less than the one before it; TypeError if ``wanted`` is neither a slice nor a row of
    whole numbers; ValueError if a slice has a step below 1."""
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


def normalised(frames: Tensor, dtype: torch.dtype) -> Tensor:
    """uint8 frames (n, 3, H, W) from 0 to 1, with ImageNet's mean and standard deviation, as torchvision's networks take them."""
    frames = frames.to(dtype).div_(255)
    for channel, mean, std in zip(frames.unbind(1), IMAGENET_MEAN, IMAGENET_STD, strict=True):
        channel.sub_(mean).div_(std)
    return frames


def real_lengths(videos: int, frames: int, lengths: Tensor | None) -> tuple[int, ...]:
    """``lengths``, (videos,) from 1 to ``frames`` or else a ``ValueError``, as numbers; None is ``frames`` for every video."""
    if lengths is None:
        return (frames,) * videos
    counts = tuple(int(n) for n in lengths.tolist()) if lengths.dim() == 1 else ()
    if len(counts) != videos or min(counts) < 1 or max(counts) > frames:
        raise ValueError(f"lengths must be {videos} numbers from 1 to {frames}, got {lengths.tolist()}")
    return counts


def video_sources(frames: Tensor | Sequence[FrameSource], lengths: Tensor | None) -> Sequence[FrameSource]:
    """One source of frames per video, without padding: views of a tensor (V, T, *), or the given sources. A
    ``ValueError`` for another shape, lengths that do not fit, or no video at all."""
    if not isinstance(frames, Tensor):
        if not isinstance(frames, Sequence):
            got = type(frames).__name__
            raise ValueError(f"expected a tensor of frames (V, T, *) or a list of sources, one a video, got {got}")
        if lengths is not None:
            raise ValueError("sources of frames know their lengths; give lengths only with a tensor of frames")
        if len(frames) == 0:
            raise ValueError("expected the sources of at least one video, got none")
        return frames
    if frames.dim() < 3 or 0 in frames.shape:
        raise ValueError(f"expected frames (V, T, *), got the shape {tuple(frames.shape)}")
    counts = real_lengths(frames.shape[0], frames.shape[1], lengths)
    return [video[:n] for video, n in zip(frames, counts, strict=True)]
