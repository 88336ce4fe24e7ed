"""Breakfast (Kuehne, Arslan, Serre 2014): 52 persons prepare ten breakfasts in front of up to five cameras, 15 frames per second.

Files are ``P03/cam01/P03_cereals.avi`` and, of a stereo camera, ``P03/stereo/P03_cereals_ch0.avi`` and ``..._ch1.avi``."""

import re
from pathlib import Path

from efficiency_core.errors import UsageError
from full_video.data.file_videos import Entry, FileVideos, choice

ACTIVITIES = ("cereals", "coffee", "friedegg", "juice", "milk", "pancake", "salat", "sandwich", "scrambledegg", "tea")
CAMERAS = ("cam01", "cam02", "stereo", "webcam01", "webcam02")
_TEST = {
    "thesis": range(47, 55), "s1": range(3, 16), "s2": range(16, 29), "s3": range(29, 42), "s4": range(42, 55),
}  # fmt: skip


def open_breakfast(path: str | Path, split: str, *, persons: str = "thesis") -> FileVideos:
    """The videos of the persons of a split, in order of person, camera and activity; of stereo cameras the first channel.

    The thesis uses the split of VideoGraph and Timeception (1,357 and 335 videos if all are there; it states 1,712 in
    all). Raises UsageError if there are no persons, or a video has a name of another form.

    Args:
        path: folder of P03, P04, ...
        split: ``train`` or ``test``.
        persons: persons of the test split: ``thesis`` (P47 to P54), or an official fold ``s1`` to ``s4``."""
    root = Path(path)
    choice(split, ("train", "test"), "split of Breakfast")
    choice(persons, tuple(_TEST), "persons of Breakfast")
    folders = sorted(folder for folder in root.glob("P[0-9][0-9]") if 3 <= int(folder.name[1:]) <= 54)
    if not folders:
        raise UsageError(f"{root}: expected folders P03 to P54 of Breakfast")
    entries = []
    for folder in folders:
        if (int(folder.name[1:]) in _TEST[persons]) != (split == "test"):
            continue
        for camera in CAMERAS:
            for file in sorted((folder / camera).glob("*.avi")):
                if (label := _label(file, folder.name, camera)) is not None:
                    entries.append(Entry(file.relative_to(root).as_posix(), label))
    return FileVideos("Breakfast", f"{root} {persons} {split}", root, entries, ACTIVITIES)


def _label(file: Path, person: str, camera: str) -> int | None:
    """Class of a video; None for the second channel of a stereo camera."""
    match = re.fullmatch(rf"{person}_([a-z]+)(?:_ch([01]))?", file.stem)
    if match is None or match[1] not in ACTIVITIES or (match[2] is not None) != (camera == "stereo"):
        form = f"{person}_<activity>{'_ch0' if camera == 'stereo' else ''}.avi"
        raise UsageError(f"{file}: expected {form} with an activity of {', '.join(ACTIVITIES)}")
    return None if match[2] == "1" else ACTIVITIES.index(match[1])
