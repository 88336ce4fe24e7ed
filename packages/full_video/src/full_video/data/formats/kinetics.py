"""Kinetics (Kay et al. 2017 and later): clips of ten seconds, listed in CSV files of DeepMind.

Files are ``<split>/<class>/<youtube id>_<start:06d>_<end:06d>.mp4``; the folders of splits and of classes may be left out, and
those of classes may have spaces. Columns of the lists are ``label,youtube_id,time_start,time_end,split``."""

from functools import cache
from pathlib import Path, PurePath

from efficiency_core.errors import UsageError
from efficiency_core.readers import table, whole
from full_video.data.file_videos import Entry, FileVideos, choice, first_folder, folder_lister

_SPLITS = ("train", "val", "validate", "test")
_COLUMNS = ("label", "youtube_id", "time_start", "time_end")


def class_folder(label: str) -> str:
    """Name of the folder of a class: underscores for spaces, no quotes and brackets."""
    return "".join(character for character in label.replace(" ", "_") if character not in "'\"()")


def open_kinetics(path: str | Path, split: str, *, lists: str | Path | None = None) -> FileVideos:
    """The clips that a split's list names.

    Labels number the sorted class names of all lists that are there. So splits agree if each has every class or all
    lists are together. Raises UsageError if a list is missing or a row cannot be used.

    Args:
        path: folder of the splits' folders, or of the clips.
        split: ``train``, ``val``, ``validate`` or ``test``, as the folder and the list are named.
        lists: folder of the CSV files; by default ``path`` or its ``annotations``."""
    root = Path(path)
    choice(split, _SPLITS, "split of Kinetics")
    places = [root, root / "annotations"] if lists is None else [Path(lists)]
    folder = first_folder(places, [f"{split}.csv"], "the list of Kinetics")
    rows = {other: _rows(folder / f"{other}.csv") for other in _SPLITS if (folder / f"{other}.csv").is_file()}
    names = sorted({label for part in rows.values() for _, label, _ in part if label})
    index = {name: label for label, name in enumerate(names)}
    file = folder / f"{split}.csv"
    names_in = folder_lister()
    entries = []
    for line, label, clip in rows[split]:
        if not label:
            raise UsageError(f"{file}:{line}: clip {clip} has no label; this split cannot be scored")
        folders = _folders(split, label)
        place = next((one for one in folders if f"{clip}.mp4" in names_in(root / one)), folders[0])
        entries.append(Entry((place / clip).as_posix(), index[label]))
    return FileVideos("Kinetics", str(file), root, entries, names, suffix=".mp4")


@cache
def _folders(split: str, label: str) -> list[PurePath]:
    """Where a clip may be, below the folder of the data; by default at the first place."""
    usual = class_folder(label)
    return [PurePath(base, name) for name in (usual, label, usual.replace("_", " "), "") for base in (split, "")]


def _rows(path: Path) -> list[tuple[int, str, str]]:
    """(line, label, file name of the clip without suffix) of every row; the label may be empty."""
    rows = []
    for line, (label, video, start, end) in table(path, _COLUMNS, f"a CSV file with {', '.join(_COLUMNS)}"):
        where = f"{path}:{line}"
        first, last = (whole(text.removesuffix(".0"), where, "a time in seconds") for text in (start, end))
        if not video or last <= first:
            raise UsageError(f"{where}: expected a video id and a start before the end, got {video!r}, {start}, {end}")
        rows.append((line, label, f"{video}_{first:06d}_{last:06d}"))
    return rows
