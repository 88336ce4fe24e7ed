"""How videos reach a network, in training and in tests alike: batches that do not stumble over a broken video."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from full_video.augmentation import Augmentation
from full_video.clips import Clips, collate
from full_video.errors import BrokenVideo, UsageError
from full_video.sampling import Sampling

__all__ = ["Batch", "InputConfig", "Skipped", "batches", "check_precision"]

_MEMORY = ("plain", "checkpointed", "streamed")
_PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


@dataclass(frozen=True)
class InputConfig:
    """What a network is shown of its videos, and at what price."""

    sampling: Sampling = field(default_factory=Sampling)
    """Which frames of a video; all of them by default."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    """Size, crop and flip of the frames."""
    max_frames: int = 0
    """The most frames of a video; 0 means no limit."""
    batch_size: int = 16
    """Videos per step."""
    memory: str = "plain"
    """``plain`` autograd, ``checkpointed`` chunks of frames, or ``streamed``: memory does not grow with the video."""
    chunk: int = 4
    """Frames that pass the stem at once where memory is checkpointed or streamed."""
    precision: str = "32-true"
    """Fabric's precision: ``32-true``, ``bf16-mixed`` or, on a GPU, ``16-mixed``."""
    workers: int = 0
    """Processes that read videos; 0 reads in the process itself. Changes no number."""

    def __post_init__(self) -> None:
        for name, choices in (("memory", _MEMORY), ("precision", _PRECISIONS)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {choices}, got {getattr(self, name)!r}")
        for name, least in (("max_frames", 0), ("workers", 0), ("batch_size", 1), ("chunk", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {least} or more, got {getattr(self, name)}")


class Batch(NamedTuple):
    """Videos of one step; V of them could be read, and V may be 0."""

    frames: Tensor
    """uint8 (V, T, 3, S, S), padded by repeating the last frame."""
    lengths: Tensor
    """int64 (V,): frames that are not padding."""
    labels: Tensor
    """int64 (V,)."""
    indices: Sequence[int]
    """Which video of the set each is."""
    broken: Sequence[BrokenVideo]
    """Those that could not be read."""


@dataclass(frozen=True)
class Skipped:
    """A video that was left out."""

    name: str
    """Which video, as its set names it."""
    why: str
    """What is wrong with it."""
    times: int
    """How often it was asked for."""


def check_precision(precision: str, device: str) -> None:
    """Refuse ``16-mixed`` on a CPU, where Fabric would compute in bfloat16 instead.

    Raises:
        UsageError: if so.
    """
    if precision == "16-mixed" and device == "cpu":
        raise UsageError("precision='16-mixed' needs a GPU; on a CPU use 'bf16-mixed' or '32-true'")


def batches(
    clips: Clips, order: Iterable[Sequence[tuple[int, int]]], workers: int, pin: bool = False
) -> Iterator[Batch]:
    """Read the videos of every batch of ``order``, each a sequence of (video, epoch), in that order.

    Args:
        clips: the videos with their sampling and augmentation; a sample depends on (video, epoch) alone, so that the
            number of workers changes nothing.
        order: the batches.
        workers: processes to read in.
        pin: whether to put frames into page-locked memory, for a faster copy to a GPU.
    """
    loader: DataLoader[Any] = DataLoader(
        _Readable(clips),
        batch_sampler=_Order(order),
        num_workers=workers,
        collate_fn=_collate,
        pin_memory=pin,
        generator=torch.Generator(),  # of its own: the loader draws a number, which must not be the caller's
    )
    return iter(loader)


class _Order(Sampler[list[tuple[int, int]]]):
    def __init__(self, order: Iterable[Sequence[tuple[int, int]]]) -> None:
        self._order = order

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return (list(batch) for batch in self._order)


class _Readable(Dataset[Any]):
    """Items of clips; a broken video gives its error instead of raising it."""

    def __init__(self, clips: Clips) -> None:
        self._clips = clips

    def __getitem__(self, key: tuple[int, int]) -> Any:
        try:
            return self._clips.item(*key)
        except BrokenVideo as error:
            return error.with_traceback(None)


def _collate(items: Sequence[Any]) -> Batch:
    broken = tuple(item for item in items if isinstance(item, BrokenVideo))
    good = [item for item in items if not isinstance(item, BrokenVideo)]
    if not good:
        none = torch.zeros(0, dtype=torch.int64)
        return Batch(torch.zeros(0, 0, 3, 0, 0, dtype=torch.uint8), none, none, (), broken)
    frames, lengths, labels = collate(good)
    return Batch(frames, lengths, labels, tuple(int(item["index"]) for item in good), broken)
