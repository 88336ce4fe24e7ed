"""Pictures with a class for every pixel: what semantic segmentation reads."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from weight_align.errors import BrokenImage, UsageError
from weight_align.facts import Facts

__all__ = ["IGNORED", "MaskSet", "MaskTensor", "checked_pair"]

IGNORED = 255
"""Class of pixels that count for nothing."""


class MaskSet(Protocol):
    """N pictures, each with its own size, and the class of each of their pixels."""

    @property
    def facts(self) -> Facts:
        """What the set says about itself."""

    def __len__(self) -> int:
        """N."""

    def pair(self, index: int, /) -> tuple[Tensor, Tensor]:
        """A picture, uint8 (3, H, W), and the class of its pixels, uint8 (H, W), 255 where they count for nothing.

        Raises:
            BrokenImage: if they cannot be read.
        """


class MaskTensor:
    """Pictures of one size in memory.

    Args:
        images: uint8 (N, 3, H, W).
        masks: uint8 (N, H, W).
        facts: what the set says about itself.

    Raises:
        UsageError: if a pixel has a class that is not known.
    """

    def __init__(self, images: Tensor, masks: Tensor, facts: Facts) -> None:
        seen = torch.bincount(masks.flatten().int(), minlength=256).nonzero().flatten().tolist()
        odd = [label for label in seen if label >= len(facts.class_names) and label != IGNORED]
        if odd:
            raise UsageError(
                f"{facts.name}: pixels of class {odd[0]}, expected 0 to {len(facts.class_names) - 1} or 255"
            )
        self.images, self.masks, self.facts = images, masks, facts

    def __len__(self) -> int:
        return len(self.images)

    def pair(self, index: int) -> tuple[Tensor, Tensor]:
        """Picture and mask."""
        return self.images[index], self.masks[index]


def checked_pair(name: str, image: Tensor, mask: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """A picture and its mask as they came from files.

    Raises:
        BrokenImage: if they differ in size or a pixel has a class that is not known.
    """
    if image.shape[1:] != mask.shape:
        raise BrokenImage(name, f"is {tuple(image.shape[1:])} pixels, its mask {tuple(mask.shape)}")
    odd = mask[(mask >= classes) & (mask != IGNORED)]
    if len(odd):
        raise BrokenImage(name, f"its mask has class {int(odd[0])}, expected 0 to {classes - 1} or {IGNORED}")
    return image, mask
