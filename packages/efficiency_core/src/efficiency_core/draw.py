"""What pictures for people are made of; pixels are uint8 (H, W, 3) RGB, sizes are (width, height) as in Pillow."""

import colorsys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from efficiency_core.files import atomic_path

Color = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

PAPER: Color = (250, 250, 248)
TEXT: Color = (30, 30, 34)
FAINT: Color = (115, 115, 121)
MARGIN = 16
"""Pixels around the content of a sheet."""
_TITLE, _LINE = 20, 11  # sizes of the fonts of a heading
_GOLDEN_RATIO = 0.618034
_LONGEST = 400  # characters of a text that are looked at: more never fit, and are slow to measure


@lru_cache(maxsize=16)
def font(size: int) -> Font:
    """Pillow's own font, so that a picture looks the same on every machine."""
    return ImageFont.load_default(size)


def fitted(text: str, font: Font, width: float, keep: str = "start") -> str:
    """A text that is at most ``width`` pixels wide, in one line; an ellipsis stands for what is cut off its end.

    Line ends become spaces. What is no Unicode, as in some file names, is escaped. ``keep="end"`` cuts off the start.
    """
    text = text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\n", " ")
    if len(text) <= _LONGEST and font.getlength(text) <= width:
        return text
    text = text[:_LONGEST] if keep == "start" else text[-_LONGEST:]
    while text:
        shorter = f"{text.rstrip()}…" if keep == "start" else f"…{text.lstrip()}"
        if font.getlength(shorter) <= width:
            return shorter
        text = text[:-1] if keep == "start" else text[1:]
    return "…" if font.getlength("…") <= width else ""


def distinct_color(number: int, lightness: float = 0.6, saturation: float = 1.0) -> Color:
    """The RGB colour of a class or a cluster: always the same, and far in hue from those of the neighbouring numbers."""
    red, green, blue = colorsys.hls_to_rgb(number * _GOLDEN_RATIO % 1.0, lightness, saturation)
    return round(255 * red), round(255 * green), round(255 * blue)


def fit_size(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """A size of the same proportions whose longer side is ``longest`` pixels; the shorter has 1 or more."""
    width, height = size
    scale = longest / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def thumbnail(pixels: NDArray[np.uint8], longest: int) -> Image.Image:
    """A picture whose longer side is ``longest`` pixels; small ones are enlarged without smoothing."""
    picture = Image.fromarray(pixels)
    size = fit_size(picture.size, longest)
    larger = longest > max(picture.size)
    return picture.resize(size, Image.Resampling.NEAREST if larger else Image.Resampling.LANCZOS)


def new_sheet(
    size: tuple[int, int], title: str, lines: Sequence[str] = (), *, heading: int
) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """Paper with a heading; content of ``size`` pixels begins at (MARGIN, MARGIN + heading).

    The heading is ``heading`` pixels high: the title, and ``lines`` in small letters, all cut where they are too long.
    """
    width, height = size
    sheet = Image.new("RGB", (2 * MARGIN + width, 2 * MARGIN + heading + height), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), fitted(title, font(_TITLE), width), TEXT, font(_TITLE))
    for number, line in enumerate(lines):
        place = (MARGIN, MARGIN + _TITLE + 5 + number * (_LINE + 2))
        draw.text(place, fitted(line, font(_LINE), width), FAINT, font(_LINE))
    return sheet, draw


def write_png(path: str | Path, picture: NDArray[np.uint8] | Image.Image) -> None:
    """Write a picture as a PNG file, whole or not at all, whatever the ending of its name.

    Raises:
        WorkError: if the file cannot be written.
    """
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        image.save(file, format="PNG")
