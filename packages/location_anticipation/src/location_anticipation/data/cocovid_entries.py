"""Entries of a CocoVID file, checked one by one and sorted into their videos."""

from collections.abc import Callable, Container
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from efficiency_core.errors import UsageError
from efficiency_core.readers import json_line
from location_anticipation.data.videos import Tracks

SECTIONS = ("categories", "videos", "images", "annotations")
"""The lists of a CocoVID file, in the order in which they refer to each other."""
_MOST_FRAMES = 10_000_000
_LARGEST = 1e9  # pixels
_RELATIVE = 1e-6  # least side relative to its coordinates; float32 still tells the two ends apart

Entry = dict[str, Any]
Box = tuple[float, float, float, float]
"""x1 y1 x2 y2 in pixels."""


@dataclass
class VideoEntries:
    """Entries of one video: boxes by frame and track, since most tracks are short."""

    name: str
    file_name: str | None = None
    """The video file, where the entry names one."""
    size: tuple[int, int] = (0, 0)
    """(height, width) of all its images in pixels."""
    files: dict[int, str] = field(default_factory=dict)
    """``file_name`` by frame number."""
    image_ids: dict[int, int] = field(default_factory=dict)
    """``id`` of the image by frame number."""
    unannotated: set[int] = field(default_factory=set)
    labels: list[int] = field(default_factory=list)
    track_of: dict[tuple[int, int], int] = field(default_factory=dict)
    """Number of the track by (instance_id, label)."""
    rows: dict[tuple[int, int], Box] = field(default_factory=dict)
    """x1 y1 x2 y2 by (frame, track)."""

    def finish(self) -> None:
        """Turn the collected entries into arrays."""
        self.annotated = np.array([frame for frame in self.files if frame not in self.unannotated], dtype=np.int64)
        self.places = np.array(list(self.rows), dtype=np.int64).reshape(-1, 2)
        self.boxes = np.array(list(self.rows.values()), dtype=np.float32).reshape(-1, 4)
        self.track_of, self.rows = {}, {}

    def tracks(self) -> Tracks:
        """Annotations by frame number, from 0 to the largest there is."""
        frames, objects = max(self.files) + 1, len(self.labels)
        boxes = np.zeros((frames, objects, 4), dtype=np.float32)
        present = np.zeros((frames, objects), dtype=bool)
        annotated = np.zeros(frames, dtype=bool)
        boxes[self.places[:, 0], self.places[:, 1]] = self.boxes
        present[self.places[:, 0], self.places[:, 1]] = True
        annotated[self.annotated] = True
        return Tracks(boxes, present, np.array(self.labels, dtype=np.int64), annotated)


