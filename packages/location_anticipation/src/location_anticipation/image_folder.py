"""The frames of a video as a folder of image files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from location_anticipation.errors import UsageError

__all__ = ["IMAGE_SUFFIXES", "ImageFolder", "natural_order"]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm")
_WIDE_MODES = ("I", "F")  # 16 and 32 bits a pixel, which Pillow would cut off at 255
_ORIENTATION = 0x0112  # Exif tag; 5 to 8 are those with a quarter turn


def natural_order(name: str) -> list[tuple[bool, int, str]]:
    """Sort key by which ``frame10`` comes after ``frame9``: runs of digits count as numbers."""
    parts = re.findall(r"\d+|\D+", name.casefold())
    return [(not part[0].isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


class ImageFolder:
    """One frame to an image file, in natural order of the names; hidden and other files are passed over.

    Iterating gives paths: an image is decoded when its pixels are asked for, so that of the frames between keyframes
    nothing is read but the header.

    Attributes: as :class:`~location_anticipation.video_reader.VideoReader`; ``rate`` is None.

    Raises:
        UsageError: if there is no image in the folder, or one is not readable or has another size than the first.
    """

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        self.label = str(folder)
        self.name = folder.resolve().name
        self.rate: Fraction | None = None
        self.pixel_aspect = Fraction(1)
        self.damage: str | None = None
        files = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.name[0] != "."]
        if not files:
            raise UsageError(f"{folder}: no images in this folder (expected {', '.join(IMAGE_SUFFIXES)})")
        self._files = sorted(files, key=lambda path: (natural_order(path.name), path.name))
        self.frame_count: int | None = len(self._files)
        self.width, self.height = _upright_size(self._files[0])
        for path in self._files[1:]:
            size = _upright_size(path)
            if size != (self.width, self.height):
                raise UsageError(
                    f"{path}: is {size[0]}x{size[1]}, but {self._files[0].name} is {self.width}x{self.height}: "
                    "the frames of a video must be of one size"
                )

    def __iter__(self) -> Iterator[Path]:
        return iter(self._files)

    def rgb(self, frame: Path) -> NDArray[np.uint8]:
        """The pixels of an image, (H, W, 3) uint8 RGB, upright.

        Raises:
            UsageError: if the file is damaged or no longer has the size it had.
        """
        try:
            with Image.open(frame) as image:
                pixels = np.array(ImageOps.exif_transpose(image).convert("RGB"))
        except (OSError, SyntaxError, ValueError) as error:  # what Pillow's readers raise for broken files
            raise UsageError(f"{frame}: not a readable image ({error})") from error
        if pixels.shape != (self.height, self.width, 3):
            size = f"{pixels.shape[1]}x{pixels.shape[0]}"
            raise UsageError(f"{frame}: is {size}, its header said {self.width}x{self.height}")
        return pixels

    def file_name(self, index: int) -> str:
        """Name of a frame's file in the folder."""
        return self._files[index].name


def _upright_size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path) as image:
            mode, (width, height) = image.mode, image.size
            # Pillow would decode a whole PNG in search of a mark that is not at its start.
            marked = image.format != "PNG" or "exif" in image.info
            turned = marked and image.getexif().get(_ORIENTATION, 1) >= 5
    except (OSError, SyntaxError, ValueError) as error:
        raise UsageError(f"{path}: not a readable image ({error})") from error
    if mode.startswith(_WIDE_MODES):
        raise UsageError(f"{path}: has pixels of type {mode!r}, expected 8 bits for each colour")
    return (height, width) if turned else (width, height)
