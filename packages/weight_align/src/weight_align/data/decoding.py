"""Image files as tensors: one, or very many at once."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from efficiency_core.errors import UsageError
from efficiency_core.readers import images, mapped

_AT_ONCE = 256


def read_image(path: str | Path, name: str | None = None) -> Tensor:
    """Pixels of an image file, upright RGB, uint8 (3, H, W), as :func:`efficiency_core.readers.images.read_image` decodes them.
    Raises BrokenFile if the file cannot be read. ``name``: name of the image for errors; its path by default."""
    return torch.from_numpy(images.read_image(path, name)).permute(2, 0, 1).contiguous()


def resized(pixels: Tensor, height: int, width: int) -> Tensor:
    """uint8 (..., 3, H, W) as (..., 3, height, width), bilinear and antialiased."""
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2.functional import resize

    if pixels.shape[-2:] == (height, width):
        return pixels
    return resize(pixels, [height, width], interpolation=InterpolationMode.BILINEAR, antialias=True)


def read_all(root: str | Path, names: Sequence[str], size: int | None = None) -> Tensor:
    """Many files as one tensor, uint8 (N, 3, H, W), decoded by one thread per core. Raises UsageError if the images
    differ in size and ``size`` is None; BrokenFile if an image cannot be read. ``names``: the files, relative to it.
    ``size``: height and width that every image is resized to; None: all images must have one size."""
    first = read_image(f"{root}/{names[0]}", names[0])
    shape = tuple(first.shape) if size is None else (3, size, size)
    whole = torch.empty(len(names), *shape, dtype=torch.uint8)

    def fill(start: int) -> None:
        for place in range(start, min(start + _AT_ONCE, len(names))):
            image = read_image(f"{root}/{names[place]}", names[place])
            image = image if size is None else resized(image, size, size)
            if image.shape != shape:
                raise UsageError(
                    f"{names[place]} is {image.shape[2]} x {image.shape[1]} pixels, {names[0]} {shape[2]} x {shape[1]}; "
                    "the option size resizes every image"
                )
            whole[place] = image

    for _ in mapped(fill, range(0, len(names), _AT_ONCE), os.cpu_count() or 1):
        pass
    return whole
