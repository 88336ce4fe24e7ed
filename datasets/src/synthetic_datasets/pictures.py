"""Picture files as RGB pixels, whatever they hold: grey, palettes, transparency, CMYK, 16 bits."""

import hashlib
import io
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from .errors import InputError

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""What the name of a picture ends with, in small or capital letters."""
TRANSLATED = ("AtoB_", "BtoA_")
"""What the name of a translated picture begins with: never read as material, or a second run would repaint the first's."""


def find_pictures(folder: Path) -> list[Path]:
    """Picture files in a folder and those below it, sorted; hidden and translated ones are left out.

    A file that two paths lead to (a link, or a folder linked twice) is one picture: the first path counts.

    Raises:
        InputError: there is no such folder, or no picture in it.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "no such folder"
        raise InputError(f"{folder}: {what}; expected a folder of pictures")
    first: dict[Path, Path] = {}
    for path in sorted(_files_below(folder)):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in SUFFIXES and not hidden and not path.name.startswith(TRANSLATED) and path.is_file():
            first.setdefault(path.resolve(), path)
    if not first:
        raise InputError(f"{folder}: holds no picture ({' '.join(SUFFIXES)})")
    return list(first.values())


def _files_below(folder: Path) -> Iterator[Path]:
    """Every file of a folder, through links to folders too; a folder that leads back to one above it is not entered again."""
    seen: set[Path] = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        here = Path(parent)
        seen.add(here.resolve())
        folders[:] = [name for name in folders if (here / name).resolve() not in seen]
        yield from (here / name for name in names)


def read_picture(path: Path) -> tuple[Image.Image, str]:
    """A picture as RGB, upright, and the SHA-256 of the bytes it was decoded from.

    The file is read once: digest and pixels belong to the same bytes, whoever writes to the path meanwhile. Grey
    pictures get three equal channels, 16-bit ones keep their upper eight bits, transparent pixels lie on white, CMYK is
    converted without a colour profile.

    Raises:
        InputError: the file is missing, no picture, cut short, or larger than Pillow takes for sane.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    try:
        with Image.open(io.BytesIO(data)) as file:
            return _rgb(ImageOps.exif_transpose(file)), hashlib.sha256(data).hexdigest()
    # A damaged file can raise any of these from inside a decoder, and a bomb its own.
    except (
        OSError, ValueError, SyntaxError, IndexError, TypeError, EOFError, OverflowError, struct.error,
        Image.DecompressionBombError,
    ) as error:  # fmt: skip
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{path}: not a picture that can be decoded ({why})") from error


def scaled(image: Image.Image, size: tuple[int, int]) -> NDArray[np.uint8]:
    """(height, width, 3) of a picture resized to ``size`` (height, width) whatever its shape, as CycleGAN does; bicubic."""
    height, width = size
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    return np.array(image)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        # Pillow's own conversion clips at 255, which makes nearly every 16-bit picture white.
        grey = np.asarray(image).astype(np.int64)
        image = Image.fromarray((np.clip(grey, 0, 65535) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return image.convert("RGB")
