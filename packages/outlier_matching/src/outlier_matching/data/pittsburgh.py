"""Street views of Pittsburgh (Torii et al., CVPR 2013), ``000/000000_pitch1_yaw1.jpg`` or VPR-datasets-downloader's flat copies,
and their translations ``AtoB_...`` in a folder of their own. Views match by place and yaw group (the author's rule: yaws that
end in 1 or 2, or all others); a view of pitch 2 shows sky and walls: it has no class, and its translation is an outlier."""

import re
from pathlib import Path
from typing import NamedTuple

from efficiency_core.errors import UsageError
from efficiency_core.readers import list_images
from outlier_matching.data.file_set import FileImageSet, ImageEntry, in_split

_VIEW = re.compile(r"(?:[AB]to[AB]_)?(\d+)_pitch(\d+)_yaw(\d+)")
_NOTE = re.compile(r"pitch(\d+)_yaw(\d+)")
_FLAT_PLACE, _FLAT_NOTE = 7, 14  # positions of fields in a flat name, separated by @


class View(NamedTuple):
    """Number of the panorama (``place``), ``pitch`` (1 level, 2 up) and ``yaw`` (1 to 12) of a view."""

    place: int
    pitch: int
    yaw: int


def parse_view(stem: str) -> View | None:
    """The view that a file name without suffix describes; None for another name."""
    if match := _VIEW.fullmatch(stem):
        return View(*map(int, match.groups()))
    fields = stem.split("@")
    if len(fields) > _FLAT_NOTE and fields[_FLAT_PLACE].isdecimal() and (note := _NOTE.fullmatch(fields[_FLAT_NOTE])):
        return View(int(fields[_FLAT_PLACE]), *map(int, note.groups()))
    return None


def open_pittsburgh(path: str | Path, split: str, *, target: str = "", upward: str = "false") -> FileImageSet:
    """Street views (domain 0) and, if ``target`` is given, their translations (domain 1). Raises UsageError if a folder
    is missing, holds no view, or holds a view twice.

    Args:
        path: folder of the views; its folders ``queries*``, from another camera and day, are left out.
        split: ``all``, or ``train`` and ``test``: the last of every ten places is a test place in both domains. The thesis
            does not describe its split.
        target: folder of the translated views.
        upward: ``true`` also keeps the upward views of the source, which match nothing."""
    path = Path(path)
    if upward not in ("true", "false"):
        raise UsageError(f"format pittsburgh: option upward must be true or false, got {upward!r}")
    folders = [(path, 0), *([(Path(target), 1)] if target else [])]
    views = [(folder, domain, image, view) for folder, domain in folders for image, view in _views(folder)]
    places = {place: number for number, place in enumerate(sorted({view.place for *_, view in views}))}
    class_names = [f"{place:06d} {group}" for place in places for group in ("12", "34")]
    entries = []
    for folder, domain, image, (place, pitch, yaw) in views:
        up = pitch == 2
        if not in_split(places[place], split, every=10) or (up and domain == 0 and upward == "false"):
            continue
        label = -1 if up else 2 * places[place] + (yaw % 10 not in (1, 2))
        name = image.relative_to(folder).as_posix()
        entries.append(ImageEntry(image, name, label, domain, outlier=up and domain == 1))
    return FileImageSet("Pittsburgh", path, entries, class_names, ("street", "painting") if target else ("street",))


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
            f"{folder}: holds images but no view named like 000000_pitch1_yaw1.jpg or @...@pitch1_yaw1@.jpg"
        )
    return [(image, view) for view, image in views.items()]
