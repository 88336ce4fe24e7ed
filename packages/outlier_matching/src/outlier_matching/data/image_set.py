"""Labelled images of several domains, whatever data set they come from: the input of training and evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from efficiency_core.errors import UsageError


@dataclass(frozen=True)
class ImagesInfo:
    """Name, origin, classes and domains of a set of images."""

    name: str
    source: str
    """Where the images come from, or the name of their folder."""
    content_digest: str
    """Changes whenever names, labels, domains or outliers change. A training continues only on equal digests."""
    class_names: tuple[str, ...]
    """Label k, counted from 0, is ``class_names[k]``."""
    domain_names: tuple[str, ...]
    """Domain k is ``domain_names[k]``; 0 is the source if the data set defines one."""


class ImageSet(Protocol):
    """S images of one or more domains; sizes may differ."""

    @property
    def info(self) -> ImagesInfo:
        """Name, classes and domains."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """(S,): class of every image, -1 for none. Images match if they have the same class."""

    @property
    def domains(self) -> NDArray[np.int64]:
        """(S,): domain of every image."""

    @property
    def outliers(self) -> NDArray[np.bool_]:
        """(S,): whether the image matches no image of the source domain."""

    def __len__(self) -> int:
        """S."""

    def name(self, image: int, /) -> str:
        """Name of an image, the same on every machine."""

    def image(self, image: int, /) -> Tensor:
        """Pixels of an image, uint8 (3, H, W). Raises BrokenFile if they cannot be read."""


class Selection:
    """Some images of a set, as a set. ``indices``: int64 (S,), position of each image in the original set."""

    def __init__(self, images: ImageSet, indices: NDArray[np.int64]) -> None:
        self._images = images
        self.indices = indices
        digest = sha256(f"{images.info.content_digest}\n".encode() + indices.astype("<i8").tobytes())
        self.info = replace(images.info, content_digest=digest.hexdigest())
        self.labels = images.labels[indices]
        self.domains = images.domains[indices]
        self.outliers = images.outliers[indices]

    def __len__(self) -> int:
        return len(self.indices)

    def name(self, image: int) -> str:
        return self._images.name(int(self.indices[image]))

    def image(self, image: int) -> Tensor:
        return self._images.image(int(self.indices[image]))


def select(
    images: ImageSet, *, domain: int | str | None = None, outliers: bool | None = None,
    indices: Sequence[int] | NDArray[np.integer[Any]] | None = None,
) -> Selection:  # fmt: skip
    """The images that meet all conditions. Raises UsageError if there is no such domain, or no image that meets them.

    Args:
        domain: number or name of a domain; None takes all.
        outliers: True takes only outliers, False only inliers.
        indices: numbers of images, in the order wanted."""
    names = images.info.domain_names
    if isinstance(domain, str):
        if domain not in names and not (domain.isdigit() and int(domain) < len(names)):
            raise UsageError(f"{images.info.name} has no domain {domain!r}; it has {', '.join(names)}")
        domain = names.index(domain) if domain in names else int(domain)
    if domain is not None and not 0 <= domain < len(names):
        raise UsageError(f"{images.info.name} has no domain {domain}; it has 0 to {len(names) - 1}")
    chosen = np.arange(len(images)) if indices is None else np.asarray(indices, dtype=np.int64)
    if domain is not None:
        chosen = chosen[images.domains[chosen] == domain]
    if outliers is not None:
        chosen = chosen[images.outliers[chosen] == outliers]
    if len(chosen) == 0:
        said = "" if domain is None else f" in domain {names[domain]}"
        said += "" if outliers is None else (" that is an outlier" if outliers else " that is no outlier")
        raise UsageError(f"{images.info.name} has no image{said}")
    return Selection(images, chosen)
