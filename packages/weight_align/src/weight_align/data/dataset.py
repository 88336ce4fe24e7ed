"""Labelled images in memory, pictures with a class for every pixel, and what every data set states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Protocol

import torch
from torch import Tensor

from efficiency_core.errors import UsageError

IGNORED = 255
"""Class of pixels that neither training nor evaluation uses."""


@dataclass(frozen=True)
class DatasetInfo:
    """Name, identity and classes of a data set."""

    name: str
    """Name for messages and records."""
    content_digest: str
    """Changes when pixels, labels or classes change; a training continues only with the same data."""
    class_names: tuple[str, ...]
    """Label k, counted from 0, is ``class_names[k]``."""


@dataclass(frozen=True, eq=False)
class ImageTensor:
    """N images of one size, each with a class. Raises UsageError if there is no image, a label is out of range, or
    shapes or dtypes are wrong."""

    images: Tensor
    """uint8 (N, 3, H, W)."""
    labels: Tensor
    """int64 (N,), each from 0 to the number of classes less 1."""
    info: DatasetInfo
    """Name, digest and classes."""

    def __post_init__(self) -> None:
        shape, name = tuple(self.images.shape), self.info.name
        if self.images.dtype != torch.uint8 or len(shape) != 4 or shape[1] != 3:
            raise UsageError(f"{name}: expected images uint8 (N, 3, H, W), got {self.images.dtype} {shape}")
        if 0 in shape:
            raise UsageError(f"{name}: has no image")
        if self.labels.dtype != torch.int64 or self.labels.shape != shape[:1]:
            raise UsageError(
                f"{name}: expected labels int64 ({shape[0]},), got {self.labels.dtype} {tuple(self.labels.shape)}"
            )
        classes = len(self.info.class_names)
        wrong = ((self.labels < 0) | (self.labels >= classes)).nonzero().flatten()
        if len(wrong):
            first = int(wrong[0])
            raise UsageError(f"{name}: image {first} has label {int(self.labels[first])}, expected 0 to {classes - 1}")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return int(self.images.shape[2]), int(self.images.shape[3])

    def chosen(self, indices: Tensor) -> ImageTensor:
        """The images with these indices, int64 (n,), in their order."""
        info = replace(self.info, content_digest=chosen_digest(self.info, indices))
        return ImageTensor(self.images[indices], self.labels[indices], info)


def pixel_digest(images: Tensor, labels: Tensor, class_names: Sequence[str]) -> str:
    """SHA-256 over shape, pixels, labels and class names, which does not depend on the files they came from."""
    state = sha256("\n".join([str(tuple(images.shape)), *class_names, ""]).encode())
    state.update(labels.numpy().astype("<i8").tobytes())
    state.update(images.contiguous().numpy().data)
    return state.hexdigest()


def chosen_digest(info: DatasetInfo, indices: Tensor) -> str:
    """Digest of the images with these indices of a data set."""
    return sha256(f"{info.content_digest}\n".encode() + indices.numpy().astype("<i8").tobytes()).hexdigest()


def first_of_each_class(labels: Tensor, count: int, classes: int) -> Tensor:
    """Rising indices of ``count`` images: the first of each class, the same number of each. Where ``count`` does not
    divide by the number of classes, the first classes have one more. A smaller count gives a subset of a larger one.
    Raises UsageError if a class has too few images. ``labels``: int64 (N,)."""
    parts = []
    for label in range(classes):
        share = count // classes + (label < count % classes)
        of_class = (labels == label).nonzero().flatten()
        if len(of_class) < share:
            raise UsageError(
                f"{count} images of {classes} classes need {share} of class {label}, which has {len(of_class)}"
            )
        parts.append(of_class[:share])
    return torch.cat(parts).sort().values


class MaskSet(Protocol):
    """N pictures, each with its own size, and the class of each of their pixels."""

    @property
    def info(self) -> DatasetInfo:
        """Name, digest and classes."""

    def __len__(self) -> int:
        """N."""

    def pair(self, index: int, /) -> tuple[Tensor, Tensor]:
        """A picture, uint8 (3, H, W), and the class of each of its pixels, uint8 (H, W), 255 where it is ignored.
        Raises BrokenFile if they cannot be read."""


class MaskTensor:
    """Pictures uint8 (N, 3, H, W) of one size in memory, with masks uint8 (N, H, W). Raises UsageError if a pixel has
    an unknown class."""

    def __init__(self, images: Tensor, masks: Tensor, info: DatasetInfo) -> None:
        seen = torch.bincount(masks.flatten().int(), minlength=256).nonzero().flatten().tolist()
        odd = [label for label in seen if label >= len(info.class_names) and label != IGNORED]
        if odd:
            raise UsageError(f"{info.name}: pixels of class {odd[0]}, expected 0 to {len(info.class_names) - 1} or 255")
        self.images, self.masks, self.info = images, masks, info

    def __len__(self) -> int:
        return len(self.images)

    def pair(self, index: int) -> tuple[Tensor, Tensor]:
        """Picture and mask."""
        return self.images[index], self.masks[index]
