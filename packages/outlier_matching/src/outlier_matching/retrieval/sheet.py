"""Sheets that show queries next to their nearest matches: a PNG picture, or an HTML page that contains its pictures."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from efficiency_core.draw import FAINT, MARGIN, TEXT, Color, fitted, font, new_sheet, thumbnail, write_png
from efficiency_core.errors import UsageError
from efficiency_core.files import atomic_path

FRAME: Color = (205, 205, 200)
"""Frame of an image."""
OUTLIER: Color = (213, 94, 0)
"""Frame of a query that is classified as an outlier."""
_TILE, _GAP, _CAPTION, _HEAD = 128, 10, 34, 56
_SIDE = 160  # longer side of a picture of the page in pixels


@dataclass(frozen=True)
class Picture:
    """One image of a sheet."""

    image: Tensor | None
    """uint8 (3, H, W); None if it cannot be read."""
    name: str
    note: str = ""
    """A few words below the name, such as a distance."""


@dataclass(frozen=True)
class Row:
    """A query and its matches, nearest first."""

    query: Picture
    matches: tuple[Picture, ...]
    outlier_probability: float | None = None
    """Probability that the query is an outlier, in [0, 1]; None if unknown."""
    outlier: bool | None = None
    """Whether the query is classified as an outlier; None if unknown."""

    @property
    def verdict(self) -> str:
        """``outlier, 0.62``, ``inlier, 0.21``, or an empty text."""
        if self.outlier_probability is None:
            return ""
        return f"{'outlier' if self.outlier else 'inlier'}, {self.outlier_probability:.2f}"


def check_sheet_name(path: str | Path) -> None:
    """Raise UsageError for a file name that ends neither in ``.html`` nor in ``.png``."""
    if Path(path).suffix.lower() not in (".html", ".png"):
        raise UsageError(f"{path}: a sheet is a picture (NAME.png) or a page (NAME.html)")


def write_sheet(path: str | Path, rows: Sequence[Row], title: str, subtitle: str = "") -> None:
    """Write a sheet as a PNG picture or an HTML page, depending on the end of its name. Raises UsageError for another
    name; WorkError if the file cannot be written; ValueError if there is no row."""
    check_sheet_name(path)
    if not rows:
        raise ValueError("a sheet needs at least one row")
    if Path(path).suffix.lower() == ".png":
        write_png(path, draw_sheet(rows, title, subtitle))
        return
    import jinja2

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    template = environment.from_string(Path(__file__).with_name("sheet.html").read_text(encoding="utf-8"))
    columns = max(len(row.matches) for row in rows)
    color = "#{:02x}{:02x}{:02x}".format(*OUTLIER)
    page = template.render(
        rows=rows, title=title, subtitle=subtitle, columns=columns, side=_SIDE, outlier=color, jpeg=_jpeg
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace")


def draw_sheet(rows: Sequence[Row], title: str, subtitle: str = "") -> NDArray[np.uint8]:
    """One row per query: the query with its verdict, a gap, its matches with names and notes. A query that is
    classified as an outlier has an orange frame. Returns (H, W, 3) uint8 RGB."""
    columns = max(len(row.matches) for row in rows)
    # The heading needs some width even if there is only one match.
    width = max((_TILE + _GAP) * (1 + columns) + 2 * _GAP, 4 * (_TILE + _GAP))
    height = len(rows) * (_TILE + _CAPTION + _GAP)
    sheet, _ = new_sheet((width, height), title, [subtitle], heading=_HEAD)
    for number, row in enumerate(rows):
        top = MARGIN + _HEAD + number * (_TILE + _CAPTION + _GAP)
        _tile(sheet, row.query, row.verdict, (MARGIN, top), bool(row.outlier))
        for place, match in enumerate(row.matches, start=1):
            _tile(sheet, match, match.note, (MARGIN + 2 * _GAP + place * (_TILE + _GAP), top))
    return np.array(sheet)


def _tile(sheet: Image.Image, picture: Picture, note: str, corner: tuple[int, int], outlier: bool = False) -> None:
    draw, (left, top), small = ImageDraw.Draw(sheet), corner, font(11)
    if picture.image is None:
        text = "cannot be read"
        place = left + (_TILE - small.getlength(text)) / 2, top + _TILE / 2 - 7
        draw.rectangle((left, top, left + _TILE - 1, top + _TILE - 1), fill=FRAME)
        draw.text(place, text, FAINT, small)
    else:
        shown = thumbnail(_pixels(picture.image), _TILE - 8)
        sheet.paste(shown, (left + (_TILE - shown.width) // 2, top + (_TILE - shown.height) // 2))
    frame, wide, note_color = (OUTLIER, 3, OUTLIER) if outlier else (FRAME, 1, FAINT)
    draw.rectangle((left, top, left + _TILE - 1, top + _TILE - 1), outline=frame, width=wide)
    draw.text((left, top + _TILE + 2), fitted(picture.name, small, _TILE, keep="end"), TEXT, small)
    draw.text((left, top + _TILE + 16), fitted(note, small, _TILE, keep="end"), note_color, small)


def _jpeg(image: Tensor) -> str:
    """A thumbnail as the data of a ``data:`` URL."""
    file = io.BytesIO()
    thumbnail(_pixels(image), _SIDE).save(file, format="JPEG", quality=85)
    return base64.b64encode(file.getvalue()).decode()


def _pixels(image: Tensor) -> NDArray[np.uint8]:
    return np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy())
