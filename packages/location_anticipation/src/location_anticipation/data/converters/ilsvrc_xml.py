"""One annotation file of ILSVRC: the size of an image and the objects in it."""

from collections.abc import Iterator
from pathlib import Path

from efficiency_core.errors import UsageError
from location_anticipation.data.converters.cocovid_writer import Box
from location_anticipation.data.converters.xml_file import XmlFile


class AnnotationFile(XmlFile):
    """The XML file ``annotation`` with ``size`` and any number of ``object``. Arguments and errors as of :class:`XmlFile`."""

    def __init__(self, path: Path, where: str) -> None:
        super().__init__(path, "annotation", where)

    def image_size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.size(self.child(self.root, "size"))

    def things(self, *, tracked: bool) -> Iterator[tuple[str, str, Box, dict[str, bool]]]:
        """WordNet id, track, box in pixels and flags (``occluded``, ``generated``, where there are any) of each object.

        The track is the ``trackid``, unique within a video; in DET the place in the file.
        """
        for place, thing in enumerate(self.root.findall("object")):
            outline = self.child(thing, "bndbox")
            x1, y1, x2, y2 = (self.number(self.child(outline, name)) for name in ("xmin", "ymin", "xmax", "ymax"))
            flags = {}
            for name in ("occluded", "generated"):
                if thing.find(name) is not None:
                    flags[name] = self.text(self.child(thing, name)) == "1"
            track = self.text(self.child(thing, "trackid")) if tracked else str(place)
            yield self.text(self.child(thing, "name")), track, (x1, y1, x2, y2), flags

    def error(self, tag: str, problem: str, text: str | None = None) -> UsageError:
        """A complaint about the first element ``tag``, with this text if given."""
        found = (e for e in self.root.iter(tag) if text is None or (e.text or "").strip() == text)
        return self.at(next(found, self.root), f"<{tag}> {problem}")
