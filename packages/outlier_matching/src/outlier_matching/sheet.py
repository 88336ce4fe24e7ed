"""Queries and their nearest matches side by side: a PNG picture, or an HTML page that needs no other file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from outlier_matching.errors import UsageError
from outlier_matching.files import atomic_path

__all__ = ["SHEET_SUFFIXES", "Picture", "Row", "check_sheet_name", "draw_sheet", "shrunk", "write_sheet"]

SHEET_SUFFIXES = (".html", ".png")
"""What the name of a sheet ends with."""

Color = tuple[int, int, int]
_PAPER: Color = (250, 250, 248)
_TEXT: Color = (30, 30, 34)
_FAINT: Color = (110, 110, 116)
_FRAME: Color = (205, 205, 200)
# Blue and orange are told apart by the colour-blind, too.
RIGHT: Color = (0, 114, 178)
WRONG: Color = (213, 94, 0)

_TILE, _GAP, _MARGIN, _CAPTION, _HEAD = 128, 10, 16, 34, 56


@dataclass(frozen=True)
class Picture:
    """One image of a sheet."""

    image: Tensor | None
    """uint8 (3, H, W); None where it cannot be read."""
    name: str
    """What it is called."""
    note: str = ""
    """A few words below the name: a distance, a class."""
    right: bool | None = None
    """Whether it is a true match; None where that is not known."""


@dataclass(frozen=True)
class Row:
    """A query and its matches."""

    query: Picture
    """The query."""
    matches: tuple[Picture, ...]
    """Nearest first."""
    outlier_probability: float | None = None
    """Of the query, in [0, 1]; None where it is not known."""
    outlier: bool | None = None
    """Whether the query is taken for an outlier; None where it is not known."""

    @property
    def verdict(self) -> str:
        """``outlier, 0.62``, ``inlier, 0.21``, or nothing."""
        if self.outlier_probability is None:
            return ""
        return f"{'outlier' if self.outlier else 'inlier'}, {self.outlier_probability:.2f}"


def check_sheet_name(path: str | Path) -> None:
    """Refuse a file name that is neither ``.html`` nor ``.png``.

    Raises:
        UsageError: for any other.
    """
    if Path(path).suffix.lower() not in SHEET_SUFFIXES:
        raise UsageError(f"{path}: a sheet is a picture (NAME.png) or a page (NAME.html)")


def write_sheet(path: str | Path, rows: Sequence[Row], title: str, subtitle: str = "") -> None:
    """Write a sheet as a PNG picture or an HTML page, by the ending of its name.

    Raises:
        UsageError: for another ending.
        WorkError: if the file cannot be written.
        ValueError: if there is no row.
    """
    check_sheet_name(path)
    if Path(path).suffix.lower() == ".html":
        from outlier_matching.sheet_page import sheet_page

        page = sheet_page(rows, title, subtitle)
        with atomic_path(path) as temporary:
            temporary.write_text(page, encoding="utf-8", errors="backslashreplace")
        return
    picture = draw_sheet(rows, title, subtitle)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        Image.fromarray(picture).save(file, format="PNG")


def shrunk(image: Tensor, side: int) -> Image.Image:
    """An image (3, H, W) with its longer side ``side`` pixels; small ones are enlarged without smoothing."""
    picture = Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy()))
    scale = side / max(picture.size)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)


def draw_sheet(rows: Sequence[Row], title: str, subtitle: str = "") -> NDArray[np.uint8]:
    """One row a query: the query with its verdict, a gap, its matches with names and notes.

    True and false matches are framed in blue and orange where they are known; a query taken for an outlier is framed in
    orange.

    Args:
        rows: at least one.
        title: first line.
        subtitle: second line.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: if there is no row.
    """
    if not rows:
        raise ValueError("a sheet needs at least one row")
    columns = max(len(row.matches) for row in rows)
    # The head needs some width even where there is one match.
    width = 2 * _MARGIN + max((_TILE + _GAP) * (1 + columns) + 2 * _GAP, 4 * (_TILE + _GAP))
    height = _MARGIN + _HEAD + len(rows) * (_TILE + _CAPTION + _GAP) + _MARGIN
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, _MARGIN), _fitting(title, _font(18), width - 2 * _MARGIN), _TEXT, _font(18))
    draw.text((_MARGIN, _MARGIN + 26), _fitting(subtitle, _font(12), width - 2 * _MARGIN), _FAINT, _font(12))
    for number, row in enumerate(rows):
        top = _MARGIN + _HEAD + number * (_TILE + _CAPTION + _GAP)
        color = WRONG if row.outlier else _FRAME
        _tile(sheet, row.query, row.verdict or row.query.note, (_MARGIN, top), color, WRONG if row.outlier else _FAINT)
        for place, match in enumerate(row.matches, start=1):
            color = _FRAME if match.right is None else RIGHT if match.right else WRONG
            left = _MARGIN + 2 * _GAP + place * (_TILE + _GAP)
            _tile(sheet, match, match.note, (left, top), color, _FAINT)
    return np.array(sheet)


def _tile(
    sheet: Image.Image, picture: Picture, note: str, corner: tuple[int, int], frame: Color, note_color: Color
) -> None:
    draw, (left, top) = ImageDraw.Draw(sheet), corner
    font = _font(11)
    if picture.image is None:
        text = "cannot be read"
        place = left + (_TILE - font.getlength(text)) / 2, top + _TILE / 2 - 7
        draw.rectangle((left, top, left + _TILE - 1, top + _TILE - 1), fill=_FRAME)
        draw.text(place, text, _FAINT, font)
    else:
        small = shrunk(picture.image, _TILE - 8)
        sheet.paste(small, (left + (_TILE - small.width) // 2, top + (_TILE - small.height) // 2))
    wide = 1 if frame == _FRAME else 3
    draw.rectangle((left, top, left + _TILE - 1, top + _TILE - 1), outline=frame, width=wide)
    draw.text((left, top + _TILE + 2), _fitting(picture.name, font, _TILE), _TEXT, font)
    draw.text((left, top + _TILE + 16), _fitting(note, font, _TILE), note_color, font)


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> str:
    """``text`` with an ellipsis in place of its start where it is too long: the end of a path tells more."""
    text = text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\n", " ")
    whole, text = text, text[-400:]  # more never fits, and is slow to measure
    while text and font.getlength(text if text == whole else "…" + text) > width:
        text = text[1:]
    return text if text == whole else "…" + text


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
