"""Picture files as RGB pixels, and which picture files a folder holds. Pillow's JPEG pixels are those of torchvision."""

import io
import logging
import os
import re
import stat
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, TiffImagePlugin, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from efficiency_core.errors import BrokenFile, UsageError

IMAGE_SUFFIXES = (
    ".apng", ".avif", ".avifs", ".blp", ".bmp", ".bw", ".cur", ".dcx", ".dds", ".dib", ".fit", ".fits", ".flc",
    ".fli", ".ftc", ".ftu", ".gbr", ".gif", ".icb", ".icns", ".ico", ".iim", ".im", ".j2c", ".j2k", ".jfif", ".jp2",
    ".jpc", ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".mpo", ".msp", ".pbm", ".pcd", ".pcx", ".pfm", ".pgm", ".png",
    ".pnm", ".ppm", ".psd", ".pxr", ".qoi", ".ras", ".rgb", ".rgba", ".sgi", ".tga", ".tif", ".tiff", ".vda",
    ".vst", ".webp", ".xbm", ".xpm",
)  # fmt: skip
"""Endings of the names of image files that Pillow decodes without further programs, in small letters; names are compared
without regard to case."""
_DEPTHS = (8, 10, 12, 14)  # bits of a pixel that files of 16 bits or of floating point hold
_MAX_SAMPLE_VALUE = 281  # tag of TIFF
_SHOWN = 5  # endings in a warning
_log = logging.getLogger(__name__)


@contextmanager
def decoding(name: str) -> Iterator[None]:
    """Report everything that Pillow raises inside the block as :class:`BrokenFile` of the file ``name``."""
    try:
        yield
    except BrokenFile:
        raise
    except UnidentifiedImageError as error:
        raise BrokenFile(name, "is no image that Pillow can read") from error
    except Image.DecompressionBombError as error:
        size = str(error).partition(", could")[0]
        raise BrokenFile(name, f"is too large ({size}); make it smaller") from error
    except MemoryError as error:
        raise BrokenFile(name, "does not fit into memory; make it smaller") from error
    except Exception as error:  # a damaged file can raise nearly anything from inside a decoder
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BrokenFile(name, f"cannot be decoded ({reason})") from error


def read_image(path: str | Path, name: str | None = None) -> NDArray[np.uint8]:
    """Pixels and errors as of :func:`decode_image`; ``name`` is by default the path."""
    name = str(path) if name is None else name
    try:
        _check_kind(path, name)
        content = Path(path).read_bytes()
    except OSError as error:
        raise _unreadable(name, error) from error
    return decode_image(content, name)


def decode_image(content: bytes, name: str) -> NDArray[np.uint8]:
    """RGB pixels of an image file that is in memory, uint8 (H, W, 3).

    The image is turned upright by its EXIF orientation. Grey images get three equal channels. Transparent pixels are blended
    with white. CMYK is converted without a colour profile. An animation shows its first picture. Integers of 16 bits keep
    their upper eight bits. TIFF and floating point do not say what white is: it is 2^b - 1 for the smallest b of 8, 10, 12,
    14 and 16 (of floating point, also 1) that holds the largest pixel. A TIFF file may name a larger b (BitsPerSample,
    MaxSampleValue). Larger pixels are white; negative and not finite ones are black. ``name`` is what an error calls the file.

    Raises:
        BrokenFile: if the bytes are no image, cut off, damaged, or too large to be sane.
    """
    with decoding(name), Image.open(io.BytesIO(content)) as image:
        deep = _deep_colour(image)
        ImageOps.exif_transpose(image, in_place=True)
        pixels = np.array(_rgb(image))
        return _deepened(pixels, content) if deep else pixels


def image_size(path: str | Path, name: str | None = None) -> tuple[int, int]:
    """(height, width) of the upright image in pixels, from the header of the file; its pixels are not decoded.

    Raises:
        BrokenFile: if the file is missing, no image, or its header is damaged.
    """
    name = str(path) if name is None else name
    try:
        _check_kind(path, name)
        with open(path, "rb") as file, decoding(name), Image.open(file) as image:
            # Pillow would decode a whole PNG in search of an orientation that is not at its start.
            marked = image.format != "PNG" or "exif" in image.info
            turned = marked and image.getexif().get(ExifTags.Base.Orientation, 1) >= 5  # they contain a quarter turn
            width, height = image.size
            if isinstance(image, TiffImageFile):  # newer versions of Pillow have turned its size already
                width, height = image.tag_v2[ExifTags.Base.ImageWidth], image.tag_v2[ExifTags.Base.ImageLength]
            return (width, height) if turned else (height, width)
    except OSError as error:
        raise _unreadable(name, error) from error


def _check_kind(path: str | Path, name: str) -> None:
    """Refuse a pipe or a device, from which reading might wait for ever."""
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise BrokenFile(name, "is a pipe or a device, not a file")


def _unreadable(name: str, error: OSError) -> BrokenFile:
    missing = isinstance(error, FileNotFoundError)
    return BrokenFile(name, "no such file" if missing else f"cannot be read ({error.strerror or error})")


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode.startswith(("I", "F")):
        # Pillow's own conversion clips at 255, which makes nearly every 16-bit picture white.
        image = Image.fromarray(_eight_bits(image))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> NDArray[np.uint8]:
    values = np.asarray(image)
    if image.mode.startswith("F"):
        values = np.where(np.isfinite(values), values, 0.0)
        white = 2.0 ** _bits(values, image, (1, *_DEPTHS)) - 1
        return np.rint(np.clip(values / white, 0, 1) * 255).astype(np.uint8)
    bits = _bits(values, image) if isinstance(image, TiffImageFile) else 16
    return (np.clip(values.astype(np.int64), 0, 65535) >> (bits - 8)).astype(np.uint8)


