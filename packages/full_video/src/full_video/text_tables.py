"""Lists of other people's data sets, read so that whatever is wrong is named with its file and line."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from full_video.errors import UsageError

__all__ = ["choice", "first_folder", "json_file", "json_line", "table", "text_lines", "whole"]

_SPACE = re.compile(r"[ \t\r\n]*")


def text_lines(path: Path, what: str) -> Iterator[tuple[int, str]]:
    """Lines of a text file without the space around them, with their numbers from 1; empty ones are left out.

    Raises:
        UsageError: if the file is missing, cannot be read, is no UTF-8 text or has no line.
    """
    lines = [(number, line.strip()) for number, line in enumerate(_text(path, what).splitlines(), start=1)]
    lines = [(number, line) for number, line in lines if line]
    if not lines:
        raise UsageError(f"{path}: is empty; expected {what}")
    yield from lines


def table(path: Path, columns: Sequence[str], what: str) -> Iterator[tuple[int, list[str]]]:
    """Rows of a CSV file whose first row names the columns: the line a row ends on and its values of ``columns``.

    Raises:
        UsageError: if the file is missing, empty or no CSV, lacks a column, or a row has another number of values.
    """
    rows = csv.reader(_text(path, what).splitlines(keepends=True), strict=True)
    try:
        names = [name.strip() for name in next(rows, [])]
        if not names:
            raise UsageError(f"{path}: is empty; expected {what}")
        missing = [column for column in columns if column not in names]
        if missing:
            raise UsageError(f"{path}:1: column {missing[0]!r} is missing from {names}; expected {what}")
        places = [names.index(column) for column in columns]
        for row in rows:
            if not row:
                continue
            if len(row) != len(names):
                raise UsageError(f"{path}:{rows.line_num}: expected {len(names)} columns, got {len(row)}")
            yield rows.line_num, [row[place].strip() for place in places]
    except csv.Error as error:
        raise UsageError(f"{path}:{rows.line_num}: not CSV ({error}); expected {what}") from error


def json_file(path: Path, what: str) -> tuple[str, Any]:
    """Text and content of a JSON file.

    Raises:
        UsageError: if the file is missing, cannot be read or is no JSON.
    """
    text = _text(path, what)
    try:
        return text, json.loads(text)
    except ValueError as error:
        line = getattr(error, "lineno", 1)
        raise UsageError(f"{path}:{line}: not JSON ({getattr(error, 'msg', error)}); expected {what}") from error


def json_line(text: str, number: int) -> int:
    """Line, from 1, where element ``number`` (from 0) of the list or object in ``text`` begins; for messages.

    Raises:
        ValueError: if ``text`` is neither, or shorter.
    """
    decode = json.JSONDecoder().raw_decode
    at = _skip(text, 0)
    keyed = text[at] == "{"
    at = _skip(text, at + 1)
    for _ in range(number):
        at = _skip(text, decode(text, at)[1])
        if keyed:
            at = _skip(text, decode(text, _skip(text, at + 1))[1])  # after the colon, the value
        at = _skip(text, at + 1)  # the comma
    return text.count("\n", 0, at) + 1


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def whole(text: str, where: str, what: str) -> int:
    """A whole number of 0 or more out of ``text``; ``where`` is the file and line, or the option."""
    if not (text.strip().isascii() and text.strip().isdigit()):
        raise UsageError(f"{where}: {what} must be a whole number of 0 or more, got {text!r}")
    return int(text)


def choice(value: Any, known: Sequence[Any], what: str) -> Any:
    """``value`` if it is one of ``known``.

    Raises:
        UsageError: if it is not.
    """
    if value not in known:
        raise UsageError(f"{what} must be one of {', '.join(map(str, known))}, got {value!r}")
    return value


def first_folder(candidates: Sequence[Path], holding: Sequence[str], what: str) -> Path:
    """The first of some folders in which there is one of the files ``holding``.

    Raises:
        UsageError: if there is none.
    """
    for folder in candidates:
        if any((folder / name).is_file() for name in holding):
            return folder
    places = " or ".join(str(folder) for folder in candidates)
    raise UsageError(f"{what} not found: expected {' or '.join(holding)} in {places}")


def _text(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file; expected {what}") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error}); expected {what}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is no UTF-8 text; expected {what}") from error
