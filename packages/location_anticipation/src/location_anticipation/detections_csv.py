"""Detections of a video as CSV, a line for each box of each frame."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import IO

from location_anticipation.errors import WorkError
from location_anticipation.files import atomic_path
from location_anticipation.video import FrameDetections

__all__ = ["COLUMNS", "DetectionsCsv", "create_csv"]

COLUMNS = (
    "frame",  # from 0
    "seconds",  # from the start, at the average frame rate; empty where that is not known
    "keyframe",  # 1 where the network saw the frame, else 0
    "step",  # frames since the keyframe
    "instance",  # the object, the same number as long as it is followed
    "label",  # class from 1
    "class",  # its name, or the number again
    "score",
    "x1",
    "y1",
    "x2",
    "y2",  # pixels of the upright frame
)


class DetectionsCsv:
    """Writes the boxes of one video; made by :func:`create_csv`."""

    def __init__(self, path: Path, file: IO[str], rate: Fraction | None, class_names: Sequence[str] | None) -> None:
        self._path = path
        self._rows = csv.writer(file, lineterminator="\n")
        self._rate = rate
        self._names = class_names
        self._write(COLUMNS)

    def add(self, detections: FrameDetections) -> None:
        """Append the boxes of a frame, the most certain first; a frame without boxes has no line.

        Raises:
            WorkError: if the file cannot be written.
        """
        seconds = "" if self._rate is None else f"{float(detections.index / self._rate):.4f}"
        key, step = int(detections.keyframe), detections.step
        labels, boxes, scores = detections.labels.tolist(), detections.boxes.tolist(), detections.scores.tolist()
        instances = [""] * len(labels) if detections.instances is None else detections.instances.tolist()
        for row in sorted(range(len(scores)), key=scores.__getitem__, reverse=True):
            label = labels[row]
            name = label if self._names is None else self._names[label - 1]
            sides = (f"{side:.3f}" for side in boxes[row])
            self._write(
                (detections.index, seconds, key, step, instances[row], label, name, f"{scores[row]:.6f}", *sides)
            )

    def _write(self, values: Sequence[object]) -> None:
        try:
            self._rows.writerow(values)
        except OSError as error:
            raise WorkError(f"{self._path}: cannot be written ({error.strerror or error})") from error


@contextmanager
def create_csv(
    path: str | Path, rate: Fraction | None = None, class_names: Sequence[str] | None = None
) -> Iterator[DetectionsCsv]:
    """Create the CSV file of a video's detections; it appears under its name when the block has ended well.

    Args:
        path: where the file goes; an existing one is replaced.
        rate: frames per second, for the column ``seconds``.
        class_names: ``class_names[k - 1]`` is the name of label k.

    Raises:
        WorkError: if the file cannot be written, on a full disk for example; nothing is left behind then.
    """
    path = Path(path)
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        yield DetectionsCsv(path, file, rate, class_names)
