"""A batch of videos as one source of frames for each, whether it came as a tensor or as files."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from full_video.frames import FrameSource

__all__ = ["real_lengths", "video_sources"]


def real_lengths(videos: int, frames: int, lengths: Tensor | None) -> tuple[int, ...]:
    """``lengths`` as numbers, ``frames`` for every video where it is None.

    Raises:
        ValueError: if they are not (videos,) numbers from 1 to ``frames``.
    """
    if lengths is None:
        return (frames,) * videos
    counts = tuple(int(n) for n in lengths.tolist()) if lengths.dim() == 1 else ()
    if len(counts) != videos or min(counts) < 1 or max(counts) > frames:
        raise ValueError(f"lengths must be {videos} numbers from 1 to {frames}, got {lengths.tolist()}")
    return counts


def video_sources(frames: Tensor | Sequence[FrameSource], lengths: Tensor | None) -> Sequence[FrameSource]:
    """One source of frames for each video, without its padding: views of a tensor (V, T, *), or the sources as given.

    Raises:
        ValueError: for another shape, lengths that do not fit, or no video at all.
    """
    if not isinstance(frames, Tensor):
        if lengths is not None:
            raise ValueError("sources of frames know their lengths; give lengths only with a tensor of frames")
        if len(frames) == 0:
            raise ValueError("expected the sources of at least one video, got none")
        return frames
    if frames.dim() < 3 or 0 in frames.shape:
        raise ValueError(f"expected frames (V, T, *), got the shape {tuple(frames.shape)}")
    counts = real_lengths(frames.shape[0], frames.shape[1], lengths)
    return [video[:n] for video, n in zip(frames, counts, strict=True)]
