"""Arrays that a run hands over beside its numbers, for figures: `{run_id}.npz` next to the record `{run_id}.json`.

The record's protocol names the file, its sha256 and every array, so that a figure never draws what another run left."""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efficiency_bench.records.pictures import ArraySet
from efficiency_bench.records.run_record import RunRecord
from efficiency_core.errors import UsageError, WorkError
from efficiency_core.files import atomic_path, file_sha256


@dataclass(frozen=True)
class Example(ArraySet):
    """F frames of one video with O true and D found boxes; a place without a box has NaN there."""

    what = "example"
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
        """From one entry per frame, each with the boxes (n, 4) of that frame; a `ValueError` says which do not fit."""
        pictures = np.asarray(frames, np.uint8)
        true_boxes, found_boxes = (
            [np.asarray(part, np.float32).reshape(-1, 4) for part in boxes] for boxes in (true, found)
        )
        true_names = true_labels or [[""] * len(boxes) for boxes in true_boxes]
        found_names = found_labels or [[""] * len(boxes) for boxes in found_boxes]
        marks = scores or [np.full(len(boxes), np.nan) for boxes in found_boxes]
        for count in map(len, (index, true_boxes, found_boxes, true_names, found_names, marks)):
            if count != len(pictures):
                raise ValueError(f"expected one entry for each of {len(pictures)} frames, got {count}")
        for boxes, names in (*zip(true_boxes, true_names, strict=True), *zip(found_boxes, found_names, strict=True)):
            if len(boxes) != len(names):
                raise ValueError(f"expected one label for each of {len(boxes)} boxes, got {len(names)}")
        no_box = np.full(4, np.nan)
        return cls(
            frames=pictures,
            index=np.asarray(index, np.int64),
            keyframe=np.zeros(len(pictures), bool) if keyframe is None else np.asarray(keyframe, bool),
            true=_padded(true_boxes, no_box, np.float32),
            true_labels=_padded(true_names, "", np.str_),
            found=_padded(found_boxes, no_box, np.float32),
            found_labels=_padded(found_names, "", np.str_),
            scores=_padded(marks, np.nan, np.float32),
        )


def artifacts_path(record: Path) -> Path:
    return record.with_suffix(".npz")


def write_artifacts(record: Path, arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Write the artifacts of a run beside its `record` and return what its protocol says of them. A run without any
    removes the file of an earlier run. A `WorkError` if something is no array of numbers or text, or writing fails."""
    path = artifacts_path(record)
    if not arrays:
        path.unlink(missing_ok=True)
        return {}
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype.hasobject:
            raise WorkError(f"artifact {name!r}: expected an array of numbers or text, got {type(array).__name__}")
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **arrays)
        digest = file_sha256(temporary)
    listed = {name: [str(array.dtype), *array.shape] for name, array in sorted(arrays.items())}
    return {"artifacts": {"file": path.name, "sha256": digest, "arrays": listed}}


def load_artifacts(record_path: Path, record: RunRecord) -> dict[str, NDArray[Any]]:
    """The arrays that the run of `record` handed over; a `UsageError` if there are none, or the file is absent, damaged
    or another run's."""
    note = record.protocol.get("artifacts")
    if note is None:
        text = f"the run handed over no arrays to draw; experiment {record.experiment} leaves none"
        raise UsageError(f"{record_path}: {text}")
    path = artifacts_path(record_path)
    mend = f"remove {record_path} and run it again"
    if not path.is_file():
        raise UsageError(f"{path}: is not there although its record is; {mend}")
    if file_sha256(path) != note["sha256"]:
        raise UsageError(f"{path}: is not the file its record was written with; {mend}")
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path}: cannot be read ({error}); {mend}") from error


def _padded(parts: Sequence[Any], fill: Any, kind: type[np.generic]) -> NDArray[Any]:
    # Ragged (n, ...) per frame as one array (F, largest n, ...), `fill` where there is nothing.
    most = max(map(len, parts), default=0)
    rows = [[*part, *[fill] * (most - len(part))] for part in parts]
    return np.asarray(rows, kind).reshape(len(parts), most, *np.shape(fill))
