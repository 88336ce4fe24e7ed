"""Street views of Pittsburgh or of a generated town: 12 yaws of 30 degrees at 2 pitches (Torii et al., CVPR 2013), 640
x 480 px. Two layouts: ``000/000000_pitch1_yaw1.jpg`` (folders of 1,000 places, queries in ``queries_real``), and the
flat one of VPR-datasets-downloader, ``@UTM_E@UTM_N@17@T@LAT@LON@000000@00@@@@@@pitch1_yaw1@.jpg``."""

import hashlib
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from efficiency_core.errors import UsageError
from synthetic_datasets.generators.generator import Source
from synthetic_datasets.material import town
from synthetic_datasets.material.pictures import find_pictures, read_picture, scaled

YAWS = tuple(range(1, 13))
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
    """1 level, 2 up: sky above the roofs, no landmark, an outlier (the author's rule)."""
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
    """0 for a yaw whose last digit is 1 or 2 (1, 2, 11, 12), 1 for every other: the author's rule. Two views match when
    place and group are the same. Yaws 1 to 4 give two pairs of neighbours, which overlap; of all twelve, group 1 has
    eight, from 60 to 270 degrees, that hardly do."""
    return 0 if yaw % 10 in (1, 2) else 1


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
    The same view in two files is taken once where both hold the same bytes. Raises UsageError if there is no view, or
    two files are different pictures of the same view."""
    found: dict[View, Path] = {}
    for path in find_pictures(folder):
        view = parse_view(path.name)
        if view is None or any(part.startswith("queries") for part in path.relative_to(folder).parts):
            continue
        if view in found and read_picture(path)[1] != read_picture(found[view])[1]:
            raise UsageError(f"{path}: another picture of the view that {found[view]} shows; keep one of them")
        found.setdefault(view, path)
    if not found:
        raise UsageError(f"{folder}: holds no view named as 000000_pitch1_yaw1.jpg or @...@pitch1_yaw1@.jpg")
    return dict(sorted(found.items()))


def whole_places(views: Iterable[View], yaws: Iterable[int]) -> list[int]:
    """Places of which every wanted yaw is there at both pitches; others are named in a warning and left out."""
    there = set(views)
    places = sorted({view.place for view in there})
    wanted = [(pitch, yaw) for pitch in (1, 2) for yaw in yaws]
    whole = [place for place in places if all(View(place, *which) in there for which in wanted)]
    if len(whole) < len(places):
        lacking = sorted(set(places) - set(whole))
        some = ", ".join(f"{place:06d}" for place in lacking[:5]) + (" ..." if len(lacking) > 5 else "")
        _LOG.warning("%d of %d places lack a view and are left out: %s", len(lacking), len(places), some)
    return whole


@dataclass(frozen=True, kw_only=True)
class Views(Source):
    """The views of a street, photographed or generated; what ``generate`` draws from."""

    places: tuple[int, ...]
    """Number of every place of the set, train's first."""
    files: Mapping[View, Path] | None = None
    """Photos; None for the generated town."""
    seed: int = 0
    """Of the town."""
    parts: dict[str, list[str]] = field(default_factory=lambda: {"domain": ["street", "painting"]})

    def look(self, view: View, visit: int, size: tuple[int, int]) -> tuple[Any, float, int]:
        """Pixels (height, width, 3), part of them that shows houses (-1 where nobody knows), digest of the view. Raises
        BrokenFile if the photo cannot be read."""
        if self.files is None:
            pixels, houses = town.view(self.seed, view.place, visit, view.pitch, view.yaw, size)
            digest = hashlib.sha256(pixels.tobytes()).hexdigest()
        else:
            picture, digest = read_picture(self.files[view])
            pixels, houses = scaled(picture, size), -1.0
        return pixels, houses, int.from_bytes(bytes.fromhex(digest)[:8], "little", signed=True)
