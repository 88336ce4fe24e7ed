"""UCF101 (Soomro, Zamir, Shah 2012): 13,320 AVI files of 101 classes, three folds of train and test.

::

    <root>/<Class>/v_<Class>_gXX_cYY.avi
    ucfTrainTestlist/classInd.txt           1 ApplyEyeMakeup                              (from 1)
    ucfTrainTestlist/trainlist01.txt        ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1
    ucfTrainTestlist/testlist01.txt         ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi

The class folders lie in the given folder or in its ``UCF-101``, the lists in its ``ucfTrainTestlist`` or beside it, as
the two archives unpack.
"""

from __future__ import annotations

from pathlib import Path

from full_video.errors import UsageError
from full_video.file_videos import Entry, FileVideos
from full_video.text_tables import choice, first_folder, text_lines, whole

__all__ = ["open_ucf101"]


def open_ucf101(path: str | Path, split: str, *, fold: int = 1, lists: str | Path | None = None) -> FileVideos:
    """One split, ``train`` or ``test``, of one fold.

    Args:
        path: folder of the class folders, or the one above it.
        split: ``train`` or ``test``.
        fold: 1, 2 or 3.
        lists: folder of ``classInd.txt`` and the lists, where it is not at its usual place.

    Raises:
        UsageError: if a file is missing or a line cannot be used.
    """
    path = Path(path)
    choice(split, ("train", "test"), "split of UCF101")
    choice(fold, (1, 2, 3), "fold of UCF101")
    root = path / "UCF-101" if (path / "UCF-101").is_dir() else path
    places = [path / "ucfTrainTestlist", path.parent / "ucfTrainTestlist"] if lists is None else [Path(lists)]
    folder = first_folder(places, ["classInd.txt"], "the lists of UCF101")
    names = _class_names(folder / "classInd.txt")
    number_of = {name: number for number, name in enumerate(names, start=1)}
    file = folder / f"{split}list{fold:02d}.txt"
    entries = []
    for line, text in text_lines(file, "lines 'Class/v_Class_g01_c01.avi 1'"):
        where = f"{file}:{line}"
        video, *rest = text.replace("\\", "/").split()
        if len(rest) > 1 or video.count("/") != 1:
            raise UsageError(f"{where}: expected 'Class/video.avi' and its class number, got {text!r}")
        if split == "train" and not rest:
            raise UsageError(f"{where}: the class number is missing after {video!r}")
        name = video.split("/")[0]
        if name not in number_of:
            raise UsageError(f"{where}: class {name!r} is not in {folder / 'classInd.txt'}")
        if rest and whole(rest[0], where, "the class number") != number_of[name]:
            raise UsageError(f"{where}: class number {rest[0]} is not that of {name}, which is {number_of[name]}")
        entries.append(Entry(video, number_of[name] - 1))
    return FileVideos("UCF101", str(file), root, entries, names)


def _class_names(path: Path) -> list[str]:
    names: list[str] = []
    for line, text in text_lines(path, "lines '1 ApplyEyeMakeup'"):
        number, _, name = text.partition(" ")
        if whole(number, f"{path}:{line}", "the class number") != len(names) + 1 or not name.strip():
            raise UsageError(f"{path}:{line}: expected '{len(names) + 1} NameOfTheClass', got {text!r}")
        names.append(name.strip())
    return names
