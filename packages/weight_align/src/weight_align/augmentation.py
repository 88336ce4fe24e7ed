"""Random crops, mirror images and erasing, for whole batches at once where the images lie.

The recipe is that of Random Erasing (Zhong et al., arXiv:1708.04896) for CIFAR, which the thesis follows (section 5.4.2):
padding by 4 black pixels, a random crop of the old size, a mirror image with probability one half.

All that is random about an epoch is drawn before it, on the CPU, from (seed, epoch) alone: a training that is continued
goes on with the same images, and so does one on another device.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["COLUMNS", "crops", "epoch_plan", "erase", "generator", "padded"]

COLUMNS = 8
"""Numbers a row of a plan has: image, top, left, mirrored, and the erased rectangle's top, left, height and width."""
_AREA, _RATIO = (0.02, 0.4), 0.3
_ATTEMPTS = 10


def generator(seed: int, *key: int) -> torch.Generator:
    """torch's generator on the CPU for a seed and what it is for."""
    state = np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> 1))


def epoch_plan(
    count: int, seed: int, epoch: int, *, size: tuple[int, int], padding: int, flip: bool, erasing: float
) -> Tensor:
    """What happens to each image in an epoch: int64 (count, 8), rows in the order they are shown, see :data:`COLUMNS`.

    Args:
        count: images.
        seed: of the training.
        epoch: from 0.
        size: height and width of the images, pixels.
        padding: pixels by which they are padded; crops start at 0 to twice that.
        flip: whether half of them are mirrored.
        erasing: probability of a rectangle. Its area is 2 to 40 % of the image and its height 0.3 to 1/0.3 times its width;
            one that does not fit is drawn again.
    """
    draw = generator(seed, 0, epoch)
    plan = torch.zeros(count, COLUMNS, dtype=torch.int64)
    plan[:, 0] = torch.randperm(count, generator=draw)
    plan[:, 1:3] = torch.randint(0, 2 * padding + 1, (count, 2), generator=draw)
    if flip:
        plan[:, 3] = torch.randint(0, 2, (count,), generator=draw)
    if erasing > 0:
        plan[:, 4:] = _rectangles(count, size, erasing, draw)
    return plan


def _rectangles(count: int, size: tuple[int, int], probability: float, draw: torch.Generator) -> Tensor:
    area, ratio, top, left = torch.rand(4, count, _ATTEMPTS, generator=draw, dtype=torch.float64)
    wanted = torch.rand(count, generator=draw, dtype=torch.float64) < probability
    pixels = (_AREA[0] + area * (_AREA[1] - _AREA[0])) * size[0] * size[1]
    tall = _RATIO + ratio * (1 / _RATIO - _RATIO)
    height, width = (pixels * tall).sqrt().round(), (pixels / tall).sqrt().round()
    fits = (height < size[0]) & (width < size[1])
    first = fits.int().argmax(dim=1, keepdim=True)  # of equal values argmax takes the first
    top, left = top * (size[0] - height + 1), left * (size[1] - width + 1)
    boxes = torch.stack([part.gather(1, first)[:, 0] for part in (top, left, height, width)], dim=1).long()
    return boxes * (wanted & fits.any(dim=1))[:, None]


def padded(images: Tensor, padding: int) -> Tensor:
    """uint8 (N, 3, H, W) -> (N, H + 2 padding, W + 2 padding, 3) with a black border: pixels lie beside each other, as
    :func:`crops` fetches them."""
    return pad(images.permute(0, 2, 3, 1), (0, 0, padding, padding, padding, padding)).contiguous()


def crops(pixels: Tensor, rows: Tensor, size: tuple[int, int]) -> Tensor:
    """The images of some rows of a plan, cut out and mirrored by one read of the pixels that are wanted.

    Args:
        pixels: uint8 (N, H', W', 3), from :func:`padded`.
        rows: int64 (n, 8), on the same device.
        size: height and width to cut out.

    Returns:
        uint8 (n, 3, H, W), in ``channels_last`` order.
    """
    height, width = size
    across = torch.arange(width, device=rows.device)
    y = rows[:, 1:2] + torch.arange(height, device=rows.device)
    x = rows[:, 2:3] + torch.where(rows[:, 3:4] == 1, width - 1 - across, across)
    lines = rows[:, 0:1] * pixels.shape[1] + y
    places = lines[:, :, None] * pixels.shape[2] + x[:, None, :]
    flat = pixels.view(-1, 3).index_select(0, places.flatten())
    return flat.view(len(rows), height, width, 3).permute(0, 3, 1, 2)


def erase(images: Tensor, rows: Tensor) -> Tensor:
    """Set the rectangles of some rows of a plan to zero, the mean colour of normalised images, in place.

    The release of Random Erasing sets them to the means of pixels between 0 and 1 after it has normalised, which is no
    colour in particular.

    Args:
        images: float (n, 3, H, W).
        rows: int64 (n, 8).
    """
    top, left, height, width = (column[:, None] for column in rows[:, 4:].unbind(1))
    y = torch.arange(images.shape[2], device=rows.device)
    x = torch.arange(images.shape[3], device=rows.device)
    down, across = (y >= top) & (y < top + height), (x >= left) & (x < left + width)
    return images.masked_fill_((down[:, :, None] & across[:, None, :])[:, None], 0.0)
