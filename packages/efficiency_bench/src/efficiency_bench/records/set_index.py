"""Real sets of videos or images that are read in their own layout: `SPLIT.index.json` lists the content of a split.

Beside it lie the decoded images of formats that decode many files, so that a run does not decode them again. The index holds no
absolute path: the folder of the data comes with the run (`--images`), so the same data in another place are the same data. A run
with seed s reads fold s modulo their number: the authors' splits of UCF101 and HMDB51.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from efficiency_bench.documents import Added, Entry, Expected, Settings, Text, load_document
from efficiency_bench.records.json_file import write_json
from efficiency_core.errors import UsageError

SUFFIX = ".index.json"
Package = Literal["full_video", "outlier_matching", "weight_align"]
PackageName = Annotated[Package, Expected("full_video (videos), outlier_matching or weight_align (images)")]
FormatName = Annotated[
    str, StringConstraints(pattern="^[a-z0-9][a-z0-9-]*$"), Expected("the name of a format, such as ucf101")
]


@dataclass(frozen=True)
class Fold(Entry):
    """One side, training or test, of one of the authors' divisions of the data."""

    options: Settings
    """Options of the format for this fold, over those of all folds."""
    size: Annotated[int, Field(strict=True, ge=1), Expected("the number of videos or images, at least 1")]
    """Number of videos or images."""
    digest: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$"), Expected("a sha256 in hex")]
    """Digest of the content, by the package that reads it."""


@dataclass(frozen=True)
class SetIndex(Entry):
    """An index file: one split of a real data set that is read in its own layout."""

    index: Annotated[Literal[2], Expected("2, the version of this format")]
    package: PackageName
    """Package that reads it: `full_video` for videos, `outlier_matching` or `weight_align` for images."""
    format: FormatName
    """Format that the package reads, "ucf101"."""
    split: Text
    """Name of the split in that format."""
    options: Settings
    """Further options of the format."""
    folds: Annotated[tuple[Fold, ...], Field(min_length=1), Expected("a list of at least one fold")]
    """Folds; a set with one split has one."""
    name: Text
    """Name of the set in records."""
    source: Text
    """Name of its form in records. Never a path: the same data in another place are the same data."""
    class_names: Annotated[
        tuple[Annotated[str, Expected("text")], ...], Field(min_length=1), Expected("a list of the classes' names")
    ]
    """Classes, in the order of their labels."""
    path: Annotated[Path, Added] = Path()
    """File the index was read from, for messages."""


def make_index(
    root: Path,
    package: Package,
    kind: str,
    split: str,
    options: Mapping[str, Any],
    folds: Sequence[Mapping[str, Any]],
    out: Path,
    *,
    name: str = "",
    source: str = "",
) -> int:
    """Read a data set in its own layout and write its index; returns the number of videos or images in all folds.

    Args:
        root, package, kind: the folder of the data set, the package that reads it, and its format, "ucf101".
        split: "train" or "test", or the format's own name of a split.
        options, folds: options of the format, and of each fold over those; none is one fold without any.
        out: the index, `SPLIT.index.json`.
        name, source: as in :class:`SetIndex`; empty: the package's own, and the format.

    Raises:
        UsageError: the index's name is not of that form, or the folds have different classes.
        the package's errors: the layout is not that of the format.
    """
    if not out.name.endswith(SUFFIX):
        raise UsageError(f"--out: expected a name that ends in {SUFFIX}, got {out.name}")
    folds = folds or ({},)
    found = [_open(package, root, kind, split, {**options, **fold}, out, number) for number, fold in enumerate(folds)]
    infos = [part.info for part in found]
    for number, info in enumerate(infos):
        if info.class_names != infos[0].class_names:
            raise UsageError(f"{root}: fold {number} has other classes than fold 0; classes must be the same in all")
    made = tuple(Fold(dict(fold), len(part), part.info.content_digest) for fold, part in zip(folds, found, strict=True))
    index = SetIndex(
        2, package, kind, split, dict(options), made, name or infos[0].name, source or kind, tuple(infos[0].class_names)
    )
    write_json(out, {key: value for key, value in asdict(index).items() if key != "path"})
    return sum(map(len, found))


def load_index(path: Path) -> SetIndex:
    """Read and check an index; a `UsageError` says what was expected and what came."""
    return replace(load_document(path, SetIndex)[0], path=path)


def open_fold(index: SetIndex, root: Path, number: int) -> Any:
    """The videos or images under `root` of fold `number` (modulo the number of folds), as the package opens them; a
    `UsageError` if they are not those of the index."""
    number %= len(index.folds)
    fold = index.folds[number]
    options = {**index.options, **fold.options}
    found = _open(index.package, root, index.format, index.split, options, index.path, number)
    if found.info.content_digest != fold.digest:
        raise UsageError(
            f"{root}: holds other {content_name(index.package)} ({len(found)}) than {index.path} lists ({fold.size}); remove "
            "the index and make it again"
        )
    return found


def content_name(package: Package) -> str:
    """ "videos" or "images": the items of the package's sets."""
    return "videos" if package == "full_video" else "images"


def _open(
    package: Package, root: Path, kind: str, split: str, options: Mapping[str, Any], index: Path, fold: int
) -> Any:
    # Imported here: they bring torch, and most commands need none of them.
    if package == "full_video":
        from full_video.data import open_videos

        return open_videos(root, kind, split, **options)
    texts = {name: str(value) for name, value in options.items()}
    if package == "outlier_matching":
        from outlier_matching import open_images

        return open_images(root, kind, split, **texts)
    from weight_align.data import open_dataset, options_of

    if "cache" in options_of(kind):
        texts.setdefault("cache", str(index.with_name(f"{index.name.removesuffix(SUFFIX)}.{fold}.pixels")))
    return open_dataset(root, kind, split, **texts)
