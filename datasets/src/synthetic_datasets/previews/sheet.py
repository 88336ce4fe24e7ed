"""What all contact sheets have in common: measures, colours, a heading."""

import textwrap

from PIL import Image, ImageDraw

from efficiency_core import draw
from synthetic_datasets.storage.reader import SampleFile

GAP, LABEL, HEADER = 6, 118, 84
"""Space between frames, width of the column of class names, height of the heading; pixels."""
LINE = 170
"""Characters in a line of the heading."""
COLOURS = ((255, 176, 0), (100, 190, 255), (240, 90, 150), (120, 220, 120))
"""Told apart by the colour-blind, too."""


def new_sheet(
    file: SampleFile, width: int, height: int, what: str = "videos"
) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """An empty sheet for ``width`` x ``height`` px of frames, headed by a file's name and options."""
    facts = file.facts
    options = [
        f"{key}={('+' if any(isinstance(item, str) for item in value) else 'x').join(map(str, value))}"
        if isinstance(value, list) else f"{key}={value}"
        for key, value in facts["config"].items() if value not in ([], "")
    ]  # fmt: skip
    lines = textwrap.wrap(f"{len(file)} {what} from {facts['source']} · " + " · ".join(options), LINE)
    return draw.new_sheet((LABEL + width, height), f"{facts['name']} {facts['split']}", lines[:3], heading=HEADER)
