"""The frames of a video file as tensors."""

import multiprocessing
from collections.abc import Iterable, Iterator, MutableMapping
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from efficiency_core.readers import video
from full_video.networks.frames import Wanted, rising_indices


class VideoFile:
    """The frames of a video file in display order, upright, all of the size of the first one.

    A file that is damaged, cut off, or shorter than its header promises is broken (``BrokenFile``), never a shorter video;
    :class:`efficiency_core.readers.video.VideoFile` tells which damage is found. ``len`` decodes the whole file once;
    :func:`~full_video.networks.frames.frame_chunks` needs no such pass.

    Args:
        name: what messages call the file; by default the path.
        counts: path -> number of frames, shared by the videos of a set, so that each is counted once in a process.
        least: number of frames that the file must have, as a list of videos declares it."""

    def __init__(
        self, path: str | Path, name: str | None = None, counts: MutableMapping[Path, int] | None = None, least: int = 0
    ) -> None:
        self._frames = video.VideoFile(path, name, counts=counts, least=least)

    def __len__(self) -> int:
        return len(self._file())

    def __getitem__(self, wanted: Wanted) -> Tensor:
        indices = rising_indices(wanted, len(self)).tolist()
        return _stacked(self._file().at(indices)) if indices else _stacked(self._file().at([0]))[:0]

    def chunks(self, size: int) -> Iterator[Tensor]:
        """All frames in order, ``size`` at a time and the rest at the end, in one pass."""
        frames = iter(self._file())
        while chunk := list(islice(frames, size)):
            yield _stacked(chunk)

    def _file(self) -> video.VideoFile:
        # One of several worker processes has one core; elsewhere all of them help.
        self._frames.threads = 0 if multiprocessing.parent_process() is None else 1
        return self._frames


def _stacked(frames: Iterable[NDArray[np.uint8]]) -> Tensor:
    """uint8 (H, W, 3) each -> uint8 (n, 3, H, W)."""
    return torch.stack([torch.from_numpy(frame).permute(2, 0, 1).contiguous() for frame in frames])