def _bits(values: NDArray[Any], image: Image.Image, depths: Sequence[int] = _DEPTHS) -> int:
    """Bits b of the pixels, whose white is 2^b - 1, by the rule of :func:`decode_image`."""
    largest = values.max()
    if isinstance(image, TiffImageFile):
        each = int(np.max(image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, 16)))
        largest = max(largest, np.max(image.tag_v2.get(_MAX_SAMPLE_VALUE, 0)), 2**each - 1 if each < 16 else 0)
    return next((bits for bits in depths if largest < 2**bits), 16)


def _deep_colour(image: Image.Image) -> bool:
    """Whether a picture not yet decoded is a colour TIFF of 16 bits. Pillow decodes the upper eight."""
    tiles: list[Any] = image.tile if isinstance(image, TiffImageFile) else []
    return any(tile[3][0][:-1] in ("RGB;16", "RGBX;16") for tile in tiles)


def _deepened(upper: NDArray[np.uint8], content: bytes) -> NDArray[np.uint8]:
    """A colour TIFF of 16 bits with the white of :func:`decode_image`; ``upper``: the upper eight bits of its pixels."""
    if upper.max() >= 2 ** (_DEPTHS[-1] - 8):
        return upper
    swapped = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
    # Read in the other order of bytes, the lower eight bits take the place of the upper eight.
    with Image.open(io.BytesIO(content)) as image:
        tiles: list[Any] = image.tile
        for place, (codec, extents, offset, (raw, *more)) in enumerate(tiles):
            tile = codec, extents, offset, (raw[:-1] + swapped[raw[-1]], *more)
            tiles[place] = getattr(type(tiles[place]), "_make", tuple)(tile)
        ImageOps.exif_transpose(image, in_place=True)
        values = upper.astype(np.uint16) << 8 | np.asarray(image)
        return (values >> (_bits(values, image) - 8)).astype(np.uint8)


def list_images(folder: str | Path) -> list[Path]:
    """Image files in a folder and all folders below it, in the order of their paths.

    Hidden files and folders are left out. A warning in the log names other files, and folders that cannot be read. Links to
    folders are followed; a folder that several paths lead to is listed once, under the first of them.

    Raises:
        UsageError: if there is no such folder, or no image in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "no such folder"
        raise UsageError(f"{folder}: {what}; expected a folder of images")

    def left_out(error: OSError) -> None:
        _log.warning("%s: left out, the folder cannot be read (%s)", error.filename, error.strerror or error)

    found: list[Path] = []
    others: list[Path] = []
    seen: set[str] = set()
    for parent, below, names in os.walk(folder, onerror=left_out, followlinks=True):
        real = os.path.realpath(parent)
        # os.walk enters the folders that stay in `below`, in this order.
        below[:] = [] if real in seen else sorted(name for name in below if name[0] != ".")
        if real not in seen:
            for name in names:
                if name[0] != ".":
                    (found if _is_image(name) else others).append(Path(parent, name))
        seen.add(real)
    said = _kinds(sorted(others))
    if not found:
        raise UsageError(f"{folder}: holds no image that Pillow can read" + (f", but {said}" if others else ""))
    if others:
        _log.warning("%s: left out %s, by their names no images that Pillow can read", folder, said)
    return sorted(found)


def _kinds(paths: Sequence[Path]) -> str:
    """Number, endings and first of sorted files: ``3 files, .heic (2), .txt (1), the first a/b.heic``."""
    kinds = Counter(path.suffix.lower() or path.name for path in paths).most_common(_SHOWN)
    listed = ", ".join(f"{kind} ({count})" for kind, count in kinds)
    return f"{len(paths)} files, {listed}, the first {paths[0]}" if paths else ""


def list_frames(folder: str | Path) -> list[str]:
    """Names of the image files right in a folder, in natural order; hidden ones are left out. ``frame10`` comes after
    ``frame9``: runs of digits count as numbers. Case does not count.

    Raises:
        OSError: if the folder cannot be read.
    """
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if _is_image(entry.name) and not entry.is_dir()]
    return sorted(names, key=_natural_order)


def _natural_order(name: str) -> tuple[list[tuple[bool, int, str]], str]:
    parts = re.findall(r"\d+|\D+", name.casefold())
    return [(not part[0].isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts], name


def class_folders(folder: str | Path) -> list[Path]:
    """Folders of the classes in a folder, in the order of their names; hidden ones are left out.

    Raises:
        UsageError: if ``folder`` is missing or holds no folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        parent = folder.parent
        there = sorted(entry.name for entry in parent.iterdir() if entry.is_dir()) if parent.is_dir() else []
        said = f"; there is {', '.join(there[:5])}" if there else ""
        raise UsageError(f"{folder}: no such folder; expected a folder of images per class in it{said}")
    found = sorted(entry for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != ".")
    if not found:
        raise UsageError(f"{folder}: has no folder of a class")
    return found


def _is_image(name: str) -> bool:
    return name[0] != "." and name.lower().endswith(IMAGE_SUFFIXES)
