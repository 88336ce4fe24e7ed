"""Real video data sets that are read in their own layout: `SPLIT.index.json` says which videos a split holds.

Nothing is converted or copied. The index names the format, its options and a digest of every fold, so that the workflow
has a file to depend on and a run can tell that it reads what the index was made of. It holds no absolute path: the folder
of the videos comes with the run (`--images`), so that the same data in another place are the same data.

Data sets whose protocol averages over several splits of the authors (UCF101, HMDB51) have several folds: a run with seed s
reads fold s modulo their number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .documents import load_document
from .errors import UsageError
from .files import write_json

if TYPE_CHECKING:
    from full_video.video_sets import VideoSet

SUFFIX = ".index.json"


@dataclass(frozen=True)
class Fold:
    """One of the authors' splits into training and test videos, of which the index describes one side."""

    options: Mapping[str, Any]
    """Options of the format for this fold, over those of all folds."""
    videos: int
    digest: str
    """What `full_video` calls the content's digest."""


@dataclass(frozen=True)
class VideoIndex:
    """What an index file says."""

    format: str
    """A format of `full_video.open_videos`."""
    split: str
    options: Mapping[str, Any]
    folds: tuple[Fold, ...]
    name: str
    source: str
    class_names: tuple[str, ...]
    path: Path
    """Where the index was read from, for messages."""


def make_index(
    root: Path, kind: str, split: str, options: Mapping[str, Any], folds: Sequence[Mapping[str, Any]], out: Path
) -> int:
    """Look through a data set in its own layout and write its index; returns how many videos all folds hold.

    Args:
        root: the data set's folder.
        kind: its format, "ucf101".
        split: "train" or "test", or what else the format calls it.
        options: further options of the format.
        folds: options of each fold over those; none is one fold without any.
        out: the index, `SPLIT.index.json`.

    Raises:
        UsageError: the index's name is not of that form, or the folds have different classes.
        full_video's errors: the layout is not that of the format.
    """
    # Imported here: it brings torch, and most commands need neither.
    from full_video.video_sets import open_videos

    if not out.name.endswith(SUFFIX):
        raise UsageError(f"--out: expected a name that ends in {SUFFIX}, got {out.name}")
    found = [open_videos(root, kind, split, **{**options, **fold}) for fold in folds or ({},)]
    facts = found[0].facts
    for number, videos in enumerate(found):
        if videos.facts.class_names != facts.class_names:
            raise UsageError(f"{root}: fold {number} has other classes than fold 0; classes must be the same in all")
    content = {
        "index": 1,
        "format": kind,
        "split": split,
        "options": dict(options),
        "folds": [
            {"options": dict(fold), "videos": len(videos), "digest": videos.facts.content_digest}
            for fold, videos in zip(folds or ({},), found, strict=True)
        ],
        "name": facts.name,
        "source": kind,  # not the path that full_video names: the same data in another place are the same
        "class_names": list(facts.class_names),
    }
    write_json(out, content)
    return sum(map(len, found))


def load_index(path: Path) -> VideoIndex:
    """Read and check an index; a `UsageError` says what was expected and what came."""
    content = load_document(path, "index")
    del content["index"]
    content["folds"] = tuple(Fold(**fold) for fold in content["folds"])
    content["class_names"] = tuple(content["class_names"])
    return VideoIndex(**content, path=path)


def open_fold(index: VideoIndex, root: Path, number: int) -> VideoSet:
    """The videos under `root` of fold `number` (modulo the number of folds), which must be those of the index.

    Raises:
        UsageError: the folder holds other videos than when the index was made.
    """
    from full_video.video_sets import open_videos

    fold = index.folds[number % len(index.folds)]
    videos = open_videos(root, index.format, index.split, **{**index.options, **fold.options})
    if videos.facts.content_digest != fold.digest:
        raise UsageError(
            f"{root}: holds other videos ({len(videos)}) than {index.path} lists ({fold.videos}); remove the index and "
            "make it again"
        )
    return videos
