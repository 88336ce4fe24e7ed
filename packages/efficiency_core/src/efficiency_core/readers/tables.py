"""Text tables and JSON files of other people's data sets, read so that an error names the file and the line."""

import csv
import json
import logging
import math
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from efficiency_core.errors import UsageError

_log = logging.getLogger(__name__)
_BLOCK = 1 << 20  # characters
_SPACE = re.compile(r"[ \t\r\n]*")


def text_lines(path: str | Path, what: str) -> Iterator[tuple[int, str]]:
    """Lines of a text file without the space around them, with their numbers from 1; empty lines are left out.

    The file is UTF-8, with or without a byte order mark, UTF-16 with one, or else Windows-1252 (Latin-1 and a few more
    characters); the last comes with a warning in the log. Its lines end in any of the usual ways.
    ``what`` says in messages what the file should be.

    Raises:
        UsageError: if the file is missing, cannot be read, is no text or has no line.
    """
    return ((line, text.strip()) for line, text in enumerate(_lines(Path(path), what), start=1) if text.strip())


def table(
    path: str | Path, columns: Sequence[str], what: str, *, header: bool = True
) -> Iterator[tuple[int, list[str]]]:
    """Rows of a CSV file: the line on which a row ends, and its values in the order of ``columns``, without space around.

    Rows are read one after the other: the file may be larger than memory. Of comma, semicolon and tab, the delimiter is
    the one that splits the first row so that it has all ``columns``, or else the comma. See also :func:`text_lines`.

    Args:
        columns: names of columns that the header must have; without ``header`` the columns of every row, all of them.
        header: whether the first row names the columns (there may be further ones).

    Raises:
        UsageError: if the file is missing, empty, no text or no CSV, lacks a column, or a row has another number of values.
    """
    path = Path(path)
    lines = _lines(path, what)
    first = next(lines)
    split = {mark: next(csv.reader([first], delimiter=mark), []) for mark in ",;\t"}
    delimiter = next((mark for mark in split if set(columns) <= {name.strip() for name in split[mark]}), ",")
    rows = csv.reader(chain([first], lines), delimiter=delimiter, strict=True)
    places, width = list(range(len(columns))), len(columns)
    try:
        if header:
            names = [name.strip() for name in next(rows)]
            missing = [column for column in columns if column not in names]
            if missing:
                raise UsageError(f"{path}:1: column {missing[0]!r} is missing from {names}; expected {what}")
            places, width = [names.index(column) for column in columns], len(names)
        for row in rows:
            if not row:  # an empty line
                continue
            if len(row) != width:
                raise UsageError(f"{path}:{rows.line_num}: expected {width} columns, got {len(row)}")
            yield rows.line_num, [row[place].strip() for place in places]
    except csv.Error as error:
        raise UsageError(f"{path}:{rows.line_num}: not CSV ({error}); expected {what}") from error


def read_json(path: str | Path, what: str) -> tuple[str, Any]:
    """Text and content of a JSON file; the text is for :func:`json_line`. Encodings as in :func:`text_lines`.

    Raises:
        UsageError: if the file is missing, cannot be read, or is no JSON; the message names the line.
    """
    path = Path(path)
    text = "".join(_lines(path, what))
    try:
        return text, json.loads(text)
    except json.JSONDecodeError as error:
        message = f"{path}:{error.lineno}: not JSON ({error.msg}, column {error.colno}); expected {what}"
        raise UsageError(message) from error
    except (RecursionError, ValueError) as error:  # ValueError: a number of thousands of digits
        raise UsageError(f"{path}: not JSON that can be used ({error}); expected {what}") from error


def json_line(text: str, *steps: str | int) -> int:
    """Line, from 1, on which an entry of a JSON text begins; in an object that is the line of its key.

    The ``steps`` to the entry are keys of objects, and numbers (from 0) of entries of lists or objects: ``"images", 3``
    is the fourth entry of the list ``images``. Raises ``ValueError`` if there is no such entry.
    """
    at, start = _skip(text, 0), 0
    for step in steps:
        start, at = _entry(text, at, step)
    return text.count("\n", 0, start) + 1


def _entry(text: str, at: int, step: str | int) -> tuple[int, int]:
    """Where an entry of the list or object at ``at`` begins, and where its value does, which in a list is the same."""
    decode = json.JSONDecoder().raw_decode
    keyed = text[at] == "{"
    if text[at] not in "[{":
        raise ValueError(f"there is no list or object that could have the entry {step!r}")
    at = _skip(text, at + 1)
    count = 0
    while text[at] not in "]}":
        start, key = at, None
        if keyed:
            key, at = decode(text, at)
            at = _skip(text, _skip(text, at) + 1)  # the colon
        if step == (key if isinstance(step, str) else count):
            return start, at
        at = _skip(text, decode(text, at)[1])
        at = _skip(text, at + 1) if text[at] == "," else at
        count += 1
    raise ValueError(f"there is no entry {step!r} among {count}")


def _skip(text: str, at: int) -> int:
    return _SPACE.match(text, at).end()  # type: ignore[union-attr]  # it matches nothing too


def whole(text: str, where: str, what: str) -> int:
    """``text`` as a whole number of 0 or more. If it is something else, a :class:`UsageError` says ``where`` it stands
    (file and line, or option) and ``what`` it should be."""
    if not (text.strip().isascii() and text.strip().isdigit()):
        raise UsageError(f"{where}: {what} must be a whole number of 0 or more, got {text!r}")
    return int(text)


def number(text: str, where: str, what: str) -> float:
    """``text`` as a finite number; a whole one is an int. Arguments and errors as of :func:`whole`."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{where}: {what} must be a number, got {text!r}")
    return int(value) if value.is_integer() else value


def _lines(path: Path, what: str) -> Iterator[str]:
    """Lines of a text file with their ends; the first is there before any is asked for."""
    seen = False
    try:
        with path.open(encoding=_encoding(path, what), newline="") as file:
            for text in file:
                seen = seen or bool(text.strip())
                yield text
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file; expected {what}") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error}); expected {what}") from error
    if not seen:
        raise UsageError(f"{path}: is empty; expected {what}")


def _encoding(path: Path, what: str) -> str:
    with path.open("rb") as file:
        marked = file.read(2) in (b"\xff\xfe", b"\xfe\xff")
    for encoding in ("utf-16",) if marked else ("utf-8-sig", "cp1252"):
        try:
            with path.open(encoding=encoding) as text:
                while block := text.read(_BLOCK):
                    if "\0" in block:  # no text holds this character, and nearly every binary file does
                        raise UsageError(f"{path}: is no text; expected {what}")
        except UnicodeError:
            continue
        if encoding == "cp1252":
            _log.warning("%s: is no UTF-8 text; read as Windows-1252", path)
        return encoding
    raise UsageError(f"{path}: is no text in a known encoding; expected {what}")
