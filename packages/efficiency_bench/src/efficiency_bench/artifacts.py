"""Arrays that a run hands over beside its numbers, for figures: `{run_id}.npz` next to the record `{run_id}.json`.

The record's protocol names the file, its sha256 and every array, so that a figure never draws what another run left.
An `Example` is the kind of artifact that figures know to draw: frames of one video with true and found boxes.
"""

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import UsageError, WorkError
from .files import atomic_write
from .records import RunRecord

_PARTS = ("frames", "index", "keyframe", "true", "true_labels", "found", "found_labels", "scores")


@dataclass(frozen=True)
class Example:
    """F frames of one video with O true and D found boxes; a place without a box has NaN there."""

    frames: NDArray[np.uint8]
    """(F, H, W) grey, or (F, H, W, 3) in colour."""
    index: NDArray[np.int64]
    """(F,) the frames' numbers in the video, from 0."""
    keyframe: NDArray[np.bool_]
    """(F,) whether the network saw the frame."""
    true: NDArray[np.float32]
    """(F, O, 4) x1 y1 x2 y2 in pixels of the frame."""
    true_labels: NDArray[np.str_]
    """(F, O) class names."""
    found: NDArray[np.float32]
    """(F, D, 4) as `true`; the d-th box of every frame is the same object where `together` is drawn."""
    found_labels: NDArray[np.str_]
    """(F, D) class names."""
    scores: NDArray[np.float32]
    """(F, D) 0 to 1."""

    @classmethod
    def of(
        cls,
        frames: ArrayLike,
        index: Sequence[int],
        true: Sequence[ArrayLike],
        found: Sequence[ArrayLike],
        *,
        keyframe: Sequence[bool] | None = None,
        true_labels: Sequence[Sequence[str]] | None = None,
        found_labels: Sequence[Sequence[str]] | None = None,
        scores: Sequence[ArrayLike] | None = None,
    ) -> "Example":
        """From one entry per frame, each with the boxes (n, 4) of that frame, n as it comes.

        Raises:
            ValueError: the entries do not fit each other.
        """
        pictures = np.asarray(frames, np.uint8)
        true_boxes, found_boxes = _boxes(true), _boxes(found)
        true_names = true_labels or [[""] * len(boxes) for boxes in true_boxes]
        found_names = found_labels or [[""] * len(boxes) for boxes in found_boxes]
        marks = scores or [np.full(len(boxes), np.nan) for boxes in found_boxes]
        for count in map(len, (index, true_boxes, found_boxes, true_names, found_names, marks)):
            if count != len(pictures):
                raise ValueError(f"expected one entry for each of {len(pictures)} frames, got {count}")
        for boxes, names in (*zip(true_boxes, true_names, strict=True), *zip(found_boxes, found_names, strict=True)):
            if len(boxes) != len(names):
                raise ValueError(f"expected one label for each of {len(boxes)} boxes, got {len(names)}")
        return cls(
            frames=pictures,
            index=np.asarray(index, np.int64),
            keyframe=np.zeros(len(pictures), bool) if keyframe is None else np.asarray(keyframe, bool),
            true=_padded(true_boxes, (4,)),
            true_labels=_padded_names(true_names),
            found=_padded(found_boxes, (4,)),
            found_labels=_padded_names(found_names),
            scores=_padded([np.asarray(mark, np.float32) for mark in marks], ()),
        )

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """The example as artifacts called `name/frames`, `name/true`, ...: what `Outcome.artifacts` takes."""
        return {f"{name}/{part}": getattr(self, part) for part in _PARTS}


def read_example(arrays: Mapping[str, NDArray[Any]], name: str, where: str) -> Example:
    """The example called `name` among a run's artifacts; a `UsageError` lists those there are."""
    missing = [part for part in _PARTS if f"{name}/{part}" not in arrays]
    if missing:
        known = sorted({key.partition("/")[0] for key in arrays})
        raise UsageError(f"{where}: has no example {name!r}; it hands over {', '.join(known) or 'none'}")
    return Example(**{part: arrays[f"{name}/{part}"] for part in _PARTS})


def artifacts_path(record: Path) -> Path:
    """Where the artifacts of the run lie whose record is `record`."""
    return record.with_suffix(".npz")


def write_artifacts(record: Path, arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Write the artifacts of a run beside its `record` and return what its protocol says of them.

    A run without artifacts leaves no file, and removes that of an earlier run of the same name.

    Raises:
        WorkError: the file cannot be written, or something is no array of numbers or text.
    """
    path = artifacts_path(record)
    if not arrays:
        path.unlink(missing_ok=True)
        return {}
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype.hasobject:
            raise WorkError(f"artifact {name!r}: expected an array of numbers or text, got {type(array).__name__}")
    with atomic_write(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **arrays)
        digest = _sha256(temporary)
    listed = {name: [str(array.dtype), *array.shape] for name, array in sorted(arrays.items())}
    return {"artifacts": {"file": path.name, "sha256": digest, "arrays": listed}}


def load_artifacts(record_path: Path, record: RunRecord) -> dict[str, NDArray[Any]]:
    """The arrays that the run of `record` handed over.

    Raises:
        UsageError: the run hands over none, or the file is absent, damaged or another run's.
    """
    note = record.protocol.get("artifacts")
    if note is None:
        raise UsageError(
            f"{record_path}: the run handed over no arrays to draw; experiment {record.experiment} leaves none"
        )
    path = artifacts_path(record_path)
    mend = f"remove {record_path} and run it again"
    if not path.is_file():
        raise UsageError(f"{path}: is not there although its record is; {mend}")
    if _sha256(path) != note["sha256"]:
        raise UsageError(f"{path}: is not the file its record was written with; {mend}")
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path}: cannot be read ({error}); {mend}") from error


def _boxes(parts: Sequence[ArrayLike]) -> list[NDArray[np.float32]]:
    return [np.asarray(part, np.float32).reshape(-1, 4) for part in parts]


def _padded(parts: Sequence[NDArray[np.float32]], tail: tuple[int, ...]) -> NDArray[np.float32]:
    """Ragged (n, *tail) per frame as one array (F, largest n, *tail), NaN where there is nothing."""
    padded = np.full((len(parts), max(map(len, parts), default=0), *tail), np.nan, np.float32)
    for row, part in zip(padded, parts, strict=True):
        row[: len(part)] = part
    return padded


def _padded_names(parts: Sequence[Sequence[str]]) -> NDArray[np.str_]:
    """The same for text, empty where there is nothing."""
    most = max(map(len, parts), default=0)
    rows = [[*part, *[""] * (most - len(part))] for part in parts]
    return np.asarray(rows, np.str_).reshape(len(parts), most)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
