"""Kinetics (Kay et al. 2017 and later): clips of ten seconds, listed in CSV files of DeepMind.

::

    <root>/<split>/<class>/<youtube id>_<start:06d>_<end:06d>.mp4
    <root>/<split>.csv or <root>/annotations/<split>.csv     label,youtube_id,time_start,time_end,split

A class folder is called as its label, with underscores for spaces and without quotes and brackets. Labels count the
sorted class names of all lists that are there, so that splits agree as long as each has every class or all lists lie
together.
"""

from __future__ import annotations

from pathlib import Path

from full_video.errors import UsageError
from full_video.file_videos import Entry, FileVideos
from full_video.text_tables import choice, first_folder, table, whole

__all__ = ["class_folder", "open_kinetics"]

_SPLITS = ("train", "val", "validate", "test")
_COLUMNS = ("label", "youtube_id", "time_start", "time_end")


def class_folder(label: str) -> str:
    """Name of the folder of a class: ``playing_clarinet`` for ``playing clarinet``."""
    return "".join(character for character in label.replace(" ", "_") if character not in "'\"()")


def open_kinetics(path: str | Path, split: str, *, lists: str | Path | None = None) -> FileVideos:
    """The clips that a split's list names.

    Args:
        path: folder of the splits' folders.
        split: ``train``, ``val``, ``validate`` or ``test``, as folder and list are called.
        lists: folder of the CSV files; by default ``path`` or its ``annotations``.

    Raises:
        UsageError: if a list is missing or a row cannot be used.
    """
    root = Path(path)
    choice(split, _SPLITS, "split of Kinetics")
    places = [root, root / "annotations"] if lists is None else [Path(lists)]
    folder = first_folder(places, [f"{split}.csv"], "the list of Kinetics")
    rows = {other: _rows(folder / f"{other}.csv") for other in _SPLITS if (folder / f"{other}.csv").is_file()}
    names = sorted({label for part in rows.values() for _, label, _ in part if label})
    index = {name: label for label, name in enumerate(names)}
    file = folder / f"{split}.csv"
    entries = []
    for line, label, clip in rows[split]:
        if not label:
            raise UsageError(f"{file}:{line}: clip {clip} has no label; this split cannot be scored")
        entries.append(Entry(f"{split}/{class_folder(label)}/{clip}", index[label]))
    return FileVideos("Kinetics", str(file), root, entries, names, suffix=".mp4")


def _rows(path: Path) -> list[tuple[int, str, str]]:
    """(line, label, name of the clip without ending) of every row; the label may be empty."""
    rows = []
    for line, (label, video, start, end) in table(path, _COLUMNS, f"a CSV file with {', '.join(_COLUMNS)}"):
        where = f"{path}:{line}"
        first, last = (_seconds(text, where) for text in (start, end))
        if not video or last <= first:
            raise UsageError(f"{where}: expected a video id and a start before the end, got {video!r}, {start}, {end}")
        rows.append((line, label, f"{video}_{first:06d}_{last:06d}"))
    return rows


def _seconds(text: str, where: str) -> int:
    return whole(text.removesuffix(".0"), where, "a time in seconds")
