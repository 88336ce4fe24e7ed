"""Features of the images of a folder, kept in a file, and exact search in them by faiss or torch."""

import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from efficiency_core.errors import UsageError
from efficiency_core.files import atomic_path, why_no_file
from outlier_matching.retrieval.ranking import Nearest, nearest, rank_candidates

Engine = Literal["auto", "faiss", "torch"]

_FORMAT = "outlier-matching gallery 1"
_ARRAYS = ("format", "embeddings", "names", "folder", "network", "stamps")
# faiss rounds as any matrix product does. This number of further candidates is measured again exactly.
_SPARE = 16
# Largest relative difference of equal squared distances in the single precision of faiss.
_FAISS_ROUNDING = 2.0**-16


@dataclass(frozen=True)
class Gallery:
    """Features of the images of a folder, with the names of the images and the digest of the network."""

    embeddings: Tensor
    """float32 (N, d), L2-normalised, on the CPU."""
    names: tuple[str, ...]
    """Path of every image below :attr:`folder`, with slashes."""
    folder: str
    """Folder of the images, as an absolute path."""
    network: str
    """Digest of the network that computed the features."""
    stamps: Tensor
    """int64 (N, 2): size in bytes and time of change in nanoseconds of every file, by which changed files are found."""

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
    """Write a gallery as an ``.npz`` file of arrays. Raises WorkError if it cannot be written."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file, format=_bytes([_FORMAT]), embeddings=gallery.embeddings.float().cpu().numpy(),
            names=_bytes(gallery.names), folder=_bytes([gallery.folder]), network=_bytes([gallery.network]),
            stamps=gallery.stamps.cpu().numpy(),
        )  # fmt: skip


def load_gallery(path: str | Path) -> Gallery:
    """Read a file of :func:`save_gallery`. No code in the file is executed. Raises UsageError if the file is missing,
    damaged, or of another kind."""
    path = Path(path)
    expected = "expected a gallery index that outlier-matching match --index wrote"
    if not path.is_file():
        raise UsageError(f"{path}: {why_no_file(path)}; {expected}")
    try:
        with path.open("rb") as opened:
            if not zipfile.is_zipfile(opened):
                raise ValueError("it is no whole .npz file")
        with np.load(path, allow_pickle=False) as file:
            lacking = [name for name in _ARRAYS if name not in file]
            if lacking:
                raise ValueError(f"it lacks the arrays {', '.join(lacking)}")
            found = {name: file[name] for name in _ARRAYS}
        if _texts(found["format"]) != [_FORMAT]:
            raise ValueError(f"its format is {_texts(found['format'])}")
        gallery = Gallery(
            embeddings=torch.from_numpy(_of_kind(found, "embeddings", "f")).float(), names=tuple(_texts(found["names"])),
            folder=_texts(found["folder"])[0], network=_texts(found["network"])[0],
            stamps=torch.from_numpy(_of_kind(found, "stamps", "i")).long(),
        )  # fmt: skip
        if not gallery.embeddings.numel() or not gallery.embeddings.isfinite().all():
            raise ValueError("it holds no features, or some that are not finite")
    except Exception as error:  # zip files, their compression and numpy report damage by nearly anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UsageError(
            f"{path}: cannot be read ({reason}); {expected}. Name another file, or remove it to build it again"
        ) from error
    return gallery


def which_engine(engine: Engine, device: str = "cpu") -> Literal["faiss", "torch"]:
    """The engine of :func:`search`. ``auto`` is faiss on the CPU if it is installed, else torch. Raises UsageError for
    ``faiss`` if it is not installed, and for an unknown name."""
    installed = find_spec("faiss") is not None
    if engine == "auto":
        return "faiss" if installed and device == "cpu" else "torch"
    if engine == "faiss" and not installed:
        raise UsageError('engine faiss is not installed: pip install "outlier_matching[faiss]", or use engine torch')
    if engine not in ("faiss", "torch"):
        raise UsageError(f"engine must be auto, faiss or torch, got {engine!r}")
    return engine


def search(gallery: Gallery, queries: Tensor, k: int, *, engine: Engine = "auto", device: str = "cpu") -> Nearest:
    """The ``k`` nearest images of the gallery for every query; a smaller gallery gives fewer. Both engines are
    exact and give the same result. Raises UsageError if the features have another length than the gallery's, and
    see :func:`which_engine`. ``queries``: (Q, d), features of the same network; ``device``: where torch searches;
    faiss searches on the CPU."""
    if queries.ndim != 2 or queries.shape[1] != gallery.embeddings.shape[1]:
        raise UsageError(
            f"the gallery holds features of length {gallery.embeddings.shape[1]}, those of the queries are "
            f"{tuple(queries.shape)}"
        )
    if which_engine(engine, device) == "torch":
        return nearest(queries, gallery.embeddings.to(device), k)
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    import faiss

    # Subtracting the mean keeps the digits of features that lie close together, as in ranking.distance_blocks.
    center = gallery.embeddings.mean(dim=0)
    index = faiss.IndexFlatL2(gallery.embeddings.shape[1])
    index.add((gallery.embeddings - center).numpy())
    k = min(k, len(gallery))
    asked = (queries.float().cpu() - center).contiguous().numpy()
    _, found = index.search(asked, min(k + _SPARE, len(gallery)))
    ranked = rank_candidates(queries.float().cpu(), gallery.embeddings, torch.from_numpy(found), found.shape[1])
    indices, distances = ranked.indices[:, :k], ranked.distances[:, :k]
    # If the last candidate is no farther than the k-th, up to the rounding of faiss, images left out may be as near.
    norms = (queries.float().cpu() - center).square().sum(dim=1)
    last = ranked.distances[:, [k - 1, -1]].double().square()
    tied = last[:, 1] - last[:, 0] <= _FAISS_ROUNDING * (last[:, 0] + norms)
    if found.shape[1] < len(gallery) and tied.any():
        again = nearest(queries[tied.to(queries.device)].float().cpu(), gallery.embeddings, k)
        indices[tied], distances[tied] = again.indices, again.distances
    return Nearest(indices.to(queries.device), distances.to(queries.device))


def _of_kind(arrays: dict[str, NDArray[Any]], name: str, kind: str) -> NDArray[Any]:
    if arrays[name].dtype.kind != kind:
        raise ValueError(f"{name} are {arrays[name].dtype}")
    return arrays[name]


def _bytes(texts: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    # No file name contains a zero byte. Names that are not UTF-8 are restored exactly.
    return np.frombuffer(b"\0".join(os.fsencode(text) for text in texts), dtype=np.uint8)


def _texts(array: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> list[str]:
    if array.dtype != np.uint8:
        raise ValueError(f"names are {array.dtype}, expected bytes")
    return [os.fsdecode(part) for part in array.tobytes().split(b"\0")]
