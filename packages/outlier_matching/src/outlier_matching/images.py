"""Image files as RGB pixels, whatever they hold: grey, palettes, transparency, CMYK, 16 bits."""

from __future__ import annotations

from pathlib import Path
from struct import error as StructError

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import resize

from outlier_matching.errors import BrokenImage, UsageError

__all__ = ["IMAGE_SUFFIXES", "list_images", "read_image", "resized"]

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""What the name of an image ends with, in small or capital letters."""


def read_image(path: str | Path, name: str | None = None) -> Tensor:
    """Pixels of an image file, upright.

    Grey images get three equal channels, 16-bit ones keep their upper eight bits, transparent pixels lie on white, CMYK
    is converted without a colour profile, and an animation shows its first picture.

    Args:
        path: the file.
        name: what an error calls it; its path by default.

    Returns:
        uint8 (3, H, W).

    Raises:
        BrokenImage: if the file is missing, no image, cut off, or larger than Pillow takes for sane.
    """
    name = str(path) if name is None else name
    try:
        with Image.open(path) as file:
            pixels = np.array(_rgb(ImageOps.exif_transpose(file)))
    except FileNotFoundError as error:
        raise BrokenImage(name, "no such file") from error
    except UnidentifiedImageError as error:
        raise BrokenImage(name, "is no image that Pillow can read") from error
    # A damaged file can raise any of these from inside a decoder, and a bomb its own.
    except (
        OSError, ValueError, SyntaxError, IndexError, TypeError, EOFError, StructError, OverflowError,
        Image.DecompressionBombError,
    ) as error:  # fmt: skip
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BrokenImage(name, f"cannot be decoded ({reason})") from error
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        # Pillow's own conversion clips at 255, which makes nearly every 16-bit picture white.
        grey = np.asarray(image).astype(np.int64)
        image = Image.fromarray((np.clip(grey, 0, 65535) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return image.convert("RGB")


def list_images(folder: str | Path) -> list[Path]:
    """Image files in a folder and the folders below it, in order of their paths; hidden ones are left out.

    Raises:
        UsageError: if there is no such folder, or no image in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "no such folder"
        raise UsageError(f"{folder}: {what}; expected a folder of images")
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )
    if not found:
        raise UsageError(f"{folder}: holds no image ({', '.join(IMAGE_SUFFIXES)})")
    return found


def resized(images: Tensor, size: int) -> Tensor:
    """uint8 (..., 3, H, W) as (..., 3, size, size): a plain resize to a square as in the author's release, antialiased."""
    if images.shape[-2:] == (size, size):
        return images
    small: Tensor = resize(images, [size, size], interpolation=InterpolationMode.BILINEAR, antialias=True)
    return small
