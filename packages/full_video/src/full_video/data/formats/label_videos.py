"""Label-video files (HDF5), as Move4MNIST is written: videos of one length, one label each. A file holds one split, its
arrays as :data:`_ARRAYS` and ``class_names``, a JSON list, among its attributes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from efficiency_core.readers import ArraySpec, Hdf5File
from full_video.data.video_set import VideoSetInfo
from full_video.networks.frames import FrameSource, Wanted, rising_indices

KINDS = ("motion", "background", "black", "distractor")
"""Kind k of a frame is ``KINDS[k]``: part of the motion, background alone, black, or a digit that is not part of it."""
_ARRAYS = {
    "frames": ArraySpec("uint8", "S T H W [3]"),  # grey or RGB
    "label": ArraySpec("i", "S"),
    "kind": ArraySpec("uint8", "S T", optional=True),
}


class LabelVideos:
    """A label-video file, or with ``split`` a folder that holds it as ``<split>.h5``; opened when first read and once
    per process. Labels and kinds are kept in memory; frames are read when asked for. HDF5 reads whole chunks, which are
    one grey video in files of this kind. One chunk stays in memory between reads: 8 MiB for 2,048 frames of 64 x 64.
    ``kinds``, uint8 (S, T), are the kinds of the frames (:data:`KINDS`); None if the file does not say. Raises
    UsageError if the file is missing, not HDF5, damaged, not a label-video file, or of another split."""

    def __init__(self, path: str | Path, split: str | None = None) -> None:
        self._file = Hdf5File(path, "label-video", _ARRAYS, split=split)
        self.path = self._file.path
        class_names = self._file.names("class_names")
        self._labels = self._file.integers("label", 0, len(class_names) - 1, "video")
        self.kinds: NDArray[np.uint8] | None = self._file.read("kind") if "kind" in self._file.shapes else None
        self.info = VideoSetInfo(self._file.name, self._file.source, self._file.content_digest, class_names)

    def __len__(self) -> int:
        return len(self._file)

    def label(self, video: int) -> int:
        return int(self._labels[video])

    def name(self, video: int) -> str:
        return self._file.item_name(video)

    def frames(self, video: int) -> FrameSource:
        """Frames of a video; grey frames have three equal channels."""
        return _Frames(self._file, range(len(self))[video])


class _Frames:
    def __init__(self, file: Hdf5File, video: int) -> None:
        self._file, self._video = file, video

    def __len__(self) -> int:
        return self._file.shapes["frames"][1]

    def __getitem__(self, wanted: Wanted) -> Tensor:
        unique, back = np.unique(rising_indices(wanted, len(self)), return_inverse=True)
        run = len(unique) and len(unique) == unique[-1] - unique[0] + 1
        rows = slice(int(unique[0]), int(unique[-1]) + 1) if run else unique
        read = self._file.row("frames", self._video, rows)
        pixels = torch.from_numpy(read if len(unique) == len(back) else read[back])
        if pixels.ndim == 3:
            return pixels[:, None].expand(-1, 3, -1, -1).contiguous()
        return pixels.permute(0, 3, 1, 2).contiguous()
