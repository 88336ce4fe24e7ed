"""Lookup of a folder of queries in a folder of images: nearest matches, and whether each query is an outlier."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from efficiency_core.errors import BrokenFile, UsageError, WorkError
from efficiency_core.readers import list_images, mapped
from outlier_matching.data.file_set import read_tensor
from outlier_matching.method.assignment import OUTLIER, class_probabilities, is_outlier
from outlier_matching.method.config import Decision
from outlier_matching.networks.network import MatchingNetwork, embed, resized
from outlier_matching.retrieval.gallery import Engine, Gallery, load_gallery, save_gallery, search

Progress = Callable[[int, int], None]
"""Called after every batch with the number of images that are done and the number of all."""


@dataclass(frozen=True)
class Described:
    """Features of the readable images of a folder."""

    gallery: Gallery
    broken: tuple[BrokenFile, ...]
    """Images that cannot be read and are missing in :attr:`gallery`."""


@dataclass(frozen=True)
class Match:
    """Result for one query."""

    query: str
    """Path of the query below its folder."""
    names: tuple[str, ...]
    """Paths of the matches below the gallery's folder, nearest first."""
    distances: tuple[float, ...]
    """Euclidean distances of the L2-normalised features, in [0, 2]."""
    outlier_probability: float | None
    """p_3 of equation 4.7; None for a network trained without outlier detection."""
    outlier: bool | None
    """Whether the network classifies it as an outlier (:func:`~outlier_matching.method.assignment.is_outlier`); None without a
    probability."""


def network_digest(network: MatchingNetwork) -> str:
    """SHA-256 of a network's settings and weights. Only features of networks with the same digest are comparable."""
    state = hashlib.sha256(repr(network.config).encode())
    for name, value in sorted(network.state_dict().items()):
        state.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        state.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return state.hexdigest()


def describe_folder(
    network: MatchingNetwork, folder: str | Path, *, known: Gallery | None = None, batch: int = 64, device: str = "cpu",
    progress: Progress | None = None, domain: int = 0,
) -> Described:  # fmt: skip
    """Features of all images of a folder and the folders below it. Raises UsageError if there is no such folder or no
    image in it; WorkError if none of the images can be read, or a feature is not finite.

    Args:
        known: earlier features of the same network. Images with the same name, size and time of change are not read again.
        batch: number of images per call of the network.
        progress: see :data:`Progress`.
        domain: domain of the images, 0 source (a gallery) or 1 target (queries)."""
    paths = list_images(folder)
    names = [path.relative_to(folder).as_posix() for path in paths]
    places = {} if known is None else {name: place for place, name in enumerate(known.names)}
    rows: dict[int, Tensor] = {}
    stamps: dict[int, tuple[int, int]] = {}
    broken: dict[int, BrokenFile] = {}
    fresh = []
    for number, (path, name) in enumerate(zip(paths, names, strict=True)):
        try:
            status = path.stat()
        except OSError as error:
            broken[number] = BrokenFile(name, error.strerror or str(error))
            continue
        stamps[number] = (status.st_size, status.st_mtime_ns)
        place = places.get(name)
        if known is not None and place is not None and tuple(known.stamps[place].tolist()) == stamps[number]:
            rows[number] = known.embeddings[place]
        else:
            fresh.append(number)

    def read(number: int) -> Tensor | BrokenFile:
        try:
            return resized(read_tensor(paths[number], names[number]), network.config.size)
        except BrokenFile as error:
            return error

    images = mapped(read, fresh, threads=4)
    for first in range(0, len(fresh), batch):
        good = []
        for number in fresh[first : first + batch]:
            image = next(images)
            if isinstance(image, BrokenFile):
                broken[number] = image
            else:
                good.append((number, image))
        if good:
            features = _embedded(network, torch.stack([image for _, image in good]), device, domain)
            rows.update(zip((number for number, _ in good), features, strict=True))
        if progress is not None:
            progress(min(first + batch, len(fresh)), len(fresh))
    if not rows:
        raise WorkError(f"{folder}: none of the {len(paths)} images can be read; the first: {broken[min(broken)]}")
    kept = sorted(rows)
    gallery = Gallery(
        embeddings=torch.stack([rows[number] for number in kept]), names=tuple(names[number] for number in kept),
        folder=os.path.abspath(folder), network=network_digest(network),
        stamps=torch.tensor([stamps[number] for number in kept], dtype=torch.int64),
    )  # fmt: skip
    return Described(gallery, tuple(broken[number] for number in sorted(broken)))


