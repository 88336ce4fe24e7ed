"""The contact sheet of videos whose frames are of several kinds."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .insertions import KINDS
from .sheet import COLOURS, FAINT, GAP, HEADER, LABEL, MARGIN, TEXT, font, new_sheet

ROWS, LINES, COLUMNS = 8, 2, 16
"""Videos on the sheet, lines of a video, frames in a line."""
CELL, BORDER = 70, 3
"""Longest side of a frame and width of the border around it, pixels."""


def kind_sheet(facts: dict[str, Any], samples: list[dict[str, NDArray[Any]]], count: int) -> Image.Image:
    """The first videos of ``samples``, each in two lines of frames whose border has the colour of the frame's kind.

    Of a video of up to 32 frames all are shown, of a longer one as many, evenly chosen.
    """
    samples = samples[:ROWS]
    length, height, width = samples[0]["frames"].shape
    shown = np.unique(np.linspace(0, length - 1, min(length, LINES * COLUMNS)).round().astype(int)).tolist()
    scale = CELL / max(height, width)
    cell = (max(1, round(width * scale)) + 2 * BORDER, max(1, round(height * scale)) + 2 * BORDER)
    lines = -(-len(shown) // COLUMNS)
    band = lines * (cell[1] + 1) + 2 * GAP
    sheet, draw = new_sheet(min(len(shown), COLUMNS) * (cell[0] + 1), len(samples) * band, facts, count)
    _legend(draw)
    for row, sample in enumerate(samples):
        top = MARGIN + HEADER + row * band
        _label(draw, sample, facts["class_names"], row, top + band // 2 - GAP)
        for place, frame in enumerate(shown):
            line, column = divmod(place, COLUMNS)
            at = (MARGIN + LABEL + column * (cell[0] + 1), top + line * (cell[1] + 1))
            sheet.paste(framed(sample["frames"][frame], int(sample["kind"][frame]), cell), at)
    return sheet


def framed(frame: NDArray[np.uint8], kind: int, cell: tuple[int, int]) -> Image.Image:
    """A grey frame within a border of its kind's colour; ``cell`` (width, height) is that of both."""
    image = Image.new("RGB", cell, COLOURS[kind])
    inside = (cell[0] - 2 * BORDER, cell[1] - 2 * BORDER)
    image.paste(Image.fromarray(frame).convert("RGB").resize(inside, Image.Resampling.BICUBIC), (BORDER, BORDER))
    return image


def _legend(draw: ImageDraw.ImageDraw) -> None:
    left, middle = MARGIN + LABEL, MARGIN + HEADER - 11
    for name, colour in zip(KINDS, COLOURS, strict=True):
        draw.rectangle((left, middle - 5, left + 10, middle + 5), colour)
        draw.text((left + 16, middle), name, FAINT, font(12), anchor="lm")
        left += 110


def _label(draw: ImageDraw.ImageDraw, sample: dict[str, NDArray[Any]], names: list[str], row: int, middle: int) -> None:
    label = int(sample["label"])
    draw.text((MARGIN, middle - 8), f"{label} {names[label]}", TEXT, font(14), anchor="lm")
    draw.text((MARGIN, middle + 10), f"video {row}", FAINT, font(11), anchor="lm")
