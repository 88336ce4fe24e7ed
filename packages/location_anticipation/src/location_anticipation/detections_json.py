"""Detections of a video as CocoVID JSON, written while they come.

CocoVID is COCO's format with ``videos``, ``frame_id`` and ``instance_id`` (mmtracking's
``docs/en/tutorials/customize_dataset.md``). Extra keys, which readers of the format pass over, say what is known of
each frame and box beyond it; ``info`` comes last, because damage is known only then.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from location_anticipation.errors import WorkError
from location_anticipation.files import atomic_path
from location_anticipation.sources import Source
from location_anticipation.video import FrameDetections

__all__ = ["DetectionsJson", "create_json"]

_CHUNK = 1 << 20


class DetectionsJson:
    """Writes one video; made by :func:`create_json`."""

    def __init__(self, path: Path, file: IO[str], annotations: IO[str], source: Source) -> None:
        self._path = path
        self._file = file
        self._annotations = annotations
        self._source = source
        self._frames, self._boxes, self._labels = 0, 0, set[int]()
        video: dict[str, Any] = {"id": 1, "name": source.name, "width": source.width, "height": source.height}
        if source.rate is not None:
            video["fps"] = float(source.rate)
        self._write(f'{{"videos": [{json.dumps(video)}],\n"images": [')

    def add(self, detections: FrameDetections) -> None:
        """Append a frame and its boxes.

        Raises:
            WorkError: if the file cannot be written.
        """
        image = {
            "id": self._frames + 1,
            "video_id": 1,
            "frame_id": detections.index,
            "file_name": self._source.file_name(detections.index),
            "width": self._source.width,
            "height": self._source.height,
            "keyframe": detections.keyframe,
            "step": detections.step,
        }
        self._write(("," if self._frames else "") + "\n" + json.dumps(image))
        self._frames += 1
        rows = zip(detections.boxes.tolist(), detections.labels.tolist(), detections.scores.tolist(), strict=True)
        instances = None if detections.instances is None else detections.instances.tolist()
        for row, ((x1, y1, x2, y2), label, score) in enumerate(rows):
            # A thousandth of a pixel; the digits after it are noise, and most of the file.
            width, height = round(x2 - x1, 3), round(y2 - y1, 3)
            annotation = {
                "id": self._boxes + 1,
                "image_id": self._frames,
                "video_id": 1,
                "category_id": label,
                "bbox": [round(x1, 3), round(y1, 3), width, height],
                "area": round(width * height, 3),
                "iscrowd": 0,
                "score": round(score, 6),
            }
            if instances is not None:
                annotation["instance_id"] = instances[row]
            self._labels.add(label)
            self._write(("," if self._boxes else "") + "\n" + json.dumps(annotation), self._annotations)
            self._boxes += 1

    def finish(self, class_names: Sequence[str] | None, info: dict[str, Any]) -> None:
        """Write what comes after the images: annotations, categories and ``info``.

        Args:
            class_names: ``class_names[k - 1]`` is the name of category k; without it, categories are those that occur,
                by number.
            info: facts about the run.

        Raises:
            WorkError: if the file cannot be written.
        """
        self._write('\n],\n"annotations": [')
        self._annotations.seek(0)
        while chunk := self._annotations.read(_CHUNK):
            self._write(chunk)
        names = {k: str(k) for k in sorted(self._labels)} if class_names is None else dict(enumerate(class_names, 1))
        categories = [{"id": k, "name": name} for k, name in names.items()]
        self._write(f'\n],\n"categories": {json.dumps(categories)},\n"info": {json.dumps(info)}}}\n')

    def _write(self, text: str, file: IO[str] | None = None) -> None:
        try:
            (self._file if file is None else file).write(text)
        except OSError as error:
            raise WorkError(f"{self._path}: cannot be written ({error.strerror or error})") from error


@contextmanager
def create_json(path: str | Path, source: Source) -> Iterator[DetectionsJson]:
    """Create the JSON file of a source's detections; it appears under its name when the block has ended well.

    The caller adds every frame and calls :meth:`~DetectionsJson.finish`. Images and annotations are two lists: the
    second waits in a nameless file beside the first, so memory holds neither.

    Raises:
        WorkError: if the file cannot be written, on a full disk for example; nothing is left behind then.
    """
    path = Path(path)
    with (
        atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8") as file,
        tempfile.TemporaryFile("w+", encoding="utf-8", dir=path.parent) as annotations,
    ):
        yield DetectionsJson(path, file, annotations, source)