def open_gallery(
    network: MatchingNetwork, gallery: str | Path, *, index: str | Path | None = None, batch: int = 64,
    device: str = "cpu", progress: Progress | None = None,
) -> Described:  # fmt: skip
    """A gallery from a folder of images or from the index of a folder. Raises UsageError if there is no image, the
    index is damaged or of another network, or two indices are named; WorkError if no image can be read, or the index
    cannot be written.

    Args:
        gallery: folder of images, or the ``.npz`` file of an index, which is used without its folder.
        index: file that keeps the features of the folder. If it exists, only new and changed images are read, and deleted
            ones are dropped. It is written again if anything changed.
        batch, progress: see :func:`describe_folder`."""
    gallery = Path(gallery)
    if gallery.suffix == ".npz" and not gallery.is_dir():
        if index is not None:
            raise UsageError(f"{gallery}: is an index already; leave out the index {index}")
        return Described(_read_index(gallery, network), ())
    known = _read_index(index, network) if index is not None and Path(index).exists() else None
    described = describe_folder(network, gallery, known=known, batch=batch, device=device, progress=progress)
    now = described.gallery
    same = (
        known is not None
        and (known.names, known.folder) == (now.names, now.folder)
        and torch.equal(known.stamps, now.stamps)
    )
    if index is not None and not same:
        save_gallery(index, now)
    return described


def match(
    queries: Gallery, gallery: Gallery, k: int, *, references: tuple[Tensor, Tensor, Tensor] | None = None,
    decision: Decision = "largest", engine: Engine = "auto", device: str = "cpu",
) -> list[Match]:  # fmt: skip
    """The ``k`` nearest images of the gallery for every query; a smaller gallery gives fewer. A file that is a
    query and in the gallery is not its own match. Raises UsageError if the features are of two networks, or the
    engine is not installed.

    Args:
        references: the checkpoint's embeddings of source, pseudo inliers and pseudo outliers; None detects no outliers.
        decision: the checkpoint's outlier decision.
        engine: see :func:`~outlier_matching.retrieval.gallery.which_engine`."""
    if queries.network != gallery.network:
        raise UsageError(
            f"the gallery {gallery.folder} was described by another network ({gallery.network[:12]}) than the queries "
            f"({queries.network[:12]})"
        )
    if k < 1:
        raise UsageError(f"the number of matches must be at least 1, got {k}")
    places = {os.path.realpath(Path(gallery.folder, name)): place for place, name in enumerate(gallery.names)}
    own = [places.get(os.path.realpath(Path(queries.folder, name))) for name in queries.names]
    more = any(place is not None for place in own)
    found = search(gallery, queries.embeddings, k + 1 if more else k, engine=engine, device=device)
    probability: list[float | None] = [None] * len(queries)
    outlier: list[bool | None] = [None] * len(queries)
    if references is not None:
        p = class_probabilities(queries.embeddings, references, chunk=4096)
        probability, outlier = p[:, OUTLIER].tolist(), is_outlier(p, decision).tolist()
    answer = []
    rows = zip(queries.names, found.indices.tolist(), found.distances.tolist(), own, probability, outlier, strict=True)
    for name, indices, distances, itself, likely, called in rows:
        pairs = [pair for pair in zip(indices, distances, strict=True) if pair[0] != itself][:k]
        names = tuple(gallery.names[place] for place, _ in pairs)
        answer.append(Match(name, names, tuple(distance for _, distance in pairs), likely, called))
    return answer


def _read_index(path: str | Path, network: MatchingNetwork) -> Gallery:
    gallery, digest = load_gallery(path), network_digest(network)
    if gallery.network != digest:
        raise UsageError(
            f"{path}: was made by another network ({gallery.network[:12]}, this one is {digest[:12]}); remove it or name "
            "another file"
        )
    if gallery.embeddings.shape[1] != network.config.embedding:
        raise UsageError(
            f"{path}: holds features of length {gallery.embeddings.shape[1]}, its network gives {network.config.embedding}; "
            "remove it to build it again"
        )
    return gallery


def _embedded(network: MatchingNetwork, images: Tensor, device: str, domain: int) -> Tensor:
    try:
        return embed(network, images, len(images), device, domain=domain).cpu()
    except FloatingPointError as error:
        raise WorkError(str(error)) from error
