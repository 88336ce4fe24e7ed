"""Real sets of videos or images that are read in their own layout: `SPLIT.index.json` says what a split holds.

Nothing is converted or copied. The index names the package that reads the set, the format, its options and a digest of every
fold, so that the workflow has a file to depend on and a run can tell that it reads what the index was made of. It holds no
absolute path: the folder of the data comes with the run (`--images`), so that the same data in another place are the same
data.

Data sets whose protocol averages over several splits of the authors (UCF101, HMDB51) have several folds: a run with seed s
reads fold s modulo their number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from .documents import load_document
from .errors import UsageError
from .files import write_json

SUFFIX = ".index.json"
Package = Literal["full_video", "outlier_matching", "weight_align"]


class Facts(Protocol):
    """What the bench asks of a set's own facts."""

    @property
    def name(self) -> str: ...
    @property
    def content_digest(self) -> str: ...
    @property
    def class_names(self) -> tuple[str, ...]: ...


class ReadSet(Protocol):
    """A set of videos or images, as a method package opens it."""

    @property
    def facts(self) -> Any: ...
    def __len__(self) -> int: ...


@dataclass(frozen=True)
class Fold:
    """One of the authors' splits into training and test data, of which the index describes one side."""

    options: Mapping[str, Any]
    """Options of the format for this fold, over those of all folds."""
    size: int
    """How many videos or images."""
    digest: str
    """What the package calls the content's digest."""


@dataclass(frozen=True)
class SetIndex:
    """What an index file says."""

    package: Package
    """Whose format it is: videos of `full_video`, images of `outlier_matching` or `weight_align`."""
    format: str
    split: str
    options: Mapping[str, Any]
    folds: tuple[Fold, ...]
    name: str
    source: str
    class_names: tuple[str, ...]
    path: Path
    """Where the index was read from, for messages."""


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
    """Look through a data set in its own layout and write its index; returns how many videos or images all folds hold.

    Args:
        root: the data set's folder.
        package: whose format it is.
        kind: its format, "ucf101".
        split: "train" or "test", or what else the format calls it.
        options: further options of the format.
        folds: options of each fold over those; none is one fold without any.
        out: the index, `SPLIT.index.json`.
        name: what records call the set; empty: what the package calls it.
        source: what records call its form; empty: the format.

    Raises:
        UsageError: the index's name is not of that form, or the folds have different classes.
        the package's errors: the layout is not that of the format.
    """
    if not out.name.endswith(SUFFIX):
        raise UsageError(f"--out: expected a name that ends in {SUFFIX}, got {out.name}")
    found = [_open(package, root, kind, split, {**options, **fold}) for fold in folds or ({},)]
    facts: Facts = found[0].facts
    for number, part in enumerate(found):
        if part.facts.class_names != facts.class_names:
            raise UsageError(f"{root}: fold {number} has other classes than fold 0; classes must be the same in all")
    content = {
        "index": 2,
        "package": package,
        "format": kind,
        "split": split,
        "options": dict(options),
        "folds": [
            {"options": dict(fold), "size": len(part), "digest": part.facts.content_digest}
            for fold, part in zip(folds or ({},), found, strict=True)
        ],
        "name": name or facts.name,
        "source": source or kind,  # not the path that the package names: the same data in another place are the same
        "class_names": list(facts.class_names),
    }
    write_json(out, content)
    return sum(map(len, found))


def load_index(path: Path) -> SetIndex:
    """Read and check an index; a `UsageError` says what was expected and what came."""
    content = load_document(path, "index")
    del content["index"]
    content["folds"] = tuple(Fold(**fold) for fold in content["folds"])
    content["class_names"] = tuple(content["class_names"])
    return SetIndex(**content, path=path)


def open_fold(index: SetIndex, root: Path, number: int) -> Any:
    """The package's own set of videos or images: those under `root` of fold `number` (modulo the number of folds), which must
    be those of the index.

    Raises:
        UsageError: the folder holds others than when the index was made.
    """
    fold = index.folds[number % len(index.folds)]
    found = _open(index.package, root, index.format, index.split, {**index.options, **fold.options})
    if found.facts.content_digest != fold.digest:
        raise UsageError(
            f"{root}: holds other {content_name(index.package)} ({len(found)}) than {index.path} lists ({fold.size}); remove "
            "the index and make it again"
        )
    return found


def content_name(package: Package) -> str:
    """What the sets of a package are made of, in the plural."""
    return "videos" if package == "full_video" else "images"


def _open(package: Package, root: Path, kind: str, split: str, options: Mapping[str, Any]) -> ReadSet:
    # Imported here: they bring torch, and most commands need none of them.
    if package == "full_video":
        from full_video.video_sets import open_videos

        return open_videos(root, kind, split, **options)
    texts = {name: str(value) for name, value in options.items()}
    if package == "outlier_matching":
        from outlier_matching.image_sets import open_images as open_matched

        return open_matched(root, kind, split, **texts)
    from weight_align.image_sets import open_images

    return open_images(root, kind, split, **texts)
