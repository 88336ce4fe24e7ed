"""Labelled images of several domains, whatever data set they come from: what training and evaluation read."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from outlier_matching.errors import UsageError
from outlier_matching.facts import Facts
from outlier_matching.image_files import open_image_file
from outlier_matching.image_tree import open_tree
from outlier_matching.images import resized
from outlier_matching.office31 import open_office31
from outlier_matching.pittsburgh_sets import open_pittsburgh

__all__ = ["FORMATS", "Facts", "ImageSet", "Selection", "open_images", "pixels", "select", "stack"]


class ImageSet(Protocol):
    """Images of one or more domains, S of them, each with its own size."""

    @property
    def facts(self) -> Facts:
        """What the set says about itself."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """(S,) class of every image, -1 where it has none. Images match if they have the same class."""

    @property
    def domains(self) -> NDArray[np.int64]:
        """(S,) domain of every image."""

    @property
    def outliers(self) -> NDArray[np.bool_]:
        """(S,) whether the image belongs to nothing that the source domain shows."""

    def __len__(self) -> int:
        """S."""

    def name(self, image: int, /) -> str:
        """Name of an image, the same on every machine."""

    def image(self, image: int, /) -> Tensor:
        """Its pixels, uint8 (3, H, W).

        Raises:
            BrokenImage: if they cannot be read.
        """


FORMATS: dict[str, Callable[..., ImageSet]] = {
    "image-set": open_image_file,
    "office31": open_office31,
    "pittsburgh": open_pittsburgh,
    "folder": open_tree,
}
"""Name of a format -> the function that opens it; options are the function's keyword arguments."""


def open_images(path: str | Path, format: str, split: str, **options: str) -> ImageSet:
    """Open one split of a data set.

    Args:
        path: its folder or file.
        format: one of :data:`FORMATS`; the function behind it documents the layout.
        split: ``train`` or ``test``, or ``all`` where images lie in files of their own.
        options: of the format, as text.

    Raises:
        UsageError: if the format or an option is unknown, or the data cannot be used.
    """
    if format not in FORMATS:
        raise UsageError(f"format must be one of {', '.join(FORMATS)}, got {format!r}")
    opener = FORMATS[format]
    known = [
        name for name, option in inspect.signature(opener).parameters.items() if option.kind is option.KEYWORD_ONLY
    ]
    for name in options:
        if name not in known:
            raise UsageError(f"format {format} has no option {name!r}; it has {', '.join(known) or 'none'}")
    return opener(path, split, **options)


class Selection:
    """Some images of a set, as a set.

    Attributes:
        indices: int64 (S,) where each image stands in the set it was chosen from.
    """

    def __init__(self, images: ImageSet, indices: NDArray[np.int64]) -> None:
        self._images = images
        self.indices = indices
        digest = sha256(f"{images.facts.content_digest}\n".encode() + indices.astype("<i8").tobytes())
        self.facts = replace(images.facts, content_digest=digest.hexdigest())
        self.labels = images.labels[indices]
        self.domains = images.domains[indices]
        self.outliers = images.outliers[indices]

    def __len__(self) -> int:
        return len(self.indices)

    def name(self, image: int) -> str:
        """Its name in the set it was chosen from."""
        return self._images.name(int(self.indices[image]))

    def image(self, image: int) -> Tensor:
        """uint8 (3, H, W)."""
        return self._images.image(int(self.indices[image]))


def select(
    images: ImageSet,
    *,
    domain: int | str | None = None,
    outliers: bool | None = None,
    indices: Sequence[int] | NDArray[np.integer[Any]] | None = None,
) -> Selection:
    """The images of one domain, only outliers or only inliers, those of some indices, or what meets all of these.

    Args:
        images: the set.
        domain: number or name of a domain; None takes every one.
        outliers: True takes only outliers, False only inliers.
        indices: numbers of images, in the order wanted.

    Raises:
        UsageError: if the set has no such domain, or no image meets the request.
    """
    names = images.facts.domain_names
    if isinstance(domain, str):
        if domain not in names and not (domain.isdigit() and int(domain) < len(names)):
            raise UsageError(f"{images.facts.name} has no domain {domain!r}; it has {', '.join(names)}")
        domain = names.index(domain) if domain in names else int(domain)
    if domain is not None and not 0 <= domain < len(names):
        raise UsageError(f"{images.facts.name} has no domain {domain}; it has 0 to {len(names) - 1}")
    chosen = np.arange(len(images)) if indices is None else np.asarray(indices, dtype=np.int64)
    if domain is not None:
        chosen = chosen[images.domains[chosen] == domain]
    if outliers is not None:
        chosen = chosen[images.outliers[chosen] == outliers]
    if len(chosen) == 0:
        said = "" if domain is None else f" in domain {names[domain]}"
        said += "" if outliers is None else (" that is an outlier" if outliers else " that is no outlier")
        raise UsageError(f"{images.facts.name} has no image{said}")
    return Selection(images, chosen)


def pixels(images: ImageSet, indices: Sequence[int], size: int, threads: int = 4) -> Tensor:
    """Some images of a set, resized, uint8 (n, 3, size, size); decoders work in ``threads`` threads.

    Raises:
        BrokenImage: if one of them cannot be read.
    """
    batch = torch.empty(len(indices), 3, size, size, dtype=torch.uint8)
    for place, image in enumerate(_read(images, indices, size, threads)):
        batch[place] = image
    return batch


def stack(images: ImageSet, size: int, device: str | torch.device = "cpu", threads: int = 4) -> Tensor:
    """All images of a set, resized, as one tensor on ``device``: uint8 (S, 3, size, size).

    Raises:
        BrokenImage: if one of them cannot be read.
    """
    whole = torch.empty(len(images), 3, size, size, dtype=torch.uint8, device=device)
    for first in range(0, len(images), 256):
        part = range(first, min(first + 256, len(images)))
        whole[first : first + len(part)] = pixels(images, part, size, threads).to(device)
    return whole


def _read(images: ImageSet, indices: Sequence[int], size: int, threads: int) -> Iterator[Tensor]:
    def one(index: int) -> Tensor:
        return resized(images.image(int(index)), size)

    if threads < 2:
        yield from map(one, indices)
        return
    with ThreadPoolExecutor(threads) as pool:
        numbers = iter(indices)
        waiting = [pool.submit(one, index) for index in islice(numbers, 4 * threads)]
        while waiting:
            yield waiting.pop(0).result()
            waiting += [pool.submit(one, index) for index in islice(numbers, 1)]
