"""HMDB51 (Kuehne et al. 2011): 6,766 AVI files of 51 classes, three folds of 70 training and 30 test videos a class.

::

    <root>/<class>/<name>.avi
    testTrainMulti_7030_splits/<class>_test_split1.txt      <name>.avi 1       (1 train, 2 test, 0 in neither)

The class folders lie in the given folder or in its ``hmdb51_org``, the lists in its ``testTrainMulti_7030_splits`` or
beside it. Labels count the sorted class names.
"""

from __future__ import annotations

from pathlib import Path

from full_video.errors import UsageError
from full_video.file_videos import Entry, FileVideos
from full_video.text_tables import choice, text_lines

__all__ = ["open_hmdb51"]

_USE = {"train": "1", "test": "2"}


def open_hmdb51(path: str | Path, split: str, *, fold: int = 1, lists: str | Path | None = None) -> FileVideos:
    """One split, ``train`` or ``test``, of one fold.

    Args:
        path: folder of the class folders, or the one above it.
        split: ``train`` or ``test``.
        fold: 1, 2 or 3.
        lists: folder of the lists, where it is not at its usual place.

    Raises:
        UsageError: if there are no lists or a line cannot be used.
    """
    path = Path(path)
    choice(split, tuple(_USE), "split of HMDB51")
    choice(fold, (1, 2, 3), "fold of HMDB51")
    root = path / "hmdb51_org" if (path / "hmdb51_org").is_dir() else path
    name = "testTrainMulti_7030_splits"
    places = [path / name, path.parent / name] if lists is None else [Path(lists)]
    ending = f"_test_split{fold}.txt"
    files = next((found for place in places if (found := sorted(place.glob(f"*{ending}")))), None)
    if files is None:
        raise UsageError(f"the lists of HMDB51 not found: expected <class>{ending} in {' or '.join(map(str, places))}")
    # By the name of the class: the files may sort otherwise, as an underscore comes before small letters.
    classes = sorted(file.name.removesuffix(ending) for file in files)
    entries = []
    for label, class_name in enumerate(classes):
        file = files[0].parent / f"{class_name}{ending}"
        for line, text in text_lines(file, "lines 'name.avi 1'"):
            video, _, use = text.rpartition(" ")
            if use not in ("0", "1", "2") or not video.strip():
                raise UsageError(f"{file}:{line}: expected 'name.avi' and 0, 1 or 2, got {text!r}")
            if use == _USE[split]:
                entries.append(Entry(f"{class_name}/{video.strip()}", label))
    return FileVideos("HMDB51", f"{files[0].parent} split {fold} {split}", root, entries, classes)
