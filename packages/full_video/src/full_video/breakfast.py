"""Breakfast (Kuehne, Arslan, Serre 2014): 52 persons make ten breakfasts before up to five cameras, 15 frames a second.

::

    <root>/P03/cam01/P03_cereals.avi            cameras cam01, cam02, stereo, webcam01, webcam02; persons P03 to P54
    <root>/P03/stereo/P03_cereals_ch0.avi       a stereo camera writes two files

The thesis's split is that of VideoGraph and Timeception: persons P03 to P46 train, P47 to P54 test, of stereo cameras
the first channel only (1,357 and 335 videos where all are there; the thesis prints 1,712 in all). The four official
folds take one of P03-P15, P16-P28, P29-P41, P42-P54 as test each.
"""

from __future__ import annotations

import re
from pathlib import Path

from full_video.errors import UsageError
from full_video.file_videos import Entry, FileVideos
from full_video.text_tables import choice

__all__ = ["ACTIVITIES", "open_breakfast"]

ACTIVITIES = (
    "cereals", "coffee", "friedegg", "juice", "milk", "pancake", "salat", "sandwich", "scrambledegg", "tea",
)  # fmt: skip
CAMERAS = ("cam01", "cam02", "stereo", "webcam01", "webcam02")
_TEST = {
    "thesis": range(47, 55), "s1": range(3, 16), "s2": range(16, 29), "s3": range(29, 42), "s4": range(42, 55),
}  # fmt: skip


def open_breakfast(path: str | Path, split: str, *, persons: str = "thesis") -> FileVideos:
    """The videos of the persons of a split, in order of person, camera and activity.

    Args:
        path: folder of P03, P04, ...
        split: ``train`` or ``test``.
        persons: whose videos are test: ``thesis`` (P47 to P54), or an official fold ``s1`` to ``s4``.

    Raises:
        UsageError: if there are no persons, or a video has a name of another form.
    """
    root = Path(path)
    choice(split, ("train", "test"), "split of Breakfast")
    test = _TEST[choice(persons, tuple(_TEST), "persons of Breakfast")]
    folders = sorted(folder for folder in root.glob("P[0-9][0-9]") if 3 <= int(folder.name[1:]) <= 54)
    if not folders:
        raise UsageError(f"{root}: expected folders P03 to P54 of Breakfast")
    entries = []
    for folder in folders:
        if (int(folder.name[1:]) in test) != (split == "test"):
            continue
        for camera in CAMERAS:
            for file in sorted((folder / camera).glob("*.avi")):
                label = _label(file, folder.name, camera)
                if label is not None:
                    entries.append(Entry(file.relative_to(root).as_posix(), label))
    return FileVideos("Breakfast", f"{root} {persons} {split}", root, entries, ACTIVITIES)


def _label(file: Path, person: str, camera: str) -> int | None:
    """Class of a video, None for the second channel of a stereo camera."""
    match = re.fullmatch(rf"{person}_([a-z]+)(?:_ch([01]))?", file.stem)
    if match is None or match[1] not in ACTIVITIES or (match[2] is not None) != (camera == "stereo"):
        form = f"{person}_<activity>{'_ch0' if camera == 'stereo' else ''}.avi"
        raise UsageError(f"{file}: expected {form} with an activity of {', '.join(ACTIVITIES)}")
    return None if match[2] == "1" else ACTIVITIES.index(match[1])
