"""Images in one folder per class, and Office-31 (Saenko et al., ECCV 2010). Classes are numbered in the order of their
names over all domains."""

from collections.abc import Sequence
from pathlib import Path

from efficiency_core.errors import UsageError
from efficiency_core.readers import class_folders, list_images
from outlier_matching.data.file_set import FileImageSet, ImageEntry, in_split

_OFFICE31 = ("dslr", "amazon", "webcam")  # the thesis's source and target come first


def open_class_folders(path: str | Path, split: str, *, domains: str = "", outliers: str = "") -> FileImageSet:
    """``ROOT[/SPLIT][/DOMAIN]/CLASS/*.jpg``. ``ROOT/train`` and ``ROOT/test`` are the splits if they exist,
    otherwise every fifth image of a class is a test image. Raises UsageError if a folder is missing or holds no
    image, or there is no class of a name in ``outliers``.

    Args:
        split: ``train``, ``test`` or ``all``.
        domains: names of the domains' folders, the source first, for example ``photo,painting``. Empty: there is one
            domain, and the root holds the classes.
        outliers: classes whose images are outliers in every domain."""
    path = Path(path)
    if not path.is_dir():
        raise UsageError(f"{path}: no such folder; expected a folder of images per class")
    own = [name for name in ("train", "test") if (path / name).is_dir()]
    if own and split not in (*own, "all"):
        raise UsageError(f"{path}: has no split {split!r}; it has {', '.join(own)}")
    roots = [path / name for name in own if split in (name, "all")] or [path]
    names = _names(domains)
    folders = [(root / name, number) for root in roots for number, name in enumerate(names or ["."])]
    return _set(path.name, path, folders, "all" if own else split, outliers, names or (path.name,))


def open_office31(path: str | Path, split: str, *, outliers: str = "speaker,scissors") -> FileImageSet:
    """``ROOT/amazon|dslr|webcam/images/<class>/frame_0001.jpg``, some copies without ``images/``. In the thesis
    (section 4.5.1), dslr is the source, amazon the target, and the categories speaker and scissors are outliers. The
    thesis counts 4,652 images; the three domains have 2,817, 498 and 795. Raises UsageError if a domain is missing
    or empty, or there is no such category.

    Args:
        split: ``all``, or ``train`` and ``test``: the last of every five images of a category in a domain is a test image.
            The thesis does not name its test images.
        outliers: categories whose images are outliers; empty for none."""
    path = Path(path)
    folders = []
    for number, name in enumerate(_OFFICE31):
        domain = path / name
        if not domain.is_dir():
            raise UsageError(f"{domain}: no such folder; expected Office-31 as {path}/{name}/images/<class>/*.jpg")
        folders.append((domain / "images" if (domain / "images").is_dir() else domain, number))
    return _set("Office-31", path, folders, split, outliers, _OFFICE31)


def _set(
    name: str, root: Path, folders: Sequence[tuple[Path, int]], split: str, outliers: str, domain_names: Sequence[str]
) -> FileImageSet:
    """The images of pairs (folder of classes, number of its domain)."""
    below = [(path, domain) for folder, domain in folders for path in class_folders(folder)]
    classes = sorted({path.name for path, _ in below})
    for outlier in _names(outliers):
        if outlier not in classes:
            raise UsageError(f"{root}: has no class {outlier!r} for outliers; it has {', '.join(classes)}")
    entries = []
    for folder, domain in below:
        for number, path in enumerate(list_images(folder)):
            if in_split(number, split):
                place = path.relative_to(root).as_posix()
                label, marked = classes.index(folder.name), folder.name in _names(outliers)
                entries.append(ImageEntry(path, place, label, domain, marked))
    return FileImageSet(name, root, entries, classes, domain_names)


def _names(text: str) -> tuple[str, ...]:
    """The names in a comma-separated list; none in an empty text."""
    return tuple(name.strip() for name in text.split(",")) if text else ()
