"""Detections of a video as CocoVID JSON and as CSV, written frame by frame.

CocoVID is COCO's format with ``videos``, ``frame_id`` and ``instance_id`` (mmtracking's
``docs/en/tutorials/customize_dataset.md``). Extra keys, which readers of the format ignore, give further
facts about each frame and box; ``info`` comes last, because damage is known only then.
"""

import csv
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from efficiency_core.errors import WorkError
from efficiency_core.files import atomic_path
from location_anticipation.data.frame_sources import FrameSource
from location_anticipation.inference.stream import FrameDetections

COLUMNS = ("frame", "seconds", "keyframe", "step", "instance", "label", "class", "score", "x1", "y1", "x2", "y2")
"""Columns of the CSV file. ``frame`` counts from 0, ``label`` from 1. ``seconds`` is when the frame is shown; in a source
without times it follows from the average frame rate, and is empty where that is unknown. ``keyframe`` is 1 or 0, ``step`` is
the number of frames since the keyframe. ``instance`` is the number of the object, ``class`` the name of the label, or the
label. The sides are in pixels of the upright frame."""
_CHUNK = 1 << 20


class Add(Protocol):
    """Appends the detections of a frame, shown at some time; raises ``WorkError`` if the file cannot be written."""

    def __call__(self, detections: FrameDetections, seconds: float | None = None) -> None: ...


@contextmanager
def create_json(
    path: str | Path,
    source: FrameSource,
    class_names: Sequence[str] | None,
    info: dict[str, Any],
    category_ids: Sequence[int] | None = None,
) -> Iterator[Add]:
    """Create the JSON file of a source's detections; it appears under its name when the block has ended well.

    Images and annotations are two lists; the annotations wait in a temporary file without name, so that memory holds
    neither list.

    Args:
        path: where the file goes; an existing one is replaced.
        source: the frames; the block ends after they have been read.
        class_names: ``class_names[k - 1]`` is the name of category k; without it, categories are those that occur, by
            number.
        info: facts about the run; the source's ``damaged`` is added.
        category_ids: ``category_ids[k - 1]`` is the id of label k in the file; by default k.

    Raises:
        WorkError: if the file cannot be written, on a full disk for example; nothing is left behind then.
    """
    path = Path(path)
    size = {"width": source.width, "height": source.height}
    video: dict[str, Any] = {"id": 1, "name": source.name, **size}
    if source.file is not None:
        video["file_name"] = source.file
    if source.rate is not None:
        video["fps"] = float(source.rate)
    image_ids, box_ids, seen = count(1), count(1), set[int]()

    def add(detections: FrameDetections, seconds: float | None = None) -> None:
        image_id = next(image_ids)
        shown = _shown(detections, seconds, source.rate)
        image = {
            "id": image_id,
            "video_id": 1,
            "frame_id": detections.index,
            "file_name": source.file_name(detections.index),
            **size,
            "keyframe": detections.keyframe,
            "step": detections.step,
            **({} if shown is None else {"seconds": shown}),
        }
        labels = detections.labels.tolist()
        seen.update(labels)
        rows = zip(detections.boxes.tolist(), labels, detections.scores.tolist(), strict=True)
        instances = None if detections.instances is None else detections.instances.tolist()
        found = []
        for row, ((x1, y1, x2, y2), label, score) in enumerate(rows):
            # A thousandth of a pixel; the digits after it are noise, and most of the file.
            width, height = round(x2 - x1, 3), round(y2 - y1, 3)
            annotation = {
                "id": next(box_ids),
                "image_id": image_id,
                "video_id": 1,
                "category_id": label if category_ids is None else category_ids[label - 1],
                "bbox": [round(x1, 3), round(y1, 3), width, height],
                "area": round(width * height, 3),
                "iscrowd": 0,
                "score": round(score, 6),
            }
            if instances is not None:
                annotation["instance_id"] = instances[row]
            found.append(annotation)
        with _writing(path):
            file.write(("," if image_id > 1 else "") + "\n" + json.dumps(image))
            if found:  # a line for the boxes of a frame: one call of the encoder
                annotations.write(("," if found[0]["id"] > 1 else "") + "\n" + json.dumps(found)[1:-1])

    with (
        atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8") as file,
        tempfile.TemporaryFile("w+", encoding="utf-8", dir=temporary.parent) as annotations,
    ):
        with _writing(path):
            file.write(f'{{"videos": [{json.dumps(video)}],\n"images": [')
        yield add
        names = {k: str(k) for k in sorted(seen)} if class_names is None else dict(enumerate(class_names, 1))
        ids = {k: k if category_ids is None else category_ids[k - 1] for k in names}
        categories = json.dumps([{"id": ids[k], "name": name} for k, name in names.items()])
        with _writing(path):
            file.write('\n],\n"annotations": [')
            annotations.seek(0)
            while chunk := annotations.read(_CHUNK):
                file.write(chunk)
            facts = json.dumps({**info, "damaged": source.damage})
            file.write(f'\n],\n"categories": {categories},\n"info": {facts}}}\n')


@contextmanager
def create_csv(
    path: str | Path, rate: Fraction | None = None, class_names: Sequence[str] | None = None
) -> Iterator[Add]:
    """Create the CSV file of a video's detections; it appears under its name when the block has ended well.

    A frame has a line for each box, the most certain first, and no line if it has no box.

    Args:
        path: where the file goes; an existing one is replaced.
        rate: frames per second, for frames without times.
        class_names: ``class_names[k - 1]`` is the name of label k.

    Raises:
        WorkError: if the file cannot be written, on a full disk for example; nothing is left behind then.
    """
    path = Path(path)

    def add(detections: FrameDetections, seconds: float | None = None) -> None:
        shown = _shown(detections, seconds, rate)
        frame = (detections.index, "" if shown is None else f"{shown:.4f}", int(detections.keyframe), detections.step)
        labels, boxes, scores = detections.labels.tolist(), detections.boxes.tolist(), detections.scores.tolist()
        instances = [""] * len(labels) if detections.instances is None else detections.instances.tolist()
        with _writing(path):
            for row in sorted(range(len(scores)), key=scores.__getitem__, reverse=True):
                label = labels[row]
                name = label if class_names is None else class_names[label - 1]
                sides = (f"{side:.3f}" for side in boxes[row])
                table.writerow((*frame, instances[row], label, name, f"{scores[row]:.6f}", *sides))

    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        with _writing(path):
            table.writerow(COLUMNS)
        yield add


def _shown(detections: FrameDetections, seconds: float | None, rate: Fraction | None) -> float | None:
    if seconds is None and rate is not None:
        seconds = float(detections.index / rate)
    return None if seconds is None else round(seconds, 4)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Tell the failure of a write as the failure of this very file, however many are open."""
    try:
        yield
    except OSError as error:
        raise WorkError(f"{path}: cannot be written ({error.strerror or error})") from error
