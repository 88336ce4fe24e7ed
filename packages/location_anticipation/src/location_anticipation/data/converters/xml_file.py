"""An XML file of annotations, read so that an error names the line."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from xml.etree.ElementTree import Element
from xml.parsers import expat

from efficiency_core.errors import UsageError
from efficiency_core.readers import number


class XmlFile:
    """An XML file and its elements.

    Args:
        path: the file.
        tag: of the root element.
        where: place that names the file, for the message that it is missing.

    Raises:
        UsageError: here and in the methods, if the file is missing or malformed, with its line.
    """

    def __init__(self, path: Path, tag: str, where: str) -> None:
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
        if self.root.tag != tag:
            raise UsageError(f"{path}:1: expected the root element <{tag}>, got <{self.root.tag}>")

    def at(self, element: Element, problem: str) -> UsageError:
        """A complaint about an element, with the line on which it begins."""
        lines: list[int] = []
        parser = expat.ParserCreate()
        parser.StartElementHandler = lambda *_: lines.append(parser.CurrentLineNumber)
        parser.Parse(self.content, True)
        line = dict(zip(self.root.iter(), lines, strict=True))[element]
        return UsageError(f"{self.path}:{line}: {problem}")

    def child(self, parent: Element, tag: str) -> Element:
        """The first child ``tag``, which must be there."""
        child = parent.find(tag)
        if child is None:
            raise self.at(parent, f"<{parent.tag}> has no <{tag}>")
        return child

    def text(self, element: Element, attribute: str | None = None) -> str:
        """The text of an element, or an attribute, which must not be empty."""
        text = ((element.text if attribute is None else element.get(attribute)) or "").strip()
        if not text:
            what = "is empty" if attribute is None else f"has no {attribute}"
            raise self.at(element, f"<{element.tag}> {what}")
        return text

    def number(self, element: Element, attribute: str | None = None) -> float:
        """The same as a finite number."""
        text = self.text(element, attribute)
        try:
            return number(text, "", "")
        except UsageError as error:
            what = "" if attribute is None else f"{attribute} of "
            raise self.at(element, f"{what}<{element.tag}> must be a number, got {text!r}") from error

    def size(self, parent: Element) -> tuple[int, int]:
        """(height, width) from the children of these names."""
        height, width = (self.number(self.child(parent, name)) for name in ("height", "width"))
        if not (type(height) is type(width) is int and height > 0 and width > 0):
            said = f"must be whole numbers above 0, got width {width} and height {height}"
            raise self.at(parent, f"<{parent.tag}> {said}")
        return height, width
