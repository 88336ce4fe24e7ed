"""Labelled images that lie in memory whole, as one tensor: what CIFAR and everything else of its size is read into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import torch
from torch import Tensor

from weight_align.errors import UsageError
from weight_align.facts import Facts

__all__ = ["ImageTensor", "first_of_each_class", "pixel_digest"]


@dataclass(frozen=True, eq=False)
class ImageTensor:
    """N images of one size with a class each.

    Raises:
        UsageError: if there is no image, a label names no class, or the shapes or types are others.
    """

    images: Tensor
    """uint8 (N, 3, H, W)."""
    labels: Tensor
    """int64 (N,), each from 0 to the number of classes less 1."""
    facts: Facts

    def __post_init__(self) -> None:
        shape, name = tuple(self.images.shape), self.facts.name
        if self.images.dtype != torch.uint8 or len(shape) != 4 or shape[1] != 3:
            raise UsageError(f"{name}: expected images uint8 (N, 3, H, W), got {self.images.dtype} {shape}")
        if 0 in shape:
            raise UsageError(f"{name}: has no image")
        if self.labels.dtype != torch.int64 or self.labels.shape != shape[:1]:
            raise UsageError(
                f"{name}: expected labels int64 ({shape[0]},), got {self.labels.dtype} {tuple(self.labels.shape)}"
            )
        classes = len(self.facts.class_names)
        wrong = ((self.labels < 0) | (self.labels >= classes)).nonzero().flatten()
        if len(wrong):
            first = int(wrong[0])
            raise UsageError(f"{name}: image {first} has label {int(self.labels[first])}, expected 0 to {classes - 1}")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return int(self.images.shape[2]), int(self.images.shape[3])

    def chosen(self, indices: Tensor) -> ImageTensor:
        """The images of some indices, int64 (n,), in their order."""
        state = sha256(f"{self.facts.content_digest}\n".encode() + indices.numpy().astype("<i8").tobytes())
        facts = replace(self.facts, content_digest=state.hexdigest())
        return ImageTensor(self.images[indices], self.labels[indices], facts)


def pixel_digest(images: Tensor, labels: Tensor, class_names: Sequence[str]) -> str:
    """SHA-256 over shape, pixels, labels and class names: the same wherever and from whichever files they were read."""
    state = sha256("\n".join([str(tuple(images.shape)), *class_names, ""]).encode())
    state.update(labels.numpy().astype("<i8").tobytes())
    state.update(images.contiguous().numpy().data)
    return state.hexdigest()


def first_of_each_class(labels: Tensor, count: int, classes: int) -> Tensor:
    """Indices, rising, of ``count`` images: the first of each class, equally many of each (the first classes one more
    where ``count`` does not divide), so that a smaller count takes a part of what a larger one does.

    Args:
        labels: int64 (N,).
        count: how many images.
        classes: how many classes there are.

    Raises:
        UsageError: if a class has fewer images than its share.
    """
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
