"""Batches of clips; videos that cannot be read are left out of them and named."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from efficiency_core.errors import BrokenFile
from full_video.data.clips import Clip, Clips


class Batch(NamedTuple):
    """Clips of one step; V of them could be read, and V may be 0."""

    frames: Tensor
    """uint8 (V, T, 3, S, S), padded by repeating the last frame; T is the length of the longest clip."""
    lengths: Tensor
    """int64 (V,): frames that are not padding."""
    labels: Tensor
    """int64 (V,)."""
    videos: Sequence[int]
    """Numbers of the videos in their set."""
    broken: Sequence[BrokenFile]
    """The videos that could not be read."""


@dataclass(frozen=True)
class Skipped:
    """A video that could not be read and was left out."""

    name: str
    """Name of the video in its set."""
    why: str
    """What is wrong with it."""
    times: int
    """How often it was asked for."""


def batch_of(clips: Clips, order: Iterable[tuple[int, int]]) -> Batch:
    """Read the clips of (video, epoch) pairs. A worker process may do this: a batch depends on nothing else."""
    read: list[Clip] = []
    videos: list[int] = []
    broken: list[BrokenFile] = []
    for video, epoch in order:
        try:
            read.append(clips.clip(video, epoch))
            videos.append(video)
        except BrokenFile as error:
            broken.append(error.with_traceback(None))
    if not read:
        none = torch.zeros(0, dtype=torch.int64)
        return Batch(torch.zeros(0, 0, 3, 0, 0, dtype=torch.uint8), none, none, (), broken)
    lengths = [len(clip.frames) for clip in read]
    frames = read[0].frames[None]  # a view, which is enough for one clip
    if len(read) > 1:
        frames = frames.new_empty((len(read), max(lengths), *frames.shape[2:]))
        for row, clip, length in zip(frames, read, lengths, strict=True):
            row[:length] = clip.frames
            row[length:] = clip.frames[-1]
    return Batch(frames, torch.tensor(lengths), torch.tensor([clip.label for clip in read]), videos, broken)
