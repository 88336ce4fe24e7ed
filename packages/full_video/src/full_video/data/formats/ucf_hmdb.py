"""UCF101 (Soomro, Zamir, Shah 2012): 13,320 AVI files of 101 classes, three folds of train and test; lines are
``1 ApplyEyeMakeup`` in ``classInd.txt`` and ``ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1`` in ``trainlist01.txt``.

HMDB51 (Kuehne et al. 2011): 6,766 AVI files of 51 classes, three folds of 70 training and 30 test videos a class, as
``<class>/<name>.avi``; lines of ``<class>_test_split1.txt`` are ``<name>.avi 1`` (1 train, 2 test, 0 in neither)."""

from pathlib import Path

from efficiency_core.errors import UsageError
from efficiency_core.readers import text_lines, whole
from full_video.data.file_videos import Entry, FileVideos, choice, first_folder

_USE = {"train": "1", "test": "2"}


def open_ucf101(path: str | Path, split: str, *, fold: int = 1, lists: str | Path | None = None) -> FileVideos:
    """One split, ``train`` or ``test``, of one fold. Raises UsageError if a file is missing or a line cannot be used.

    Args:
        path: folder of the class folders, or the one above it.
        fold: 1, 2 or 3.
        lists: folder of the lists; by default ``ucfTrainTestlist`` in ``path`` or next to it."""
    root, places = _places("UCF101", Path(path), "UCF-101", "ucfTrainTestlist", split, fold, lists)
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


def open_hmdb51(path: str | Path, split: str, *, fold: int = 1, lists: str | Path | None = None) -> FileVideos:
    """As :func:`open_ucf101`; labels number the sorted class names, ``lists`` is ``testTrainMulti_7030_splits``."""
    root, places = _places("HMDB51", Path(path), "hmdb51_org", "testTrainMulti_7030_splits", split, fold, lists)
    ending = f"_test_split{fold}.txt"
    files = next((found for place in places if (found := sorted(place.glob(f"*{ending}")))), None)
    if files is None:
        raise UsageError(f"the lists of HMDB51 not found: expected <class>{ending} in {' or '.join(map(str, places))}")
    # Sorted by class, not by file: an underscore comes before small letters.
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


def _places(
    data: str, path: Path, videos: str, near: str, split: str, fold: int, lists: str | Path | None
) -> tuple[Path, list[Path]]:
    """Folder of the class folders, and the folders that may hold the lists."""
    choice(split, tuple(_USE), f"split of {data}")
    choice(fold, (1, 2, 3), f"fold of {data}")
    root = path / videos if (path / videos).is_dir() else path
    return root, [path / near, path.parent / near] if lists is None else [Path(lists)]


def _class_names(path: Path) -> list[str]:
    names: list[str] = []
    for line, text in text_lines(path, "lines '1 ApplyEyeMakeup'"):
        number, _, name = text.partition(" ")
        if whole(number, f"{path}:{line}", "the class number") != len(names) + 1 or not name.strip():
            raise UsageError(f"{path}:{line}: expected '{len(names) + 1} NameOfTheClass', got {text!r}")
        names.append(name.strip())
    return names
