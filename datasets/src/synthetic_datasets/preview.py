"""A contact sheet: what a data set looks like, at a glance."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .errors import InputError
from .image_sheet import image_sheet
from .kind_sheet import kind_sheet
from .mask_sheet import mask_sheet
from .reader import SampleFile
from .sheet import COLOURS, FAINT, GAP, HEADER, LABEL, MARGIN, TEXT, font, new_sheet

ROWS, COLUMNS, CELL = 10, 8, 112
"""Videos on a sheet of tracks, frames of a video, longest side of a frame in pixels."""


def contact_sheet(file: SampleFile) -> Image.Image:
    """The first samples of a file, with what is known about them.

    Raises:
        InputError: there is no preview for files of this kind, or the file cannot be read.
    """
    facts = file.facts
    whole = {"image-set": image_sheet, "mask-set": mask_sheet}
    if facts["format"] in whole:  # these choose their samples themselves
        return whole[facts["format"]](file)
    sheets = {"track-video": track_sheet, "label-video": kind_sheet}
    if facts["format"] not in sheets:
        raise InputError(f"{file.path}: no preview is known for files of format {facts['format']!r}")
    samples = [file[index] for index in range(min(ROWS, len(file)))]
    return sheets[facts["format"]](facts, samples, len(file))


def track_sheet(facts: dict[str, Any], samples: list[dict[str, NDArray[Any]]], count: int) -> Image.Image:
    """One video a row: classes, then eight frames of the video with boxes.

    The line behind a box shows the centres of the object's box since the start of the video. A box has the colour of its
    object, in turn.
    """
    length, height, width = samples[0]["video"].shape[:3]
    frames = np.unique(np.linspace(0, length - 1, COLUMNS).round().astype(int)).tolist()
    scale = CELL / max(height, width)
    cell = (max(1, round(width * scale)), max(1, round(height * scale)))
    sheet, draw = new_sheet(len(frames) * (cell[0] + GAP) - GAP, len(samples) * (cell[1] + GAP) - GAP, facts, count)
    for column, frame in enumerate(frames):
        left = MARGIN + LABEL + column * (cell[0] + GAP)
        draw.text((left, MARGIN + HEADER - 6), f"frame {frame}", FAINT, font(12), anchor="ls")
        for row, sample in enumerate(samples):
            top = MARGIN + HEADER + row * (cell[1] + GAP)
            sheet.paste(_frame(sample, frame, cell), (left, top))
    for row, sample in enumerate(samples):
        middle = MARGIN + HEADER + row * (cell[1] + GAP) + cell[1] // 2
        _row_label(draw, sample, facts["class_names"], row, middle)
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
            draw.line(centres, _dimmed(colour), 1)
        if present[frame, number]:
            left, top, right, bottom = boxes[frame, number].tolist()
            draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=colour)
    return image


def _dimmed(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    red, green, blue = (value * 6 // 10 for value in colour)
    return red, green, blue
