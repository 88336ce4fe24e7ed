"""The contact sheet of images of several domains: a class a row, a domain a column, outliers below."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .image_set import SOURCE, TARGET
from .reader import SampleFile
from .sheet import FAINT, GAP, HEADER, LABEL, MARGIN, TEXT, font, new_sheet

ROWS, WIDTH = 14, 12
"""Most classes on the sheet, evenly chosen, and images in a row."""
OUTLIER_ROWS = 2
CELL = 84
"""Longest side of an image, pixels."""
NAMES = LABEL + 40
"""Width of the column of class names."""


def image_sheet(file: SampleFile) -> Image.Image:
    """Some classes of a file, every domain in a block of its own, and below them each domain's first outliers.

    Where there are fewer domains, a block is wider; places of classes that a domain has no images of stay empty.

    Raises:
        InputError: the file cannot be read.
    """
    facts = file.facts
    label, domain, outlier = (file.read(name) for name in ("label", "domain", "outlier"))
    domains = np.unique(domain).tolist()
    block = max(1, WIDTH // len(domains))
    known = np.unique(label[(label >= 0) & ~outlier])
    classes = known[np.unique(np.linspace(0, len(known) - 1, min(ROWS, len(known))).round().astype(int))].tolist()
    height, width = file.arrays["image"].shape[1:3]
    scale = CELL / max(height, width)
    cell = (max(1, round(width * scale)) + 1, max(1, round(height * scale)) + 1)
    lines = OUTLIER_ROWS if outlier.any() else 0
    wide, high = block * cell[0] + 2 * GAP, (len(classes) + lines) * cell[1] + 2 * GAP
    sheet, draw = new_sheet(len(domains) * wide + NAMES - LABEL, high, facts, len(file), "images")
    left, top = MARGIN + NAMES, MARGIN + HEADER
    bottom = top + len(classes) * cell[1] + 2 * GAP
    for place, number in enumerate(domains):
        at = left + place * wide
        # A set that says itself that it has but one domain has no source and no target.
        if len(facts.get("domain_names", (SOURCE, TARGET))) > 1:
            draw.text((at, top - 6), _domain_name(facts, number), FAINT, font(12), anchor="ls")
        here = domain == number
        for row, value in enumerate(classes):
            _row(
                sheet, file, np.flatnonzero((label == value) & here & ~outlier)[:block], (at, top + row * cell[1]), cell
            )
        strange = np.flatnonzero(here & outlier)
        for row in range(lines):
            _row(sheet, file, strange[row * block :][:block], (at, bottom + row * cell[1]), cell)
    for row, value in enumerate(classes):
        _name(draw, facts["class_names"], value, top + row * cell[1] + cell[1] // 2)
    if lines:
        middle = bottom + lines * cell[1] // 2
        draw.text((MARGIN, middle - 8), "outliers", TEXT, font(14), anchor="lm")
        draw.text((MARGIN, middle + 10), f"{int(outlier.sum())} in all", FAINT, font(11), anchor="lm")
    return sheet


def _domain_name(facts: dict[str, Any], number: int) -> str:
    names = facts.get("domain_names", [])
    kind = {SOURCE: "source", TARGET: "target"}.get(number, "further")
    name = names[number] if number < len(names) else ""
    return f"domain {number}: {kind}" + (f", {name}" if name not in ("", kind) else "")


def _name(draw: ImageDraw.ImageDraw, names: list[str], label: int, middle: int) -> None:
    words = (names[label] if label < len(names) else "").replace("_", " ")
    draw.text((MARGIN, middle - 7), words, TEXT, font(12), anchor="lm")
    draw.text((MARGIN, middle + 8), f"class {label}", FAINT, font(11), anchor="lm")


def _row(
    sheet: Image.Image, file: SampleFile, samples: NDArray[np.int64], at: tuple[int, int], cell: tuple[int, int]
) -> None:
    """Images side by side, with a line of grey to the right and below: what is white has an edge, too."""
    for column, index in enumerate(samples.tolist()):
        frame = Image.new("RGB", cell, (205, 205, 205))
        image = Image.fromarray(file[index]["image"])
        frame.paste(image.resize((cell[0] - 1, cell[1] - 1), Image.Resampling.BICUBIC), (0, 0))
        sheet.paste(frame, (at[0] + column * cell[0], at[1]))
