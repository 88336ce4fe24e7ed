"""The contact sheet of pictures in which every pixel has a class: each picture beside its mask, and what its colours mean."""

import colorsys

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .mask_set import BACKGROUND, EDGE
from .reader import SampleFile
from .sheet import FAINT, GAP, HEADER, LABEL, MARGIN, TEXT, font, new_sheet

ROWS, COLUMNS = 6, 4
"""Pictures below and beside each other, each with its mask to the right."""
CELL = 128
"""Longest side of a picture, pixels."""
_LINE = 22
"""Height of a line of the legend."""


def palette(classes: int) -> NDArray[np.uint8]:
    """(256, 3) colour of every value of a mask: dark grey for the background, white for edges, other classes told apart by
    hue, neighbours by brightness, too."""
    colours = np.zeros((256, 3), np.uint8)
    colours[BACKGROUND], colours[EDGE] = 58, 255
    for label in range(1, classes):
        hue, value = (label - 1) / max(1, classes - 1), (0.95, 0.65)[label % 2]
        colours[label] = np.rint(255 * np.array(colorsys.hsv_to_rgb(hue, 0.75, value)))
    return colours


def mask_sheet(file: SampleFile) -> Image.Image:
    """The first pictures of a file and their masks.

    Raises:
        InputError: the file cannot be read.
    """
    facts, names = file.facts, file.facts["class_names"]
    colours = palette(len(names))
    height, width = file.arrays["mask"].shape[1:3]
    scale = CELL / max(height, width)
    cell = (max(1, round(width * scale)), max(1, round(height * scale)))
    shown = min(ROWS * COLUMNS, len(file))
    lines = -(-shown // COLUMNS)
    wide, high = 2 * cell[0] + 2 * GAP, cell[1] + GAP
    legend = [*enumerate(names), (EDGE, "edge, ignored")]
    size = (min(shown, COLUMNS) * wide, max(lines * high, len(legend) * _LINE))
    sheet, draw = new_sheet(*size, facts, len(file), "images")
    for number in range(shown):
        sample = file[number]
        left, top = MARGIN + LABEL + number % COLUMNS * wide, MARGIN + HEADER + number // COLUMNS * high
        picture = Image.fromarray(sample["image"]).resize(cell, Image.Resampling.BICUBIC)
        mask = Image.fromarray(colours[sample["mask"]]).resize(cell, Image.Resampling.NEAREST)
        sheet.paste(picture, (left, top))
        sheet.paste(mask, (left + cell[0] + 1, top))
    for place, (label, name) in enumerate(legend):
        middle = MARGIN + HEADER + place * _LINE + _LINE // 2
        red, green, blue = colours[label].tolist()
        draw.rectangle((MARGIN, middle - 7, MARGIN + 14, middle + 7), (red, green, blue), FAINT)
        draw.text((MARGIN + 22, middle), name.replace("_", " "), TEXT, font(12), anchor="lm")
    return sheet
