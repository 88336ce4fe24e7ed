"""On which line of a JSON or XML file something stands, for messages about files that cannot be used.

Python's readers of both formats give no line with what they read, so it is looked up again when there is an error.
"""

from __future__ import annotations

import json
import re
from xml.parsers import expat

__all__ = ["json_entry_line", "xml_element_line"]

_SPACE = re.compile(r"[ \t\r\n]*")


def json_entry_line(text: str, section: str, number: int) -> int:
    """Line, from 1, where entry ``number`` (from 0) of the list ``section`` of the object in ``text`` begins.

    Raises:
        ValueError: if ``text`` is not an object or has no such section.
    """

    def skip(position: int) -> int:
        match = _SPACE.match(text, position)
        return match.end() if match else position

    decode = json.JSONDecoder().raw_decode
    at = skip(text.index("{") + 1)
    while True:
        key, at = decode(text, at)
        at = skip(skip(at) + 1)  # the colon
        if key == section:
            break
        at = skip(skip(decode(text, at)[1]) + 1)  # the value and its comma
    at = skip(at + 1)
    for _ in range(number):
        at = skip(skip(decode(text, at)[1]) + 1)
    return text.count("\n", 0, at) + 1


def xml_element_line(content: bytes, number: int) -> int:
    """Line, from 1, where element ``number`` (from 0, in document order) of well-formed XML begins.

    Raises:
        ValueError: if there are fewer elements.
    """
    lines: list[int] = []
    parser = expat.ParserCreate()

    def start(name: str, attributes: dict[str, str]) -> None:
        lines.append(parser.CurrentLineNumber)

    parser.StartElementHandler = start
    parser.Parse(content, True)
    if not 0 <= number < len(lines):
        raise ValueError(f"element {number} of {len(lines)}")
    return lines[number]
