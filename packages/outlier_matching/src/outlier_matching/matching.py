"""A folder of queries looked up in a folder of images: nearest first, and whether each query is an outlier."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from outlier_matching.assignment import OUTLIER, Decision, class_probabilities, is_outlier
from outlier_matching.embedding import embed
from outlier_matching.errors import BrokenImage, UsageError, WorkError
from outlier_matching.gallery import Engine, Gallery, load_gallery, save_gallery, search
from outlier_matching.images import list_images, read_image, resized
from outlier_matching.networks import MatchingNetwork

__all__ = ["Described", "Match", "Progress", "describe_folder", "match", "network_digest", "open_gallery"]

Progress = Callable[[int, int], None]
"""Told after every batch how many images are done, and of how many."""

_THREADS = 4


@dataclass(frozen=True)
class Described:
    """Features of the images of a folder that can be read."""

    gallery: Gallery
    """Features, names, and what they were made from."""
    broken: tuple[BrokenImage, ...]
    """Images that cannot be read: they are not in :attr:`gallery`."""


@dataclass(frozen=True)
class Match:
    """What was found for one query."""

    query: str
    """Path of the query below its folder."""
    names: tuple[str, ...]
    """Paths of the matches below the gallery's folder, nearest first."""
    distances: tuple[float, ...]
    """Euclidean distances of the L2-normalised features, in [0, 2]."""
    outlier_probability: float | None
    """p_3 of equation 4.7; None where the network was trained without outlier detection."""
    outlier: bool | None
    """Whether the network takes it for an outlier (:func:`~outlier_matching.assignment.is_outlier`); None with the
    probability."""


def network_digest(network: MatchingNetwork) -> str:
    """SHA-256 of a network's settings and weights: features of networks with one digest can be compared."""
    state = hashlib.sha256(repr(network.config).encode())
    for name, value in sorted(network.state_dict().items()):
        state.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        state.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return state.hexdigest()


def describe_folder(
    network: MatchingNetwork,
    folder: str | Path,
    *,
    known: Gallery | None = None,
    batch: int = 64,
    device: str = "cpu",
    progress: Progress | None = None,
    domain: int = 0,
) -> Described:
    """Features of all images of a folder and the folders below it.

    Args:
        network: makes the features.
        folder: of the images.
        known: features made earlier by the same network: images with the same name, size and time of change are not
            described again.
        batch: images shown to the network at once.
        device: where the network computes.
        progress: told how many of the images that had to be read are done.
        domain: 0 for images of the source, as a gallery is, 1 for the target's, as queries are.

    Raises:
        UsageError: if there is no such folder or no image in it.
        WorkError: if none of the images can be read, or a feature is not finite.
    """
    paths = list_images(folder)
    names = [path.relative_to(folder).as_posix() for path in paths]
    places = {} if known is None else {name: place for place, name in enumerate(known.names)}
    rows: dict[int, Tensor] = {}
    stamps: dict[int, tuple[int, int]] = {}
    broken: dict[int, BrokenImage] = {}
    fresh = []
    for number, (path, name) in enumerate(zip(paths, names, strict=True)):
        try:
            facts = path.stat()
        except OSError as error:
            broken[number] = BrokenImage(name, error.strerror or str(error))
            continue
        stamps[number] = (facts.st_size, facts.st_mtime_ns)
        place = places.get(name)
        if known is not None and place is not None and tuple(known.stamps[place].tolist()) == stamps[number]:
            rows[number] = known.embeddings[place]
        else:
            fresh.append(number)

    def read(number: int) -> Tensor | BrokenImage:
        try:
            return resized(read_image(paths[number], names[number]), network.config.size)
        except BrokenImage as error:
            return error

    with ThreadPoolExecutor(_THREADS) as pool:
        for first in range(0, len(fresh), batch):
            numbers = fresh[first : first + batch]
            good = []
            for number, image in zip(numbers, pool.map(read, numbers), strict=True):
                if isinstance(image, BrokenImage):
                    broken[number] = image
                else:
                    good.append((number, image))
            if good:
                features = embed(network, torch.stack([image for _, image in good]), batch, device, domain=domain).cpu()
                rows.update(zip((number for number, _ in good), features, strict=True))
            if progress is not None:
                progress(min(first + batch, len(fresh)), len(fresh))
    if not rows:
        raise WorkError(f"{folder}: none of the {len(paths)} images can be read; the first: {broken[min(broken)]}")
    kept = sorted(rows)
    gallery = Gallery(
        embeddings=torch.stack([rows[number] for number in kept]),
        names=tuple(names[number] for number in kept),
        folder=os.path.abspath(folder),
        network=network_digest(network),
        stamps=torch.tensor([stamps[number] for number in kept], dtype=torch.int64),
    )
    return Described(gallery, tuple(broken[number] for number in sorted(broken)))


