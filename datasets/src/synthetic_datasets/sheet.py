"""What all contact sheets have in common: paper, colours, a heading."""

import textwrap
from typing import Any

from PIL import Image, ImageDraw, ImageFont

MARGIN, GAP, LABEL, HEADER = 16, 6, 118, 84
"""Space around, space between frames, width of the column of class names, height of the heading; pixels."""
LINE = 170
"""Characters in a line of the heading."""

PAPER, TEXT, FAINT = (250, 250, 248), (30, 30, 34), (120, 120, 126)
COLOURS = ((255, 176, 0), (100, 190, 255), (240, 90, 150), (120, 220, 120))
"""Told apart by the colour-blind, too."""


def new_sheet(
    width: int, height: int, facts: dict[str, Any], count: int, what: str = "videos"
) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """An empty sheet for ``width`` x ``height`` px of frames, headed by a file's name and options."""
    sheet = Image.new("RGB", (2 * MARGIN + LABEL + width, 2 * MARGIN + HEADER + height), PAPER)
    draw = ImageDraw.Draw(sheet)
    options = [f"{key}={_plain(value)}" for key, value in facts["config"].items() if value not in ([], "")]
    lines = textwrap.wrap(f"{count} {what} from {facts['source']} · " + " · ".join(options), LINE)
    draw.text((MARGIN, MARGIN), f"{facts['name']} {facts['split']}", TEXT, font(20))
    for number, line in enumerate(lines[:3]):
        draw.text((MARGIN, MARGIN + 25 + 13 * number), line, FAINT, font(11))
    return sheet, draw


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own, so that a sheet looks the same everywhere."""
    return ImageFont.load_default(size)


def _plain(value: Any) -> str:
    if not isinstance(value, list):
        return str(value)
    return ("+" if any(isinstance(item, str) for item in value) else "x").join(map(str, value))
