"""Street views of Pittsburgh in the two layouts they are handed round in.

A. Torii, J. Sivic, T. Pajdla and M. Okutomi, Visual Place Recognition with Repetitive Structures, CVPR 2013: 24 views of
640 x 480 px of every panorama, 12 yaws of 30 degrees at 2 pitches.

- ``000/000000_pitch1_yaw1.jpg``: the original one, in folders of 1,000 places; queries are in ``queries_real``.
- ``@UTM_E@UTM_N@17@T@LAT@LON@000000@00@@@@@@pitch1_yaw1@.jpg``: the flat one of VPR-datasets-downloader.
"""

import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from .errors import InputError
from .pictures import find_pictures, read_picture

YAWS, PITCHES = tuple(range(1, 13)), (1, 2)
CREDIT = "Pittsburgh street views, A. Torii et al., CVPR 2013 (Google Street View; not to be passed on)"

_NESTED = re.compile(r"(\d+)_pitch(\d+)_yaw(\d+)")
_NOTE = re.compile(r"pitch(\d+)_yaw(\d+)")
_FLAT_PLACE, _FLAT_NOTE = 7, 14
"""Which fields of a flat name, divided by ``@``, say the panorama and the view."""
_LOG = logging.getLogger(__name__)


class View(NamedTuple):
    """Which picture of which place."""

    place: int
    """Number of the panorama."""
    pitch: int
    """1 level, 2 up."""
    yaw: int
    """1 to 12."""

    @property
    def name(self) -> str:
        """As the original layout has it, without folder and suffix: ``000000_pitch1_yaw1``."""
        return f"{self.place:06d}_pitch{self.pitch}_yaw{self.yaw}"

    @property
    def folder(self) -> str:
        """Folder of the original layout: ``000`` for the first 1,000 places."""
        return f"{self.place // 1000:03d}"


def yaw_group(yaw: int) -> int:
    """0 for a yaw whose last digit is 1 or 2 (1, 2, 11, 12), 1 for every other: the author's rule.

    Two views match when place and group are the same. Yaws 1 to 4 give two pairs of neighbours, which overlap; of all
    twelve, group 1 has eight, from 60 to 270 degrees, that hardly do.
    """
    return 0 if yaw % 10 in (1, 2) else 1


def is_outlier(pitch: int) -> bool:
    """Whether a view shows no landmark: the upper pitch, sky above the roofs (the author's rule)."""
    return pitch == 2


def parse_view(file_name: str) -> View | None:
    """The view that a file shows by its name, in either layout, or None."""
    stem = Path(file_name).stem
    if match := _NESTED.fullmatch(stem):
        return View(*map(int, match.groups()))
    fields = stem.split("@")
    if len(fields) > _FLAT_NOTE and fields[_FLAT_PLACE].isdecimal() and (note := _NOTE.fullmatch(fields[_FLAT_NOTE])):
        return View(int(fields[_FLAT_PLACE]), *map(int, note.groups()))
    return None


def find_views(folder: Path) -> dict[View, Path]:
    """Database views below a folder, sorted; ``queries*`` (another day, no panorama) and translated ones are left out.

    The same view in two files is taken once where both hold the same bytes.

    Raises:
        InputError: there is no view, or two files are different pictures of the same view.
    """
    found: dict[View, Path] = {}
    for path in find_pictures(folder):
        view = parse_view(path.name)
        if view is None or any(part.startswith("queries") for part in path.relative_to(folder).parts):
            continue
        if view in found and read_picture(path)[1] != read_picture(found[view])[1]:
            raise InputError(f"{path}: another picture of the view that {found[view]} shows; keep one of them")
        found.setdefault(view, path)
    if not found:
        raise InputError(f"{folder}: holds no view named as 000000_pitch1_yaw1.jpg or @...@pitch1_yaw1@.jpg")
    return dict(sorted(found.items()))


def whole_places(views: Iterable[View], yaws: Iterable[int]) -> list[int]:
    """Places of which every wanted yaw is there at both pitches; others are named in a warning and left out."""
    there = set(views)
    places = sorted({view.place for view in there})
    wanted = [(pitch, yaw) for pitch in PITCHES for yaw in yaws]
    whole = [place for place in places if all(View(place, *which) in there for which in wanted)]
    if len(whole) < len(places):
        lacking = sorted(set(places) - set(whole))
        some = ", ".join(f"{place:06d}" for place in lacking[:5]) + (" ..." if len(lacking) > 5 else "")
        _LOG.warning("%d of %d places lack a view and are left out: %s", len(lacking), len(places), some)
    return whole
