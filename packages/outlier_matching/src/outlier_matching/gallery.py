"""A folder's images as features on disk, searched again and again: exact, by faiss where it is installed."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from outlier_matching.errors import UsageError
from outlier_matching.files import atomic_path
from outlier_matching.ranking import Nearest, nearest, rank_candidates

__all__ = ["Engine", "Gallery", "load_gallery", "save_gallery", "search", "which_engine"]

Engine = Literal["auto", "faiss", "torch"]

_FORMAT = "outlier-matching gallery 1"
_ARRAYS = ("format", "embeddings", "names", "folder", "network", "stamps")
# faiss rounds like any product of matrices; so many more candidates than asked for are measured again.
_SPARE = 16


@dataclass(frozen=True)
class Gallery:
    """Features of the images of a folder, and what they were made from."""

    embeddings: Tensor
    """float32 (N, d), L2-normalised, on the CPU."""
    names: tuple[str, ...]
    """Path of every image below :attr:`folder`, with slashes."""
    folder: str
    """Where the images lay, as an absolute path."""
    network: str
    """Digest of the checkpoint whose network made the features."""
    stamps: Tensor
    """int64 (N, 2): size in bytes and time of change in nanoseconds of every file, to tell which have changed since."""

    def __post_init__(self) -> None:
        count = len(self.names)
        if self.embeddings.ndim != 2 or len(self.embeddings) != count or self.stamps.shape != (count, 2):
            raise ValueError(
                f"expected {count} features (N, d) and stamps (N, 2), got {tuple(self.embeddings.shape)}, "
                f"{tuple(self.stamps.shape)}"
            )

    def __len__(self) -> int:
        return len(self.names)


def save_gallery(path: str | Path, gallery: Gallery) -> None:
    """Write a gallery as an ``.npz`` file that holds arrays only.

    Raises:
        WorkError: if it cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            format=_bytes([_FORMAT]),
            embeddings=gallery.embeddings.float().cpu().numpy(),
            names=_bytes(gallery.names),
            folder=_bytes([gallery.folder]),
            network=_bytes([gallery.network]),
            stamps=gallery.stamps.cpu().numpy(),
        )


def load_gallery(path: str | Path) -> Gallery:
    """Read a gallery that :func:`save_gallery` wrote; nothing in the file is executed.

    Raises:
        UsageError: if the file is missing, damaged, or something else.
    """
    path = Path(path)
    expected = "expected a gallery index that outlier-matching match --index wrote"
    if not path.is_file():
        raise UsageError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}; {expected}")
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in _ARRAYS}
        if _texts(found["format"]) != [_FORMAT]:
            raise UsageError(f"{path}: is {_texts(found['format'])}, {expected}")
        gallery = Gallery(
            embeddings=torch.from_numpy(found["embeddings"]).float(),
            names=tuple(_texts(found["names"])),
            folder=_texts(found["folder"])[0],
            network=_texts(found["network"])[0],
            stamps=torch.from_numpy(found["stamps"]).long(),
        )
    # numpy tells damage by any of these, a file of another kind too.
    except (OSError, KeyError, ValueError, TypeError, EOFError, IndexError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path}: cannot be read ({error}); {expected}, remove it to have it made again") from error
    if len(gallery) == 0 or not gallery.embeddings.isfinite().all():
        raise UsageError(f"{path}: holds no features or some that are not finite; remove it to have it made again")
    return gallery


def which_engine(engine: Engine, device: str = "cpu") -> Literal["faiss", "torch"]:
    """What :func:`search` searches with; ``auto`` is faiss on the CPU where it is installed, else torch.

    Raises:
        UsageError: for ``faiss`` where it is not installed, and for an unknown name.
    """
    installed = find_spec("faiss") is not None
    if engine == "auto":
        return "faiss" if installed and device == "cpu" else "torch"
    if engine == "faiss" and not installed:
        raise UsageError('engine faiss is not installed: pip install "outlier_matching[faiss]", or use engine torch')
    if engine not in ("faiss", "torch"):
        raise UsageError(f"engine must be auto, faiss or torch, got {engine!r}")
    return engine


def search(gallery: Gallery, queries: Tensor, k: int, *, engine: Engine = "auto", device: str = "cpu") -> Nearest:
    """The ``k`` nearest images of the gallery for every query; both engines are exact and give the same answer.

    Args:
        gallery: the gallery.
        queries: (Q, d) features of the same network.
        k: how many; fewer where the gallery holds fewer.
        engine: see :func:`which_engine`.
        device: where torch searches; faiss searches on the CPU.

    Raises:
        UsageError: if the features have another length than the gallery's, and see :func:`which_engine`.
    """
    if queries.ndim != 2 or queries.shape[1] != gallery.embeddings.shape[1]:
        raise UsageError(
            f"the gallery holds features of {gallery.embeddings.shape[1]} numbers, the queries' are {tuple(queries.shape)}"
        )
    if which_engine(engine, device) == "torch":
        return nearest(queries, gallery.embeddings.to(device), k)
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    import faiss

    # The mean is taken away for the digits of features that lie close together, as in ranking.distance_blocks.
    center = gallery.embeddings.mean(dim=0)
    index = faiss.IndexFlatL2(gallery.embeddings.shape[1])
    index.add((gallery.embeddings - center).numpy())
    k = min(k, len(gallery))
    asked = (queries.float().cpu() - center).contiguous().numpy()
    _, found = index.search(asked, min(k + _SPARE, len(gallery)))
    ranked = rank_candidates(queries.float().cpu(), gallery.embeddings, torch.from_numpy(found), found.shape[1])
    indices, distances = ranked.indices[:, :k], ranked.distances[:, :k]
    # Of more equal distances than there is room for, faiss takes any; the order of the gallery is to decide.
    tied = ranked.distances[:, k - 1] == ranked.distances[:, -1]
    if found.shape[1] < len(gallery) and tied.any():
        again = nearest(queries[tied.to(queries.device)].float().cpu(), gallery.embeddings, k)
        indices[tied], distances[tied] = again.indices, again.distances
    return Nearest(indices.to(queries.device), distances.to(queries.device))


def _bytes(texts: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    # No file name can hold a zero; names that are not UTF-8 come back as they were.
    return np.frombuffer(b"\0".join(os.fsencode(text) for text in texts), dtype=np.uint8)


def _texts(array: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> list[str]:
    if array.dtype != np.uint8:
        raise ValueError(f"names are {array.dtype}, expected bytes")
    return [os.fsdecode(part) for part in array.tobytes().split(b"\0")]