def open_gallery(
    network: MatchingNetwork,
    gallery: str | Path,
    *,
    index: str | Path | None = None,
    batch: int = 64,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Described:
    """A gallery from a folder of images or from an index that was made of one.

    Args:
        network: makes the features.
        gallery: folder of images, or the ``.npz`` file of an index, which is used as it is.
        index: with a folder: where its index is kept. If it is there, only images that are new or have changed are
            described, and those that are gone are left out; it is written again if anything changed.
        batch: images shown to the network at once.
        device: where the network computes.
        progress: told how many of the images that had to be read are done.

    Raises:
        UsageError: if there is no image, the index is damaged or of another network, or two indices are named.
        WorkError: if no image can be read, or the index cannot be written.
    """
    gallery = Path(gallery)
    if gallery.suffix == ".npz" and not gallery.is_dir():
        if index is not None:
            raise UsageError(f"{gallery}: is an index already; leave out the index {index}")
        found = load_gallery(gallery)
        _check_network(gallery, found, network)
        return Described(found, ())
    known = None
    if index is not None and Path(index).exists():
        known = load_gallery(index)
        _check_network(index, known, network)
    described = describe_folder(network, gallery, known=known, batch=batch, device=device, progress=progress)
    if index is not None and not _same(known, described.gallery):
        save_gallery(index, described.gallery)
    return described


def match(
    queries: Gallery,
    gallery: Gallery,
    k: int,
    *,
    references: tuple[Tensor, Tensor, Tensor] | None = None,
    decision: Decision = "largest",
    engine: Engine = "auto",
    device: str = "cpu",
) -> list[Match]:
    """The ``k`` nearest images of the gallery for every query.

    A file that is a query and in the gallery is not its own match.

    Args:
        queries: features of the queries.
        gallery: features of the gallery, of the same network.
        k: matches a query; fewer where the gallery holds fewer.
        references: the checkpoint's embeddings of source, pseudo inliers and pseudo outliers; None tells of no outlier.
        decision: the checkpoint's rule of when a query is an outlier.
        engine: what searches, see :func:`~outlier_matching.gallery.which_engine`.
        device: where torch searches.

    Raises:
        UsageError: if the features are of two networks, or the engine is not installed.
    """
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
    columns = zip(queries.names, found.indices.tolist(), found.distances.tolist(), own, strict=True)
    for number, (name, indices, distances, itself) in enumerate(columns):
        pairs = [pair for pair in zip(indices, distances, strict=True) if pair[0] != itself][:k]
        answer.append(
            Match(
                query=name,
                names=tuple(gallery.names[place] for place, _ in pairs),
                distances=tuple(distance for _, distance in pairs),
                outlier_probability=probability[number],
                outlier=outlier[number],
            )
        )
    return answer


def _check_network(path: str | Path, gallery: Gallery, network: MatchingNetwork) -> None:
    digest = network_digest(network)
    if gallery.network != digest:
        raise UsageError(
            f"{path}: was made by another network ({gallery.network[:12]}, this one is {digest[:12]}); remove it or name "
            "another file"
        )


def _same(known: Gallery | None, now: Gallery) -> bool:
    if known is None:
        return False
    return (known.names, known.folder) == (now.names, now.folder) and torch.equal(known.stamps, now.stamps)
