"""The frames of a video file by number, by default only if every frame is sound."""

import os
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from efficiency_core.errors import BrokenFile
from efficiency_core.readers.video.reader import open_video

_INHERITED: list[Any] = []
"""Passes that a forked process has got from its parent. It cannot close them: the threads of their decoders are not copied."""


class VideoFile:
    """The frames of a video file by number, by default every one of them sound.

    ``len`` decodes the file, since headers count wrongly; iterating needs no such pass. A file that is damaged, cut off, or
    shorter than declared is broken as a whole, never a shorter video; one or two frames that the decoder repaired, of which
    FFmpeg only warns, do not break it. Reading in rising order costs one pass; going back starts another. The object can be
    pickled.

    Args:
        path: the file.
        name: what messages call it; by default the path.
        counts: path -> number of frames, shared by the files of a set, so that each is counted once in a process.
        least: number of frames that the file must have, as a list of videos declares it.
        threads: threads that decode; 0 lets FFmpeg choose, 1 suits one of several worker processes.
        damaged: give the frames of a damaged file too, all that FFmpeg makes of it; their numbers are those of
            :func:`~efficiency_core.readers.video.reader.open_video`.
    """

    def __init__(
        self,
        path: str | Path,
        name: str | None = None,
        *,
        counts: MutableMapping[Path, int] | None = None,
        least: int = 0,
        threads: int = 0,
        damaged: bool = False,
    ) -> None:
        self.path = Path(path)
        self.name = str(path) if name is None else name
        self.threads = threads
        self.damaged = damaged
        self._counts: MutableMapping[Path, int] = {} if counts is None else counts
        self._least = least
        self._pass: Iterator[Callable[[], NDArray[np.uint8]]] | None = None
        self._position = 0  # number of the frame that the pass gives next
        self._process = os.getpid()  # which has begun the pass

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_pass": None, "_position": 0}

    def __len__(self) -> int:
        if self.path not in self._counts:
            self._remember(sum(1 for _ in self._sound_frames()))
        return self._counts[self.path]

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """All frames in order, uint8 (H, W, 3), in one pass of its own.

        Raises:
            BrokenFile: at the first damage, which may be after some frames.
        """
        count = 0
        for pixels in self._sound_frames():
            count += 1
            yield pixels()
        self._remember(count)

    def at(self, indices: Iterable[int]) -> Iterator[NDArray[np.uint8]]:
        """The frames of some numbers from 0 that never fall, uint8 (H, W, 3); an equal number gives the same array again.

        Raises:
            BrokenFile: if one of them cannot be read.
            IndexError: if a number is negative or less than the one before it.
        """
        before, pixels = -1, None
        for index in indices:
            if index < max(before, 0):
                raise IndexError(f"{self.name}: frames are read in rising order from 0, got {index} after {before}")
            if pixels is None or index > before:
                pixels = self._frame(index)
            before = index
            yield pixels

    def _frame(self, index: int) -> NDArray[np.uint8]:
        if self._pass is not None and self._process != os.getpid():
            _INHERITED.append(self._pass)
            self._pass = None
        if self._pass is None or index < self._position:
            self._pass, self._position, self._process = self._sound_frames(), 0, os.getpid()
        for pixels in self._pass:
            self._position += 1
            if self._position > index:
                if self._position == self._counts.get(self.path):
                    self._pass = None  # nothing more comes: close the file
                return pixels()
        self._pass = None
        if self.path in self._counts:
            self._remember(self._position)
        raise BrokenFile(self.name, f"frame {index} is asked for, the file holds {self._position}")

    def _remember(self, count: int) -> None:
        if count < self._least:
            raise BrokenFile(self.name, f"{self._least} frames are declared, the file holds {count}")
        if self._counts.setdefault(self.path, count) != count:
            raise BrokenFile(self.name, f"had {self._counts[self.path]} frames before and now {count}")

    def _sound_frames(self) -> Iterator[Callable[[], NDArray[np.uint8]]]:
        """One pass: for every frame a function that converts it to RGB."""
        with open_video(self.path, self.name, self.threads) as video:
            for frame in video:
                if video.broken is not None and not self.damaged:
                    break
                yield partial(video.rgb, frame)
            if video.broken is not None and not self.damaged:
                raise BrokenFile(self.name, video.broken)
