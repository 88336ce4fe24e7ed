"""Pictures and masks for training: scaled, cut out and mirrored at random, read by threads while the network learns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from weight_align.feeds import Batch, read_ahead
from weight_align.image_reading import resized
from weight_align.masks import IGNORED, MaskSet
from weight_align.normalisation import Normalisation
from weight_align.train_config import Recipe

__all__ = ["MaskFeed", "SegmentationConfig", "random_view"]


@dataclass(frozen=True)
class SegmentationConfig(Recipe):
    """Recipe of a segmentation. The defaults are the thesis's (section 5.4.4): 50 epochs at a batch of 4, learning rate 0.007
    with polynomial decay; what it leaves out is as in the release of DeepLabv3 in PyTorch that uses the same words (crops of
    513 pixels, scales from 0.5 to 2), but for its weight decay, 1e-4, where the thesis has 5e-4 in all experiments."""

    epochs: int = 50
    batch_size: int = 4
    learning_rate: float = 0.007
    schedule: Literal["step", "cosine", "poly"] = "poly"
    crop: int = 513
    """Height and width of what is cut out of a picture, pixels; what lies outside it is grey and counts for nothing."""
    zoom: tuple[float, ...] = (0.5, 2.0)
    """Pictures are scaled by a random factor between these two."""
    normalisation: Literal["imagenet", "data"] = "imagenet"
    """Mean and deviation of the colours: ImageNet's, or of the pictures trained on, which must lie in memory."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.crop < 16:
            raise ValueError(f"crop must be 16 pixels or more, got {self.crop}")
        if len(self.zoom) != 2 or not 0 < self.zoom[0] <= self.zoom[1]:
            raise ValueError(f"zoom must be two rising factors above 0, such as [0.5,2.0], got {self.zoom}")
        if self.normalisation not in ("imagenet", "data"):
            raise ValueError(f"normalisation must be one of imagenet, data, got {self.normalisation!r}")


class MaskFeed:
    """Random views of pictures.

    Args:
        images: pictures and masks.
        config: batch size, crop, scales, mirroring and threads.
        normalisation: of the colours.
        device: where batches are wanted.
    """

    def __init__(
        self, images: MaskSet, config: SegmentationConfig, normalisation: Normalisation, device: torch.device
    ) -> None:
        self._images, self._config, self._normalisation, self._device = images, config, normalisation, device
        self._grey = tuple(round(255 * value) for value in normalisation.mean)

    def __len__(self) -> int:
        return len(self._images) // self._config.batch_size

    def batches(self, epoch: int, first: int, last: int) -> Iterator[Batch]:
        """Pixels uint8 (B, 3, crop, crop) and classes uint8 (B, crop, crop)."""

        def one(index: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
            image, mask = self._images.pair(index)
            return random_view(image, mask, self._config, self._grey, rng)

        config = self._config
        return read_ahead(one, len(self._images), config.seed, epoch, range(first, last), config, self._device)

    def prepare(self, *batch: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised pictures float32 (B, 3, crop, crop), in ``channels_last`` order, and classes int64 (B, crop, crop)."""
        images, masks = batch
        return self._normalisation.apply(images.contiguous(memory_format=torch.channels_last)), masks.long()


def random_view(
    image: Tensor, mask: Tensor, config: SegmentationConfig, grey: tuple[int, ...], rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """A picture and its mask scaled, padded, cut out and mirrored alike.

    Args:
        image: uint8 (3, H, W).
        mask: uint8 (H, W).
        config: crop, zoom and flip.
        grey: colour of what lies outside the picture.
        rng: source of chance.

    Returns:
        uint8 (3, crop, crop) and (crop, crop), 255 outside the picture.
    """
    side = config.crop
    factor = rng.uniform(config.zoom[0], config.zoom[1])
    height, width = (max(1, round(length * factor)) for length in mask.shape)
    image = resized(image, height, width)
    rows = torch.arange(height) * mask.shape[0] // height
    columns = torch.arange(width) * mask.shape[1] // width
    mask = mask[rows[:, None], columns]  # classes are not mixed
    below, beside = max(0, side - height), max(0, side - width)
    if below or beside:
        image = torch.stack(
            [pad(plane, (0, beside, 0, below), value=value) for plane, value in zip(image, grey, strict=True)]
        )
        mask = pad(mask, (0, beside, 0, below), value=IGNORED)
    top, left = (int(rng.integers(length - side + 1)) for length in mask.shape)
    image, mask = image[:, top : top + side, left : left + side], mask[top : top + side, left : left + side]
    if config.flip and rng.random() < 0.5:
        image, mask = image.flip(-1), mask.flip(-1)
    return image, mask
