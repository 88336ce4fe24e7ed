"""A contact sheet: what a data set looks like, at a glance; those of videos are here."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

from efficiency_core.draw import FAINT, MARGIN, TEXT, fit_size, font
from efficiency_core.errors import UsageError
from synthetic_datasets.motion.insertions import KINDS
from synthetic_datasets.previews.image_sheets import image_sheet, mask_sheet
from synthetic_datasets.previews.sheet import COLOURS, GAP, HEADER, LABEL, new_sheet
from synthetic_datasets.storage.reader import SampleFile

ROWS, COLUMNS, CELL = 10, 8, 112
"""Videos on a sheet of tracks, frames of a video, longest side of a frame in pixels."""
KIND_ROWS, LINES, WIDTH = 8, 2, 16
"""Videos on a sheet of kinds, lines of a video, frames in a line."""
KIND_CELL, BORDER = 70, 3
"""Longest side of a frame there, and width of the border around it; pixels."""


def contact_sheet(file: SampleFile) -> Image.Image:
    """The first samples of a file, with what is known about them. Raises UsageError if there is no preview for files of
    this kind, or the file cannot be read."""
    sheets = {"image-set": image_sheet, "mask-set": mask_sheet, "track-video": track_sheet, "label-video": kind_sheet}
    if file.facts["format"] not in sheets:
        raise UsageError(f"{file.path}: no preview is known for files of format {file.facts['format']!r}")
    return sheets[file.facts["format"]](file)


def track_sheet(file: SampleFile) -> Image.Image:
    """One video a row: classes, then eight frames of the video with boxes. The line behind a box shows the centres of
    the object's box since the start of the video. A box has the colour of its object, in turn."""
    samples = [file[index] for index in range(min(ROWS, len(file)))]
    length, height, width = samples[0]["video"].shape[:3]
    frames = np.unique(np.linspace(0, length - 1, COLUMNS).round().astype(int)).tolist()
    cell = fit_size((width, height), CELL)
    sheet, draw = new_sheet(file, len(frames) * (cell[0] + GAP) - GAP, len(samples) * (cell[1] + GAP) - GAP)
    for column, frame in enumerate(frames):
        left = MARGIN + LABEL + column * (cell[0] + GAP)
        draw.text((left, MARGIN + HEADER - 6), f"frame {frame}", FAINT, font(12), anchor="ls")
        for row, sample in enumerate(samples):
            top = MARGIN + HEADER + row * (cell[1] + GAP)
            sheet.paste(_frame(sample, frame, cell), (left, top))
    for row, sample in enumerate(samples):
        middle = MARGIN + HEADER + row * (cell[1] + GAP) + cell[1] // 2
        _row_label(draw, sample, file.facts["class_names"], row, middle)
    return sheet


def _row_label(
    draw: ImageDraw.ImageDraw, sample: dict[str, NDArray[Any]], names: list[str], row: int, middle: int
) -> None:
    labels = [label for label in sample["labels"].tolist() if label >= 0]
    shown = labels[:4]
    for place, label in enumerate(shown):
        y = middle - 8 + 16 * (place - (len(shown) - 1) / 2)
        colour = COLOURS[place % len(COLOURS)]
        draw.rectangle((MARGIN, y - 4, MARGIN + 8, y + 4), colour, FAINT)
        draw.text((MARGIN + 14, y), f"{label} {names[label]}", TEXT, font(14), anchor="lm")
        if "direction" in sample:
            _arrow(draw, (MARGIN + LABEL - 24, y), float(sample["direction"][place]))
    more = f" +{len(labels) - len(shown)}" if len(labels) > len(shown) else ""
    draw.text((MARGIN + 14, middle + 8 * len(shown) + 4), f"video {row}{more}", FAINT, font(11), anchor="lm")


def _arrow(draw: ImageDraw.ImageDraw, at: tuple[float, float], angle: float, length: float = 9) -> None:
    tail = (at[0] - length * math.cos(angle), at[1] - length * math.sin(angle))
    head = (at[0] + length * math.cos(angle), at[1] + length * math.sin(angle))
    draw.line((tail, head), TEXT, 2)
    for turn in (math.pi * 0.82, -math.pi * 0.82):
        draw.line((head, (head[0] + 7 * math.cos(angle + turn), head[1] + 7 * math.sin(angle + turn))), TEXT, 2)


def _frame(sample: dict[str, NDArray[Any]], frame: int, cell: tuple[int, int]) -> Image.Image:
    image = Image.fromarray(sample["video"][frame]).convert("RGB").resize(cell, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    scale = cell[0] / sample["video"].shape[2]
    boxes, present = sample["boxes"] * scale, sample["present"]
    for number in range(boxes.shape[1]):
        colour = COLOURS[number % len(COLOURS)]
        past = boxes[: frame + 1, number][present[: frame + 1, number]]
        centres = [tuple(point) for point in ((past[:, :2] + past[:, 2:]) / 2).tolist()]
        if len(centres) > 1:
            red, green, blue = (value * 6 // 10 for value in colour)
            draw.line(centres, (red, green, blue), 1)
        if present[frame, number]:
            left, top, right, bottom = boxes[frame, number].tolist()
            draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=colour)
    return image


def kind_sheet(file: SampleFile) -> Image.Image:
    """The first videos, each in two lines of frames whose border has the colour of the frame's kind. Of
    a video of up to 32 frames all are shown, of a longer one as many, evenly chosen."""
    samples = [file[index] for index in range(min(KIND_ROWS, len(file)))]
    length, height, width = samples[0]["frames"].shape
    shown = np.unique(np.linspace(0, length - 1, min(length, LINES * WIDTH)).round().astype(int)).tolist()
    inside = fit_size((width, height), KIND_CELL)
    cell = (inside[0] + 2 * BORDER, inside[1] + 2 * BORDER)
    band = -(-len(shown) // WIDTH) * (cell[1] + 1) + 2 * GAP
    sheet, draw = new_sheet(file, min(len(shown), WIDTH) * (cell[0] + 1), len(samples) * band)
    left, middle = MARGIN + LABEL, MARGIN + HEADER - 11
    for name, colour in zip(KINDS, COLOURS, strict=True):
        draw.rectangle((left, middle - 5, left + 10, middle + 5), colour)
        draw.text((left + 16, middle), name, FAINT, font(12), anchor="lm")
        left += 110
    for row, sample in enumerate(samples):
        top = MARGIN + HEADER + row * band
        label, middle = int(sample["label"]), top + band // 2 - GAP
        draw.text((MARGIN, middle - 8), f"{label} {file.facts['class_names'][label]}", TEXT, font(14), anchor="lm")
        draw.text((MARGIN, middle + 10), f"video {row}", FAINT, font(11), anchor="lm")
        for place, frame in enumerate(shown):
            line, column = divmod(place, WIDTH)
            image = Image.fromarray(sample["frames"][frame]).convert("RGB").resize(inside, Image.Resampling.BICUBIC)
            framed = ImageOps.expand(image, BORDER, COLOURS[int(sample["kind"][frame])])
            sheet.paste(framed, (MARGIN + LABEL + column * (cell[0] + 1), top + line * (cell[1] + 1)))
    return sheet
