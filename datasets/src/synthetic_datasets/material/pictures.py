"""Picture files that are material: which there are, their pixels, and their pixels at another size."""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from efficiency_core.errors import BrokenFile, UsageError
from efficiency_core.readers import decode_image, list_images

TRANSLATED = ("AtoB_", "BtoA_")
"""What the name of a translated picture begins with: never read as material, or a second run would repaint the first's."""


def find_pictures(folder: Path) -> list[Path]:
    """Picture files in a folder and those below it, sorted; hidden and translated ones are left out. A file that two
    paths lead to (a link, or a folder linked twice) is one picture: the first path counts. Raises UsageError if there
    is no such folder, or no picture in it."""
    first: dict[Path, Path] = {}
    for path in list_images(folder):
        if not path.name.startswith(TRANSLATED) and path.is_file():
            first.setdefault(path.resolve(), path)
    if not first:
        raise UsageError(f"{folder}: holds no image but translated ones ({', '.join(TRANSLATED)})")
    return list(first.values())


def read_picture(path: Path) -> tuple[NDArray[np.uint8], str]:
    """A picture as uint8 (H, W, 3) RGB, upright (``efficiency_core.readers.images``), and the SHA-256 of the bytes it was
    decoded from. The file is read once: digest and pixels belong to the same bytes, whoever writes to the path
    meanwhile. Raises BrokenFile if the file is missing, no picture, cut short, or larger than Pillow takes for sane."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BrokenFile(str(path), f"cannot be read ({error.strerror or error})") from error
    return decode_image(content, str(path)), hashlib.sha256(content).hexdigest()


def scaled(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W, 3) resized to ``size`` (height, width) whatever its shape, as CycleGAN does; bicubic."""
    return np.array(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BICUBIC))
