"""Random crops (after padding by 4 black pixels), mirroring and erasing of whole batches on the device, as Random Erasing
(Zhong et al., arXiv:1708.04896) for CIFAR, which the thesis follows (section 5.4.2). All random numbers of an epoch are
drawn on the CPU from (seed, epoch) alone, so that a continued training, or one on another device, uses the same images."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

COLUMNS = 8
"""Columns of a plan: image, top, left, mirrored, and top, left, height and width of the erased rectangle."""
_AREA, _RATIO = (0.02, 0.4), 0.3
_ATTEMPTS = 10


def generator(seed: int, *key: int) -> torch.Generator:
    """A generator of torch on the CPU from a seed and a key."""
    state = np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> 1))


def epoch_plan(
    count: int, seed: int, epoch: int, *, size: tuple[int, int], padding: int, flip: bool, erasing: float
) -> Tensor:
    """The augmentation of every image in an epoch: int64 (count, 8), rows in the order of training, see :data:`COLUMNS`.

    Args:
        epoch: from 0.
        size: height and width of the images in pixels.
        padding: pixels of padding on each side; crops start at 0 to twice that.
        flip: whether half of the images are mirrored.
        erasing: probability of an erased rectangle. Its area is 2 to 40 % of the image and its height 0.3 to 1/0.3 times its
            width; a rectangle that does not fit is drawn again."""
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
    """uint8 (N, 3, H, W) -> (N, H + 2 padding, W + 2 padding, 3) with a black border; :func:`crops` reads whole pixels."""
    return pad(images.permute(0, 2, 3, 1), (0, 0, padding, padding, padding, padding)).contiguous()


def crops(pixels: Tensor, rows: Tensor, size: tuple[int, int]) -> Tensor:
    """The images of some rows of a plan, cropped and mirrored in one read of their pixels. Returns uint8 (n, 3, H, W),
    in ``channels_last`` order.

    Args:
        pixels: uint8 (N, H', W', 3), from :func:`padded`.
        rows: int64 (n, 8), on the same device.
        size: height and width to cut out."""
    height, width = size
    across = torch.arange(width, device=rows.device)
    y = rows[:, 1:2] + torch.arange(height, device=rows.device)
    x = rows[:, 2:3] + torch.where(rows[:, 3:4] == 1, width - 1 - across, across)
    lines = rows[:, 0:1] * pixels.shape[1] + y
    places = lines[:, :, None] * pixels.shape[2] + x[:, None, :]
    flat = pixels.view(-1, 3).index_select(0, places.flatten())
    return flat.view(len(rows), height, width, 3).permute(0, 3, 1, 2)


def erase(images: Tensor, rows: Tensor) -> Tensor:
    """Set the rectangles of some rows of a plan to zero, the mean colour of normalised images, in place. The authors'
    code of Random Erasing sets them to the means of pixels between 0 and 1, but after normalisation. ``images``: float
    (n, 3, H, W); ``rows``: int64 (n, 8)."""
    top, left, height, width = (column[:, None] for column in rows[:, 4:].unbind(1))
    y = torch.arange(images.shape[2], device=rows.device)
    x = torch.arange(images.shape[3], device=rows.device)
    down, across = (y >= top) & (y < top + height), (x >= left) & (x < left + width)
    return images.masked_fill_((down[:, :, None] & across[:, None, :])[:, None], 0.0)
