"""Image files as RGB pixels: one, or very many at once.

JPEG is decoded by torchvision, which takes half of Pillow's time for small images and gives the same bytes; anything else
by Pillow.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from struct import error as StructError
from typing import TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from weight_align.errors import BrokenImage, UsageError

__all__ = ["IMAGE_SUFFIXES", "list_images", "mapped", "read_all", "read_image", "resized"]

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""What the name of an image ends with, in small or capital letters."""
_JPEG = b"\xff\xd8\xff"
_AT_ONCE = 256
In = TypeVar("In")
Out = TypeVar("Out")


def read_image(path: str | Path, name: str | None = None) -> Tensor:
    """Pixels of an image file, upright, in RGB: uint8 (3, H, W).

    Args:
        path: the file.
        name: what an error calls it; its path by default.

    Raises:
        BrokenImage: if the file is missing, no image, or cut off.
    """
    name = str(path) if name is None else name
    try:
        with open(path, "rb") as opened:
            content = opened.read()
        if content.startswith(_JPEG):
            return _decoded_jpeg(content)
        with Image.open(path) as file:
            return torch.from_numpy(np.array(_rgb(ImageOps.exif_transpose(file)))).permute(2, 0, 1).contiguous()
    except FileNotFoundError as error:
        raise BrokenImage(name, "no such file") from error
    except UnidentifiedImageError as error:
        raise BrokenImage(name, "is no image that Pillow can read") from error
    # A damaged file can raise any of these from inside a decoder, and a bomb its own.
    except (
        OSError, ValueError, SyntaxError, IndexError, TypeError, EOFError, StructError, OverflowError, RuntimeError,
        Image.DecompressionBombError,
    ) as error:  # fmt: skip
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BrokenImage(name, f"cannot be decoded ({reason})") from error


def _decoded_jpeg(content: bytes) -> Tensor:
    from torchvision.io import ImageReadMode, decode_jpeg

    data = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    pixels: Tensor = decode_jpeg(data, mode=ImageReadMode.RGB, apply_exif_orientation=True)
    return pixels


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        # Pillow's own conversion clips at 255, which makes nearly every 16-bit picture white.
        grey = np.asarray(image).astype(np.int64)
        image = Image.fromarray((np.clip(grey, 0, 65535) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return image.convert("RGB")


def list_images(root: str | Path, folder: str) -> list[str]:
    """Image files in ``root/folder`` and the folders below it, as names relative to ``root`` with ``/``, in their order;
    hidden ones are left out.

    Raises:
        UsageError: if there is no such folder, or no image in it.
    """
    below = Path(root) / folder
    if not below.is_dir():
        what = "is a file" if below.exists() else "no such folder"
        raise UsageError(f"{below}: {what}; expected a folder of images")
    found: list[str] = []
    for parent, folders, names in os.walk(below):
        folders[:] = [name for name in folders if not name.startswith(".")]  # os.walk goes into those that are left
        prefix = Path(parent).relative_to(root).as_posix()
        wanted = (name for name in names if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith("."))
        found += [f"{prefix}/{name}" for name in wanted]
    if not found:
        raise UsageError(f"{below}: holds no image ({', '.join(IMAGE_SUFFIXES)})")
    return sorted(found)


def resized(images: Tensor, height: int, width: int) -> Tensor:
    """uint8 (..., 3, H, W) as (..., 3, height, width), bilinear and antialiased."""
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2.functional import resize

    if images.shape[-2:] == (height, width):
        return images
    small: Tensor = resize(images, [height, width], interpolation=InterpolationMode.BILINEAR, antialias=True)
    return small


def read_all(root: str | Path, names: Sequence[str], size: int | None = None) -> Tensor:
    """Many files as one tensor, uint8 (N, 3, H, W), decoded by a thread a core.

    Args:
        root: a folder.
        names: the files, relative to it.
        size: height and width that every image is resized to; None: they must all be of one size.

    Raises:
        UsageError: if they differ in size and none is asked for.
        BrokenImage: if one of them cannot be read.
    """
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
                    "give the option size, which resizes every image"
                )
            whole[place] = image

    for _ in mapped(fill, range(0, len(names), _AT_ONCE), os.cpu_count() or 1):
        pass
    return whole


def mapped(make: Callable[[In], Out], items: Iterable[In], threads: int) -> Iterator[Out]:
    """``map(make, items)`` in order, made by threads that run a few items ahead."""
    if threads < 2:
        yield from map(make, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        coming = iter(items)
        waiting = [pool.submit(make, item) for item in islice(coming, 2 * threads)]
        while waiting:
            yield waiting.pop(0).result()
            waiting += [pool.submit(make, item) for item in islice(coming, 1)]
