"""Boxes with class and score on a frame: solid where the network looked, dashed where it anticipated."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from location_anticipation.video import FrameDetections

__all__ = ["class_color", "draw_detections"]

Color = tuple[int, int, int]
Box = tuple[float, float, float, float]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_BLACK: Color = (0, 0, 0)
_WHITE: Color = (255, 255, 255)
_GOLDEN_RATIO = 0.618034


def class_color(label: int) -> Color:
    """The RGB colour of a class: always the same, and far in hue from those of the neighbouring labels."""
    red, green, blue = colorsys.hls_to_rgb(label * _GOLDEN_RATIO % 1.0, 0.6, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_detections(
    image: NDArray[np.uint8], detections: FrameDetections, class_names: Sequence[str] | None = None
) -> NDArray[np.uint8]:
    """A copy of ``image`` (H, W, 3) uint8 RGB with the boxes of its detections.

    Boxes of a keyframe are solid, anticipated ones dashed, and a tag in the corner says ``key`` or ``+l``.
    Lines and letters grow with the frame; where the frame is too small for a label, the score is left out,
    then the name.

    Args:
        image: the frame.
        detections: what :class:`~location_anticipation.video.VideoDetector` gave for it.
        class_names: ``class_names[k - 1]`` is the name of label k; without it the number is shown.
    """
    height, width = image.shape[:2]
    short = min(height, width)
    line = max(1, round(short / 160))
    font = _font(max(10, round(short / 32)))
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    # The most certain come last, on top; labels come after all boxes, so that no line crosses them.
    rows = detections.scores.argsort().tolist()
    colors = [class_color(label) for label in detections.labels.tolist()]
    # A box ends at the edge after its last pixel.
    boxes = [(x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)) for x1, y1, x2, y2 in detections.boxes.tolist()]
    for row in rows:
        _rectangle(draw, boxes[row], colors[row], line, dashed=not detections.keyframe)
    for row in rows:
        label = int(detections.labels[row])
        name = str(label) if class_names is None else class_names[label - 1]
        texts = (f"{name} {float(detections.scores[row]):.2f}", name)
        _label(draw, boxes[row], texts, colors[row], font, (width, height))
    tag = "key" if detections.keyframe else f"+{detections.step}"
    tag_width, tag_height = _extent(tag, font)
    if tag_width <= width / 8:
        _text(draw, (0, height - tag_height), tag, _BLACK, font)
    return np.array(canvas)


@lru_cache(maxsize=8)
def _font(size: int) -> Font:
    return ImageFont.load_default(size)


def _rectangle(draw: ImageDraw.ImageDraw, box: Box, color: Color, line: int, *, dashed: bool) -> None:
    x1, y1, x2, y2 = (round(side) for side in box)
    # Black gaps rather than open ones: dashes stay visible on bright and busy pictures.
    draw.rectangle((x1, y1, x2, y2), outline=_BLACK if dashed else color, width=line)
    if not dashed:
        return
    inner = line - 1
    for start, end in _dashes(x1, x2, 4 * line):
        draw.rectangle((start, y1, end, min(y1 + inner, y2)), fill=color)
        draw.rectangle((start, max(y2 - inner, y1), end, y2), fill=color)
    for start, end in _dashes(y1, y2, 4 * line):
        draw.rectangle((x1, start, min(x1 + inner, x2), end), fill=color)
        draw.rectangle((max(x2 - inner, x1), start, x2, end), fill=color)


def _dashes(start: int, end: int, dash: int) -> list[tuple[int, int]]:
    """Cut a side into dashes about ``dash`` pixels long with gaps as long, a dash at either end."""
    count = max(1, round(((end - start) / dash + 1) / 2))
    unit = (end - start) / (2 * count - 1)
    return [(round(start + 2 * k * unit), round(start + (2 * k + 1) * unit)) for k in range(count)]


def _label(
    draw: ImageDraw.ImageDraw, box: Box, texts: Sequence[str], color: Color, font: Font, size: tuple[int, int]
) -> None:
    """Write the first of ``texts`` that hides little of the frame, if any: above the box, else at its top."""
    width, height = size
    most = max(box[2] - box[0], width / 4)
    for text in texts:
        text_width, text_height = _extent(text, font)
        if text_width <= most and text_height <= height / 4:
            x = min(max(0, round(box[0])), width - text_width)
            above = round(box[1]) - text_height
            y = above if above >= 0 else round(box[1])
            _text(draw, (x, min(y, height - text_height)), text, color, font)
            return


def _extent(text: str, font: Font) -> tuple[int, int]:
    """Width and height of a text's background: equally high for every text of a font."""
    margin = _margin(font)
    top, bottom = _line(font)
    return math.ceil(font.getlength(text)) + 2 * margin, bottom - top + 2 * margin


def _text(draw: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, background: Color, font: Font) -> None:
    x, y = corner
    width, height = _extent(text, font)
    margin = _margin(font)
    draw.rectangle((x, y, x + width - 1, y + height - 1), fill=background)
    red, green, blue = background
    bright = 0.299 * red + 0.587 * green + 0.114 * blue > 128  # ITU-R BT.601 luma
    draw.text((x + margin, y + margin - _line(font)[0]), text, _BLACK if bright else _WHITE, font)


def _line(font: Font) -> tuple[int, int]:
    """Top and bottom of a line of text that has ascenders and descenders, from where the text is anchored."""
    _, top, _, bottom = font.getbbox("Agjl0")
    return math.floor(top), math.ceil(bottom)


def _margin(font: Font) -> int:
    top, bottom = _line(font)
    return max(1, (bottom - top) // 6)