class EntryReader:
    """Checks every entry of the content of a CocoVID file, and sorts it into its video.

    ``path`` and ``text``, the text of the file, are for messages. With ``fix``, annotations that cannot be used are removed from
    ``content``, and boxes are cut at the border of their image there.

    Attributes:
        category_ids: in rising order.
        class_names: in the order of their ids.
        videos: by id, those without images included.
        left_out: messages of the removed annotations.
        cut: number of boxes that were cut.

    Raises:
        UsageError: for a wrong entry, with its line; with ``fix`` also if no annotation can be used.
    """

    def __init__(self, path: Path, content: dict[str, Any], text: str, *, fix: bool = False) -> None:
        self.path, self.content, self.text, self.fix = path, content, text, fix
        self.left_out: list[str] = []
        self.cut = 0
        self.categories: dict[int, str] = {}
        self.videos: dict[int, VideoEntries] = {}
        self.image_of: dict[int, tuple[VideoEntries, int]] = {}
        self.annotation_ids: set[int] = set()
        self._each("categories", self._category)
        if not self.categories:
            raise UsageError(f"{path}: 'categories' is empty; at least one class is needed")
        self.category_ids = tuple(sorted(self.categories))
        self.label_of = {category: label for label, category in enumerate(self.category_ids)}
        self.class_names = tuple(self.categories[category] for category in self.category_ids)
        self._each("videos", self._video)
        self._each("images", self._image)
        self._each("annotations", self._annotation)
        for video in self.videos.values():
            video.finish()

    def _each(self, section: str, read: Callable[[Entry], None]) -> None:
        sound = []
        for number, entry in enumerate(self.content[section]):
            try:
                if not isinstance(entry, dict):
                    raise ValueError(f"expected an object, got {_short(entry)}")
                read(entry)
            except ValueError as error:
                message = f"{section}[{number}]: {error}"
                if section != "annotations" or not self.fix:
                    mend = "; `convert cocovid FILE --fix` leaves it out" if section == "annotations" else ""
                    line = json_line(self.text, section, number)
                    raise UsageError(f"{self.path}:{line}: {message}{mend}") from error
                self.left_out.append(message)
            else:
                sound.append(entry)
        if self.left_out and not sound:
            raise UsageError(f"{self.path}: no annotation can be used; {self.left_out[0]}")
        self.content[section] = sound

    def _category(self, entry: Entry) -> None:
        self.categories[_new(entry, self.categories)] = _string(entry, "name")

    def _video(self, entry: Entry) -> None:
        file_name = entry.get("file_name")
        named = file_name if isinstance(file_name, str) and file_name else None
        self.videos[_new(entry, self.videos)] = VideoEntries(_string(entry, "name"), named)

    def _image(self, entry: Entry) -> None:
        image = _new(entry, self.image_of)
        video = self.videos[_known(entry, "video_id", self.videos)]
        frame = _whole(entry, "frame_id", least=0)
        if frame >= _MOST_FRAMES:
            raise ValueError(f"'frame_id' must be below {_MOST_FRAMES}, got {frame}")
        if frame in video.files:
            raise ValueError(f"frame {frame} of video {video.name!r} is there twice")
        size = (_whole(entry, "height", least=1), _whole(entry, "width", least=1))
        if video.files and size != video.size:
            raise ValueError(
                f"the image is {size[1]}x{size[0]}, others of video {video.name!r} are {video.size[1]}x{video.size[0]}"
            )
        video.size = size
        video.files[frame], video.image_ids[frame] = _string(entry, "file_name"), image
        annotated = entry.get("annotated", True)
        if not isinstance(annotated, bool):
            raise ValueError(f"'annotated' must be true or false, got {_short(annotated)}")
        if not annotated:
            video.unannotated.add(frame)
        self.image_of[image] = (video, frame)

    def _annotation(self, entry: Entry) -> None:
        self.annotation_ids.add(_new(entry, self.annotation_ids))
        video, frame = self.image_of[_known(entry, "image_id", self.image_of)]
        label = self.label_of[_known(entry, "category_id", self.categories)]
        instance = _whole(entry, "instance_id")
        box = self._inside(entry, video.size)
        if entry.get("iscrowd", 0) not in (0, 1):
            raise ValueError(f"'iscrowd' must be 0 or 1, got {_short(entry['iscrowd'])}")
        if frame in video.unannotated:
            raise ValueError(f"frame {frame} of video {video.name!r} has 'annotated': false but is annotated")
        if entry.get("iscrowd", 0):
            return
        track = video.track_of.setdefault((instance, label), len(video.labels))
        if track == len(video.labels):
            video.labels.append(label)
        if (frame, track) in video.rows:
            raise ValueError(f"instance {instance} is twice in frame {frame} of video {video.name!r}")
        video.rows[frame, track] = box

    def _inside(self, entry: Entry, size: tuple[int, int]) -> Box:
        """The box of an annotation, part of which is inside its image; with ``fix`` cut to that part, in the entry too."""
        box, (height, width) = _box(entry), size
        x1, y1, x2, y2 = max(box[0], 0), max(box[1], 0), min(box[2], width), min(box[3], height)
        if x1 >= x2 or y1 >= y2:
            raise ValueError(f"'bbox' {entry['bbox']} is outside its image of {width}x{height}")
        if not self.fix or box == (x1, y1, x2, y2):
            return box
        entry["bbox"] = [x1, y1, x2 - x1, y2 - y1]
        box = _box(entry)
        self.cut += 1
        return box


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _whole(entry: Entry, key: str, least: int | None = None) -> int:
    value = entry.get(key)
    if type(value) is not int or (least is not None and value < least):
        wanted = "a whole number" if least is None else f"a whole number of at least {least}"
        raise ValueError(f"'{key}' must be {wanted}, " + (f"got {_short(value)}" if key in entry else "but is missing"))
    return value


def _string(entry: Entry, key: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value:
        raise ValueError(f"'{key}' must be text, " + (f"got {_short(value)}" if key in entry else "but is missing"))
    return value


def _new(entry: Entry, taken: Container[int]) -> int:
    number = _whole(entry, "id")
    if number in taken:
        raise ValueError(f"id {number} is there twice")
    return number


def _known(entry: Entry, key: str, known: Container[int]) -> int:
    number = _whole(entry, key)
    if number not in known:
        raise ValueError(f"'{key}' {number} is not the id of any entry")
    return number


def _box(entry: Entry) -> Box:
    """x1 y1 x2 y2 of the entry, with an area as float32 too."""
    box = entry.get("bbox")
    if isinstance(box, list) and len(box) == 4 and all(type(value) in (int, float) for value in box):
        x, y, width, height = box
        x2, y2 = x + width, y + height
        inside = -_LARGEST < x < x2 < _LARGEST and -_LARGEST < y < y2 < _LARGEST  # false for NaN
        if inside and width > _RELATIVE * max(abs(x), abs(x2)) and height > _RELATIVE * max(abs(y), abs(y2)):
            return (x, y, x2, y2)
    raise ValueError(f"'bbox' must be [x, y, width, height] with an area, got {_short(box)}")
