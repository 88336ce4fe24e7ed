"""Tables and images of other people's data sets, read so that whatever is wrong is named with its file and line."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from location_anticipation.errors import UsageError

__all__ = ["image_size", "number", "runs", "table", "text_lines", "whole"]


def text_lines(path: Path, what: str) -> Iterator[tuple[int, str]]:
    """Lines of a text file with their numbers from 1, empty ones left out.

    Raises:
        UsageError: if the file is missing, cannot be read, is no UTF-8 text or has no line.
    """
    return ((line, text) for line, text in enumerate(_lines(path, what), start=1) if text.strip())


def _lines(path: Path, what: str) -> Iterator[str]:
    seen = False
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for text in file:
                seen = seen or bool(text.strip())
                yield text
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file; expected {what}") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error}); expected {what}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is no UTF-8 text; expected {what}") from error
    if not seen:
        raise UsageError(f"{path}: is empty; expected {what}")


def table(path: Path, columns: Sequence[str], what: str, *, header: bool = True) -> Iterator[tuple[int, list[str]]]:
    """Rows of a CSV file with the line they end on; values in the order of ``columns``.

    Args:
        path: the file.
        columns: names to look up in the header; without ``header`` the columns of every row, all of them.
        what: what the file should be, for messages.
        header: whether the first row names the columns (there may be further ones).

    Raises:
        UsageError: if the file is missing, empty or no CSV, lacks a column, or a row has another number of values.
    """
    rows = csv.reader(_lines(path, what), strict=True)
    places = list(range(len(columns)))
    width = len(columns)
    try:
        if header:
            names = [name.strip() for name in next(rows, [])]
            missing = [column for column in columns if column not in names]
            if missing:
                raise UsageError(f"{path}:1: column {missing[0]!r} is missing from {names}; expected {what}")
            places, width = [names.index(column) for column in columns], len(names)
        for row in rows:
            if not row:  # an empty line
                continue
            if len(row) != width:
                raise UsageError(f"{path}:{rows.line_num}: expected {width} columns, got {len(row)}")
            yield rows.line_num, [row[place] for place in places]
    except csv.Error as error:
        raise UsageError(f"{path}:{rows.line_num}: not CSV ({error}); expected {what}") from error


def whole(text: str, where: str, what: str) -> int:
    """A whole number of 0 or more out of ``text``; ``where`` is the file and line."""
    if not (text.strip().isascii() and text.strip().isdigit()):
        raise UsageError(f"{where}: {what} must be a whole number of 0 or more, got {text!r}")
    return int(text)


def number(text: str, where: str, what: str) -> float:
    """A finite number out of ``text``; a whole one stays an int."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{where}: {what} must be a number, got {text!r}")
    return int(value) if value.is_integer() else value


def image_size(path: Path, where: str) -> tuple[int, int]:
    """(height, width) from the header of an image file.

    Raises:
        UsageError: if there is no such image or it is damaged.
    """
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such image ({where})") from error
    except Exception as error:  # Pillow reports damage as OSError, SyntaxError, ValueError, struct.error, ...
        raise UsageError(f"{path}: not a readable image ({error})") from error


def runs(frames: Sequence[int], longest_gap: float) -> list[list[int]]:
    """Rising frame numbers, split wherever two neighbours are more than ``longest_gap`` apart."""
    parts: list[list[int]] = []
    for frame in frames:
        if not parts or frame - parts[-1][-1] > longest_gap:
            parts.append([])
        parts[-1].append(frame)
    return parts
