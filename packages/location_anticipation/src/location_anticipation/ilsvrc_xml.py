"""One annotation file of ILSVRC: the size of an image and the objects in it."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from location_anticipation.errors import UsageError
from location_anticipation.lines import xml_element_line
from location_anticipation.source_files import number

__all__ = ["AnnotationFile", "Thing"]


@dataclass(frozen=True)
class Thing:
    """An object in an image."""

    wordnet: str
    """Id of its class."""
    box: tuple[float, float, float, float]
    """xmin, ymin, xmax, ymax in pixels."""
    track: str
    """``trackid``, unique within a video; in DET the place in the file."""
    flags: dict[str, bool]
    """``occluded`` and ``generated``, where the file has them."""


class AnnotationFile:
    """The XML file ``annotation`` with ``size`` and any number of ``object``.

    Args:
        path: the file.
        where: what asked for it, for the message that it is missing.

    Raises:
        UsageError: here and in the methods, if the file is missing or malformed, with its line.
    """

    def __init__(self, path: Path, where: str) -> None:
        self.path = path
        try:
            self.content = path.read_bytes()
            self.root = ElementTree.fromstring(self.content)
        except FileNotFoundError as error:
            raise UsageError(f"{path}: no such annotation ({where})") from error
        except OSError as error:
            raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from error
        except ElementTree.ParseError as error:
            raise UsageError(f"{path}:{error.position[0]}: not XML ({error})") from error
        if self.root.tag != "annotation":
            raise UsageError(f"{path}:1: expected the root element <annotation>, got <{self.root.tag}>")

    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        size = self._child(self.root, "size")
        height, width = (self._number(self._child(size, name)) for name in ("height", "width"))
        if not (type(height) is type(width) is int and height > 0 and width > 0):
            raise self._at(size, f"<size> must be whole numbers above 0, got width {width} and height {height}")
        return height, width

    def things(self, *, tracked: bool) -> Iterator[Thing]:
        """The objects; in VID each has a ``trackid``, in DET their order stands in."""
        for place, thing in enumerate(self.root.findall("object")):
            outline = self._child(thing, "bndbox")
            x1, y1, x2, y2 = (self._number(self._child(outline, name)) for name in ("xmin", "ymin", "xmax", "ymax"))
            flags = {}
            for name in ("occluded", "generated"):
                if thing.find(name) is not None:
                    flags[name] = self._text(self._child(thing, name)) == "1"
            track = self._text(self._child(thing, "trackid")) if tracked else str(place)
            yield Thing(self._text(self._child(thing, "name")), (x1, y1, x2, y2), track, flags)

    def error(self, tag: str, problem: str, text: str | None = None) -> UsageError:
        """A complaint about the first element ``tag``, with this text if given."""
        found = (e for e in self.root.iter(tag) if text is None or (e.text or "").strip() == text)
        return self._at(next(found, self.root), f"<{tag}> {problem}")

    def _at(self, element: ElementTree.Element, problem: str) -> UsageError:
        place = next(i for i, other in enumerate(self.root.iter()) if other is element)
        return UsageError(f"{self.path}:{xml_element_line(self.content, place)}: {problem}")

    def _child(self, parent: ElementTree.Element, tag: str) -> ElementTree.Element:
        child = parent.find(tag)
        if child is None:
            raise self._at(parent, f"<{parent.tag}> has no <{tag}>")
        return child

    def _text(self, element: ElementTree.Element) -> str:
        text = (element.text or "").strip()
        if not text:
            raise self._at(element, f"<{element.tag}> is empty")
        return text

    def _number(self, element: ElementTree.Element) -> float:
        try:
            return number(self._text(element), "", "")
        except UsageError as error:
            raise self._at(element, f"<{element.tag}> must be a number, got {element.text!r}") from error
