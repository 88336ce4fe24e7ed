"""Boxes with class and score on a frame: solid on keyframes, dashed on anticipated frames."""

import logging
import math
import os
import re
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from efficiency_core.draw import Color, Font, distinct_color, font
from efficiency_core.errors import UsageError
from location_anticipation.inference.stream import FrameDetections

Box = tuple[float, float, float, float]

_BLACK: Color = (0, 0, 0)
_WHITE: Color = (255, 255, 255)
_UNUSUAL = re.compile("bold|italic|oblique|light|thin|black|condensed|mono|serif|color", re.IGNORECASE)
_WINDOWS_FONTS = (("WINDIR", "Fonts"), ("LOCALAPPDATA", "Microsoft/Windows/Fonts"))
_log = logging.getLogger(__name__)


def draw_detections(
    image: NDArray[np.uint8],
    detections: FrameDetections,
    class_names: Sequence[str] | None = None,
    font_file: str | Path | None = None,
) -> NDArray[np.uint8]:
    """A copy of ``image`` (H, W, 3) uint8 RGB with the boxes of its detections.

    Boxes of a keyframe are solid, anticipated ones dashed, and a tag in the corner says ``key`` or ``+l``. Lines and letters
    grow with the frame; where the frame is too small for a label, the score is left out, then the name. Label k is shown as
    ``class_names[k - 1]``, or as its number, in the font that :func:`label_font` chooses.
    """
    height, width = image.shape[:2]
    short = min(height, width)
    line = max(1, round(short / 160))
    names = None if class_names is None else tuple(class_names)
    letters = _sized(label_font(names or (), font_file), max(10, round(short / 32)))
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    # The most certain come last, on top; labels come after all boxes, so that no line crosses them.
    rows = detections.scores.argsort().tolist()
    colors = [distinct_color(label) for label in detections.labels.tolist()]
    # A box ends at the edge after its last pixel.
    boxes = [(x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)) for x1, y1, x2, y2 in detections.boxes.tolist()]
    for row in rows:
        _rectangle(draw, boxes[row], colors[row], line, dashed=not detections.keyframe)
    for row in rows:
        label = int(detections.labels[row])
        name = str(label) if names is None else _one_line(names[label - 1])
        texts = (f"{name} {float(detections.scores[row]):.2f}", name)
        _label(draw, boxes[row], texts, colors[row], letters, (width, height))
    tag = "key" if detections.keyframe else f"+{detections.step}"
    tag_width, tag_height = _extent(tag, letters)
    if tag_width <= width / 8:
        _text(draw, (0, height - tag_height), tag, _BLACK, letters)
    return np.array(canvas)


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
    draw: ImageDraw.ImageDraw, box: Box, texts: Sequence[str], color: Color, letters: Font, size: tuple[int, int]
) -> None:
    """Write the first of ``texts`` that hides little of the frame, if any: above the box, else at its top."""
    width, height = size
    most = max(box[2] - box[0], width / 4)
    for text in texts:
        text_width, text_height = _extent(text, letters)
        if text_width <= most and text_height <= height / 4:
            x = min(max(0, round(box[0])), width - text_width)
            above = round(box[1]) - text_height
            y = above if above >= 0 else round(box[1])
            _text(draw, (x, min(y, height - text_height)), text, color, letters)
            return


def _extent(text: str, letters: Font) -> tuple[int, int]:
    """Width and height of a text's background: equally high for every text of a font."""
    _, height, margin = _line(letters)
    return math.ceil(letters.getlength(text)) + 2 * margin, height + 2 * margin


def _text(draw: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, background: Color, letters: Font) -> None:
    x, y = corner
    width, height = _extent(text, letters)
    top, _, margin = _line(letters)
    draw.rectangle((x, y, x + width - 1, y + height - 1), fill=background)
    red, green, blue = background
    bright = 0.299 * red + 0.587 * green + 0.114 * blue > 128  # ITU-R BT.601 luma
    draw.text((x + margin, y + margin - top), text, _BLACK if bright else _WHITE, letters)


def _line(letters: Font) -> tuple[int, int, int]:
    """Top of a line of text from where it is anchored, its height with ascenders and descenders, and the margin around it."""
    _, top, _, bottom = letters.getbbox("Agjl0")
    height = math.ceil(bottom) - math.floor(top)
    return math.floor(top), height, max(1, height // 6)


@lru_cache(maxsize=16)
def label_font(class_names: tuple[str, ...], font_file: str | Path | None = None) -> str | None:
    """File of the font for class names; None stands for Pillow's own, which has the letters of English.

    That is ``font_file``, or else the first that has all letters: Pillow's own, then the fonts of this machine. Where none
    has them, it is the one that has most, and the log names the letters that are drawn as boxes.

    Raises:
        UsageError: if ``font_file`` is no font.
    """
    letters = {
        letter for name in class_names for letter in _one_line(name) if unicodedata.category(letter)[0] not in "CMZ"
    }
    chosen = None if font_file is None else str(font_file)
    try:
        missing = _missing(chosen, letters)
    except OSError as error:
        raise UsageError(f"{font_file}: is no font ({error}); expected a .ttf, .otf or .ttc file") from error
    for file in _machine_fonts() if missing and font_file is None else ():
        with suppress(OSError):  # a font in a format that Pillow does not draw
            if len(lacking := _missing(file, letters)) < len(missing):
                chosen, missing = file, lacking
        if not missing:
            break
    if missing:
        which = "no font of this machine has" if font_file is None else f"{font_file} lacks"
        said = " ".join(sorted(missing)[:20])
        _log.warning(
            "%s these letters of the class names, boxes are drawn for them: %s; give another font", which, said
        )
    return chosen


def _missing(file: str | None, letters: set[str]) -> set[str]:
    """Letters that a font draws as it draws what is no character."""
    drawn = _sized(file, 16)

    def look(letter: str) -> tuple[tuple[int, int], bytes]:
        mask = drawn.getmask(letter)
        return mask.size, bytes(mask)

    box = look("\U0010ffff")
    return {letter for letter in letters if look(letter) == box}


def _machine_fonts() -> list[str]:
    """Font files, upright ones of normal weight first."""
    homes = [os.path.expanduser(home) for home in ("~/.fonts", "~/.local/share/fonts", "~/Library/Fonts")]
    windows = [os.path.join(os.environ.get(name, ""), folder) for name, folder in _WINDOWS_FONTS if name in os.environ]
    folders = [
        "/usr/share/fonts",
        "/usr/local/share/fonts",
        "/Library/Fonts",
        "/System/Library/Fonts",
        *homes,
        *windows,
    ]
    files = [str(path) for folder in folders for path in Path(folder).rglob("*.[tToO][tT][fFcC]")]
    return sorted(
        files, key=lambda file: (bool(_UNUSUAL.search(os.path.basename(file))), len(os.path.basename(file)), file)
    )


@lru_cache(maxsize=16)
def _sized(file: str | None, size: int) -> Font:
    return font(size) if file is None else ImageFont.truetype(file, size)


def _one_line(name: str) -> str:
    return " ".join(name.encode("utf-8", "backslashreplace").decode("utf-8").split())
