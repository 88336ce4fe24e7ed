"""The sheet of pictures before and after: photo, painting made of it, photo made of that, and the other way round."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ..sheet import FAINT, GAP, MARGIN, PAPER, TEXT, font

ROWS = 6
"""Pictures of each domain on a sheet."""
_HEADER, _LEAST = 46, 96
"""Pixels: height of the heading, and least side of a picture on the sheet."""
Pixels = NDArray[np.uint8]
_TITLES = ("photo", "as painting", "and back", "painting", "as photo", "and back")


def before_after(columns: list[Pixels], title: str) -> Image.Image:
    """One row a picture. ``columns``: photo, as painting, and back, painting, as photo, and back; each (n, h, w, 3)."""
    height, width = columns[0].shape[1:3]
    grow = max(1, -(-_LEAST // max(height, width)))
    cell = (grow * width, grow * height)
    rows = max(map(len, columns))
    wide = 2 * MARGIN + len(columns) * (cell[0] + GAP) + 2 * GAP
    sheet = Image.new("RGB", (wide, 2 * MARGIN + _HEADER + rows * (cell[1] + GAP)), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), title, TEXT, font(16))
    for number, (pictures, name) in enumerate(zip(columns, _TITLES, strict=True)):
        left = MARGIN + number * (cell[0] + GAP) + (2 * GAP if number >= 3 else 0)
        draw.text((left, MARGIN + _HEADER - 6), name, FAINT, font(12), anchor="ls")
        for row, pixels in enumerate(pictures):
            large = Image.fromarray(pixels).resize(cell, Image.Resampling.NEAREST)
            sheet.paste(large, (left, MARGIN + _HEADER + row * (cell[1] + GAP)))
    return sheet
