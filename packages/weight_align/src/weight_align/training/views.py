"""Batches of pictures and masks, scaled, cropped and mirrored at random."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from efficiency_core.loop import Accelerator
from weight_align.data import IGNORED, MaskSet, resized
from weight_align.training.batches import ReadBatches
from weight_align.training.config import SegmentationConfig
from weight_align.training.normalisation import Normalisation


class MaskBatches(ReadBatches):
    """Random views of the first ``count`` pictures, and the classes (B, crop, crop) of their pixels."""

    def __init__(
        self, images: MaskSet, count: int, config: SegmentationConfig, normalisation: Normalisation,
        accelerator: Accelerator,
    ) -> None:  # fmt: skip
        super().__init__(count, config, normalisation, accelerator)
        self._images, self._config = images, config
        self._grey = tuple(round(255 * value) for value in normalisation.mean)

    def one(self, index: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        return random_view(*self._images.pair(index), self._config, self._grey, rng)


def random_view(
    image: Tensor, mask: Tensor, config: SegmentationConfig, grey: tuple[int, ...], rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """A picture and its mask, scaled, padded, cropped and mirrored in the same way. Returns uint8 (3, crop, crop) and
    (crop, crop), 255 outside the picture.

    Args:
        image: uint8 (3, H, W).
        mask: uint8 (H, W).
        grey: colour of positions outside the picture."""
    side = config.crop
    factor = rng.uniform(config.zoom[0], config.zoom[1])
    height, width = (max(1, round(length * factor)) for length in mask.shape)
    image = resized(image, height, width)
    rows = torch.arange(height) * mask.shape[0] // height
    columns = torch.arange(width) * mask.shape[1] // width
    mask = mask[rows[:, None], columns]  # nearest, since classes cannot be averaged
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
