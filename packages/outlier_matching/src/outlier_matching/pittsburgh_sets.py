"""Street views of Pittsburgh (Torii et al., CVPR 2013) and their translation into paintings, in files.

Two layouts of the views are known, and may be mixed::

    ROOT/000/000000_pitch1_yaw1.jpg                           Pittsburgh250k: place, pitch 1-2, yaw 1-12
    ROOT/@E@N@17@T@LAT@LON@000000@00@@@@@@pitch1_yaw1@.jpg    VPR-datasets-downloader's flat copies

Translated views lie in any folder, called ``AtoB_`` and the name of the view, as the author's are.

Two views match if they show the same place and yaw group (the author's rule): yaws that end in 1 or 2 are one group, all
others the second one. A view of pitch 2 looks up, at sky and walls: it has no class, and translated it is an outlier.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from outlier_matching.errors import UsageError
from outlier_matching.file_images import Entry, FileImages, in_split
from outlier_matching.images import list_images

__all__ = ["View", "open_pittsburgh", "parse_view"]

_VIEW = re.compile(r"(?:[AB]to[AB]_)?(\d+)_pitch(\d+)_yaw(\d+)")
_NOTE = re.compile(r"pitch(\d+)_yaw(\d+)")
_FLAT_PLACE, _FLAT_NOTE = 7, 14  # fields of a flat name, divided by @
_EVERY = 10


class View(NamedTuple):
    """Which picture of which place."""

    place: int
    """Number of the panorama."""
    pitch: int
    """1 level, 2 up."""
    yaw: int
    """1 to 12."""


def parse_view(stem: str) -> View | None:
    """The view that a file shows by its name, without its suffix; None where it is no such name."""
    if match := _VIEW.fullmatch(stem):
        return View(*map(int, match.groups()))
    fields = stem.split("@")
    if len(fields) > _FLAT_NOTE and fields[_FLAT_PLACE].isdecimal() and (note := _NOTE.fullmatch(fields[_FLAT_NOTE])):
        return View(int(fields[_FLAT_PLACE]), *map(int, note.groups()))
    return None


def open_pittsburgh(path: str | Path, split: str, *, target: str = "", upward: str = "false") -> FileImages:
    """Street views (domain 0) and, where ``target`` names their folder, their translations (domain 1).

    Args:
        path: folder of the views; folders ``queries*`` in it, of another camera and day, are left out.
        split: ``all``, or ``train`` and ``test``: of every ten places the last is a test place, in both domains. The
            thesis does not say how it split them.
        target: folder of the translated views.
        upward: ``true`` keeps the upward views of the source as well, which match nothing.

    Raises:
        UsageError: if a folder is missing or holds no view, or has a view twice.
    """
    path = Path(path)
    if upward not in ("true", "false"):
        raise UsageError(f"format pittsburgh: option upward must be true or false, got {upward!r}")
    folders = [(path, 0), *([(Path(target), 1)] if target else [])]
    views = []
    for folder, domain in folders:
        found = _views(folder)
        views += [(folder, domain, image, view) for image, view in found]
    places = {place: number for number, place in enumerate(sorted({view.place for *_, view in views}))}
    class_names = [f"{place:06d} {group}" for place in places for group in ("12", "34")]
    entries = []
    for folder, domain, image, (place, pitch, yaw) in views:
        up = pitch == 2
        if not in_split(places[place], split, _EVERY) or (up and domain == 0 and upward == "false"):
            continue
        label = -1 if up else 2 * places[place] + (yaw % 10 not in (1, 2))
        name = image.relative_to(folder).as_posix()
        entries.append(Entry(image, name, label, domain, outlier=up and domain == 1))
    return FileImages("Pittsburgh", path, entries, class_names, ("street", "painting") if target else ("street",))


def _views(folder: Path) -> list[tuple[Path, View]]:
    views: dict[View, Path] = {}
    for image in list_images(folder):
        view = parse_view(image.stem)
        if view is not None and not image.relative_to(folder).parts[0].startswith("queries"):
            if view in views:
                raise UsageError(f"{image}: shows the same view as {views[view]}; keep one of them")
            views[view] = image
    if not views:
        raise UsageError(
            f"{folder}: holds images but no view called as 000000_pitch1_yaw1.jpg or @...@pitch1_yaw1@.jpg"
        )
    return [(image, view) for view, image in views.items()]
