"""Label-video files (HDF5), as Move4MNIST is written: grey videos of one length, one label each.

A file holds one split: ``frames`` uint8 (S, T, H, W) grey or (S, T, H, W, 3) RGB, ``label`` int64 (S,), and the
attributes ``format`` = "label-video", ``class_names`` (JSON list), ``name``, ``source``, ``content_digest``. Move4MNIST
also stores ``kind`` uint8 (S, T): what each frame is (:data:`KINDS`).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from full_video.errors import BrokenVideo, UsageError
from full_video.file_videos import Facts
from full_video.frames import FrameSource, Wanted, rising_indices

if TYPE_CHECKING:
    import h5py  # at run time where a file is opened: the network alone does without

__all__ = ["KINDS", "LabelVideos", "open_label_videos"]

KINDS = ("motion", "background", "black", "distractor")
"""Kind k of a frame is ``KINDS[k]``: part of the motion, background alone, black, or a digit that is not part of it."""
_MEND = "build it again"


def open_label_videos(path: str | Path, split: str) -> LabelVideos:
    """A label-video file.

    Args:
        path: the file, or a folder that holds it as ``<split>.h5``.
        split: which file of a folder; a file that is named itself must be of this split if it says of which it is.

    Raises:
        UsageError: if the file is missing, not HDF5, damaged, not a label-video file, or of another split.
    """
    path = Path(path)
    videos = LabelVideos(path / f"{split}.h5" if path.is_dir() else path)
    if videos.split not in (None, split):
        raise UsageError(f"{videos.path}: is the {videos.split} split, expected {split}")
    return videos


class LabelVideos:
    """A label-video file, opened when first read and once per process.

    Labels and kinds are kept in memory; frames are read when asked for. HDF5 reads whole chunks, in files of this kind
    one grey video each: that much stays in memory between reads, 8 MiB for 2,048 frames of 64 x 64.

    Attributes:
        path: the file.
        split: which split it says it is, None where it does not.
        kinds: uint8 (S, T) what each frame is (:data:`KINDS`), None where the file does not say.
        facts: what the file says about itself.

    Raises:
        UsageError: if the file is missing, not HDF5, damaged, or not a label-video file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file: h5py.File | None = None
        self._process = 0
        if not self.path.is_file():
            raise UsageError(f"{self.path}: no such file; expected a label-video HDF5 file")
        h5py = _h5py()
        try:
            with h5py.File(self.path, "r") as file:
                _check_arrays(self.path, file)
                self._shape: tuple[int, ...] = file["frames"].shape
                # Room for one chunk, which is otherwise decompressed again for every part of it.
                self._cache = max(1 << 20, int(np.prod(file["frames"].chunks or (1,))))
                self._labels: NDArray[np.int64] = file["label"][()].astype(np.int64)
                self.kinds: NDArray[np.uint8] | None = file["kind"][()] if "kind" in file else None
                split = file.attrs.get("split")
                self.split = None if split is None else str(split)
                self.facts = _facts(self.path, file, self._labels)
        except UsageError:
            raise
        except Exception as error:  # HDF5 reports damage as OSError, KeyError, RuntimeError, MemoryError, ...
            raise UsageError(f"{self.path}: not a readable HDF5 file ({error}); {_MEND}") from error

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_file": None}

    def __len__(self) -> int:
        return self._shape[0]

    def label(self, video: int) -> int:
        """Class of a video, from 0."""
        return int(self._labels[video])

    def name(self, video: int) -> str:
        """Number of the video; such files name none."""
        return f"{self.path.stem}/{range(len(self))[video]:06d}"

    def frames(self, video: int) -> FrameSource:
        """Its frames, grey ones as three equal channels."""
        return _Frames(self, range(len(self))[video])

    def _read(self, video: int, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """(n, H, W) or (n, H, W, 3)."""
        try:
            if self._file is None or self._process != os.getpid():  # a file must not be shared with a forked process
                self._file = _h5py().File(self.path, "r", rdcc_nbytes=self._cache)
                self._process = os.getpid()
            unique, back = np.unique(indices, return_inverse=True)
            if len(unique) and len(unique) == unique[-1] - unique[0] + 1:
                pixels = self._file["frames"][video, int(unique[0]) : int(unique[-1]) + 1]
            else:
                pixels = self._file["frames"][video, unique]
        except (OSError, KeyError, RuntimeError) as error:
            raise BrokenVideo(self.name(video), f"is damaged in {self.path} ({error}); {_MEND}") from error
        return np.asarray(pixels if len(unique) == len(indices) else pixels[back])


class _Frames:
    def __init__(self, videos: LabelVideos, video: int) -> None:
        self._videos, self._video = videos, video

    def __len__(self) -> int:
        return self._videos._shape[1]

    def __getitem__(self, wanted: Wanted) -> Tensor:
        pixels = torch.from_numpy(self._videos._read(self._video, rising_indices(wanted, len(self))))
        if pixels.ndim == 3:
            return pixels[:, None].expand(-1, 3, -1, -1).contiguous()
        return pixels.permute(0, 3, 1, 2).contiguous()


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise UsageError('label-video files need h5py: pip install "full_video[train]"') from error
    return h5py


def _check_arrays(path: Path, file: h5py.File) -> None:
    if file.attrs.get("format") != "label-video":
        raise UsageError(f"{path}: not a label-video file (its attribute 'format' is {file.attrs.get('format')!r})")
    for name, kind in (("frames", "u"), ("label", "i"), *((("kind", "u"),) if "kind" in file else ())):
        if name not in file or not hasattr(file[name], "dtype"):
            raise UsageError(f"{path}: array {name!r} is missing; {_MEND}")
        if file[name].dtype.kind != kind or (kind == "u" and file[name].dtype != np.uint8):
            raise UsageError(f"{path}: array {name!r} has the wrong type, {file[name].dtype}; {_MEND}")
    shape = file["frames"].shape
    if len(shape) < 4 or shape[4:] not in ((), (3,)) or 0 in shape:
        raise UsageError(f"{path}: expected frames (S, T, H, W) or (S, T, H, W, 3), got {shape}; {_MEND}")
    for name, expected in (("label", shape[:1]), ("kind", shape[:2])):
        if name in file and file[name].shape != expected:
            raise UsageError(
                f"{path}: array {name!r} is {file[name].shape}, beside frames {shape} it must be {expected}; {_MEND}"
            )


def _facts(path: Path, file: h5py.File, labels: NDArray[np.int64]) -> Facts:
    try:
        class_names = tuple(str(name) for name in json.loads(file.attrs["class_names"]))
    except (KeyError, ValueError, TypeError) as error:
        raise UsageError(f"{path}: attribute 'class_names' is not a JSON list ({error}); {_MEND}") from error
    wrong = np.flatnonzero((labels < 0) | (labels >= len(class_names)))
    if len(wrong):
        first = int(wrong[0])
        raise UsageError(
            f"{path}: video {first} has label {labels[first]}, expected 0 to {len(class_names) - 1}; {_MEND}"
        )
    return Facts(
        name=str(file.attrs.get("name", path.stem)),
        source=str(file.attrs.get("source", "unknown")),
        content_digest=str(file.attrs.get("content_digest", "")),
        class_names=class_names,
    )
