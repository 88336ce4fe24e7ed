"""The contact sheets of pictures: of several domains, or with a class for every pixel."""

import colorsys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from efficiency_core.draw import FAINT, MARGIN, TEXT, fit_size, font
from synthetic_datasets.previews.sheet import GAP, HEADER, LABEL, new_sheet
from synthetic_datasets.storage.image_set import BACKGROUND, EDGE, SOURCE, TARGET
from synthetic_datasets.storage.reader import SampleFile

ROWS, WIDTH = 14, 12
"""Most classes on the sheet of domains, evenly chosen, and images in a row."""
OUTLIER_ROWS = 2
CELL, MASK_CELL = 84, 128
"""Longest side of an image on the sheet of domains, and of one with its mask; pixels."""
NAMES = LABEL + 40
"""Width of the column of class names."""
MASK_ROWS, MASK_COLUMNS = 6, 4
"""Pictures below and beside each other, each with its mask to the right."""
_LINE = 22
"""Height of a line of the legend."""


def image_sheet(file: SampleFile) -> Image.Image:
    """Some classes of a file, a class a row, every domain in a block of its own, and below them each domain's first
    outliers. Where there are fewer domains, a block is wider; places of classes that a domain has no images of stay
    empty. Raises UsageError if the file cannot be read."""
    facts = file.facts
    label, domain, outlier = (file.read(name) for name in ("label", "domain", "outlier"))
    domains = np.unique(domain).tolist()
    block = max(1, WIDTH // len(domains))
    known = np.unique(label[(label >= 0) & ~outlier])
    classes = known[np.unique(np.linspace(0, len(known) - 1, min(ROWS, len(known))).round().astype(int))].tolist()
    height, width = file.shapes["image"][1:3]
    inside = fit_size((width, height), CELL)
    cell = (inside[0] + 1, inside[1] + 1)
    lines = OUTLIER_ROWS if outlier.any() else 0
    wide, high = block * cell[0] + 2 * GAP, (len(classes) + lines) * cell[1] + 2 * GAP
    sheet, draw = new_sheet(file, len(domains) * wide + NAMES - LABEL, high, "images")
    left, top = MARGIN + NAMES, MARGIN + HEADER
    bottom = top + len(classes) * cell[1] + 2 * GAP
    for place, number in enumerate(domains):
        at = left + place * wide
        # A set that says itself that it has but one domain has no source and no target.
        if len(facts.get("domain_names", (SOURCE, TARGET))) > 1:
            draw.text((at, top - 6), _domain_name(facts, number), FAINT, font(12), anchor="ls")
        here = domain == number
        for row, value in enumerate(classes):
            shown = np.flatnonzero((label == value) & here & ~outlier)[:block]
            _row(sheet, file, shown, (at, top + row * cell[1]), cell)
        strange = np.flatnonzero(here & outlier)
        for row in range(lines):
            _row(sheet, file, strange[row * block :][:block], (at, bottom + row * cell[1]), cell)
    names = facts["class_names"]
    for row, value in enumerate(classes):
        middle = top + row * cell[1] + cell[1] // 2
        words = (names[value] if value < len(names) else "").replace("_", " ")
        draw.text((MARGIN, middle - 7), words, TEXT, font(12), anchor="lm")
        draw.text((MARGIN, middle + 8), f"class {value}", FAINT, font(11), anchor="lm")
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


def _row(
    sheet: Image.Image, file: SampleFile, samples: NDArray[np.int64], at: tuple[int, int], cell: tuple[int, int]
) -> None:
    for column, index in enumerate(samples.tolist()):
        frame = Image.new("RGB", cell, (205, 205, 205))
        image = Image.fromarray(file[index]["image"])
        frame.paste(image.resize((cell[0] - 1, cell[1] - 1), Image.Resampling.BICUBIC), (0, 0))
        sheet.paste(frame, (at[0] + column * cell[0], at[1]))


def palette(classes: int) -> NDArray[np.uint8]:
    """(256, 3) colour of every value of a mask: dark grey background, white edges, classes by hue and brightness."""
    colours = np.zeros((256, 3), np.uint8)
    colours[BACKGROUND], colours[EDGE] = 58, 255
    for label in range(1, classes):
        hue, value = (label - 1) / max(1, classes - 1), (0.95, 0.65)[label % 2]
        colours[label] = np.rint(255 * np.array(colorsys.hsv_to_rgb(hue, 0.75, value)))
    return colours


def mask_sheet(file: SampleFile) -> Image.Image:
    """The first pictures of a file, each beside its mask, and what its colours mean. Raises UsageError if the file
    cannot be read."""
    names = file.facts["class_names"]
    colours = palette(len(names))
    height, width = file.shapes["mask"][1:3]
    cell = fit_size((width, height), MASK_CELL)
    shown = min(MASK_ROWS * MASK_COLUMNS, len(file))
    wide, high = 2 * cell[0] + 2 * GAP, cell[1] + GAP
    legend = [*enumerate(names), (EDGE, "edge, ignored")]
    tall = max(-(-shown // MASK_COLUMNS) * high, len(legend) * _LINE)
    sheet, draw = new_sheet(file, min(shown, MASK_COLUMNS) * wide, tall, "images")
    for number in range(shown):
        sample = file[number]
        left, top = MARGIN + LABEL + number % MASK_COLUMNS * wide, MARGIN + HEADER + number // MASK_COLUMNS * high
        sheet.paste(Image.fromarray(sample["image"]).resize(cell, Image.Resampling.BICUBIC), (left, top))
        mask = Image.fromarray(colours[sample["mask"]]).resize(cell, Image.Resampling.NEAREST)
        sheet.paste(mask, (left + cell[0] + 1, top))
    for place, (label, name) in enumerate(legend):
        middle = MARGIN + HEADER + place * _LINE + _LINE // 2
        red, green, blue = colours[label].tolist()
        draw.rectangle((MARGIN, middle - 7, MARGIN + 14, middle + 7), (red, green, blue), FAINT)
        draw.text((MARGIN + 22, middle), name.replace("_", " "), TEXT, font(12), anchor="lm")
    return sheet
