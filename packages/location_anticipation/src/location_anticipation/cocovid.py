"""Videos annotated in CocoVID JSON, the format of mmtracking.

The file is an object of four lists, its images are files of their own:

    videos       ``id``, ``name``
    images       ``id``, ``video_id``, ``frame_id`` (from 0), ``file_name``, ``height``, ``width``, optionally ``annotated``
    annotations  ``id``, ``image_id``, ``category_id``, ``instance_id``, ``bbox`` (x, y, w, h in pixels), optionally
                 ``iscrowd``
    categories   ``id``, ``name``

Further keys are left alone. What the format leaves open is read so:

* An image without annotations is annotated and empty, as in ILSVRC. A frame number of which there is no image between
  others is not annotated, and asking for its pixels is an error. An image with ``annotated: false``, a key of this
  package, is there to be looked at but is not annotated: the frames between the annotated ones of a sparse set.
* A track is what has one ``instance_id`` and one ``category_id`` within one video.
* ``iscrowd`` annotations outline a region of many objects, not an object. They are left out: nothing is trained on
  them, and a detection inside one counts as any other.
* Label k is the category with the k-th smallest id. A video without images is left out.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Container
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from location_anticipation.errors import UsageError
from location_anticipation.lines import json_entry_line
from location_anticipation.videos import Facts, Tracks

__all__ = ["SECTIONS", "CocoVideos", "read_sections"]

SECTIONS = ("categories", "videos", "images", "annotations")
"""The lists of a CocoVID file, in the order in which they refer to each other."""
_MOST_FRAMES = 10_000_000
_LARGEST = 1e9  # pixels
_RELATIVE = 1e-6  # of a side and its coordinates; float32 keeps apart what is further apart than that
_log = logging.getLogger(__name__)

Entry = dict[str, Any]


class _Wrong(Exception):
    """What is wrong with one entry; the reader adds the file and the line."""


def read_sections(path: str | Path) -> tuple[dict[str, Any], str]:
    """The object in a CocoVID file, its four lists certain to be there, and the text of the file.

    Raises:
        UsageError: if the file is missing, not JSON, or lacks one of the lists.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
        content = json.loads(text)
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file; expected a CocoVID JSON file") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not JSON (byte {error.start} is no UTF-8 text)") from error
    except json.JSONDecodeError as error:
        raise UsageError(f"{path}:{error.lineno}: not JSON ({error.msg}, column {error.colno})") from error
    except RecursionError as error:
        raise UsageError(f"{path}: not a CocoVID file (its lists are nested too deeply)") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: expected a CocoVID object with lists {', '.join(SECTIONS)}, got something else")
    for section in SECTIONS:
        if not isinstance(content.get(section), list):
            what = "is missing" if section not in content else "is no list"
            raise UsageError(f"{path}: '{section}' {what}; a CocoVID file has the lists {', '.join(SECTIONS)}")
    return content, text


class CocoVideos:
    """A CocoVID file and its images. Annotations are kept in memory, images are read when asked for.

    Args:
        path: the JSON file.
        images: folder that ``file_name`` entries are relative to; by default the folder of the JSON file.

    Raises:
        UsageError: if the file cannot be used, with the line of the entry that is wrong.
    """

    def __init__(self, path: str | Path, images: str | Path | None = None) -> None:
        self.path = Path(path)
        self.images = self.path.parent if images is None else Path(images)
        content, text = read_sections(self.path)
        reader = _Reader(self.path, content, text)
        self.facts = reader.facts
        self._videos = [video for video in reader.videos.values() if video.files]
        for video in self._videos:
            video.finish()
        if not self._videos:
            raise UsageError(f"{self.path}: no video has an image")
        if len(self._videos) < len(reader.videos):
            left_out = len(reader.videos) - len(self._videos)
            _log.info("%s: %d of %d videos have no image and are left out", path, left_out, len(reader.videos))

    def __len__(self) -> int:
        return len(self._videos)

    def name(self, video: int) -> str:
        """The video's ``name``."""
        return self._videos[video].name

    def image_size(self, video: int) -> tuple[int, int]:
        """(height, width) of all images of the video."""
        return self._videos[video].size

    def tracks(self, video: int) -> Tracks:
        """Annotations by frame number, from ``frame_id`` 0 to the largest there is."""
        return self._videos[video].tracks()

    def frame(self, video: int, index: int) -> Tensor:
        """Frame ``index`` of ``video`` as float (3, H, W) in [0, 1].

        Raises:
            UsageError: if the file lists no such image, or if it is missing, damaged or of another size.
        """
        annotations = self._videos[video]
        where = f"frame {index} of video {annotations.name!r} in {self.path}"
        if index not in annotations.files:
            raise UsageError(f"{where} has no image: no entry of 'images' has this frame_id")
        file = self.images / annotations.files[index]
        try:
            with Image.open(file) as image:
                pixels = np.array(image.convert("RGB"))
        except FileNotFoundError as error:
            raise UsageError(f"{file}: no such image ({where}); --images names the folder of all images") from error
        except Exception as error:  # Pillow reports damage as OSError, SyntaxError, ValueError, struct.error, ...
            raise UsageError(f"{file}: not a readable image ({where}: {error})") from error
        if pixels.shape[:2] != annotations.size:
            height, width = annotations.size
            raise UsageError(f"{file}: is {pixels.shape[1]}x{pixels.shape[0]}, {where} is said to be {width}x{height}")
        return torch.from_numpy(pixels).permute(2, 0, 1).float().div_(255)


class _Video:
    """What the file says about one video: boxes by frame and track, since most tracks are short."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.size = (0, 0)
        self.files: dict[int, str] = {}
        self.unannotated: set[int] = set()
        self.labels: list[int] = []
        self.track_of: dict[tuple[int, int], int] = {}  # (instance_id, label) to the number of the track
        self.rows: dict[tuple[int, int], tuple[float, float, float, float]] = {}  # (frame, track) to x1 y1 x2 y2

    def finish(self) -> None:
        """Turn what has been collected into columns."""
        self.annotated = np.array([frame for frame in self.files if frame not in self.unannotated], dtype=np.int64)
        self.places = np.array(list(self.rows), dtype=np.int64).reshape(-1, 2)
        self.boxes = np.array(list(self.rows.values()), dtype=np.float32).reshape(-1, 4)
        self.track_of, self.rows = {}, {}

    def tracks(self) -> Tracks:
        frames, objects = max(self.files) + 1, len(self.labels)
        boxes = np.zeros((frames, objects, 4), dtype=np.float32)
        present = np.zeros((frames, objects), dtype=bool)
        annotated = np.zeros(frames, dtype=bool)
        boxes[self.places[:, 0], self.places[:, 1]] = self.boxes
        present[self.places[:, 0], self.places[:, 1]] = True
        annotated[self.annotated] = True
        return Tracks(boxes, present, np.array(self.labels, dtype=np.int64), annotated)


class _Reader:
    """Checks every entry and sorts it into its video."""

    def __init__(self, path: Path, content: dict[str, Any], text: str) -> None:
        self.path, self.content, self.text = path, content, text
        self.categories: dict[int, str] = {}
        self.videos: dict[int, _Video] = {}
        self.image_of: dict[int, tuple[_Video, int]] = {}
        self.annotation_ids: set[int] = set()
        self._each("categories", self._category)
        if not self.categories:
            raise UsageError(f"{path}: 'categories' is empty; at least one class is needed")
        self.label_of = {category: label for label, category in enumerate(sorted(self.categories))}
        self._each("videos", self._video)
        self._each("images", self._image)
        self._each("annotations", self._annotation)
        info = content.get("info")
        info = info if isinstance(info, dict) else {}
        self.facts = Facts(
            name=str(info.get("name", path.stem)),
            source=str(info.get("source", "CocoVID")),
            content_digest=sha256(text.encode()).hexdigest(),
            class_names=tuple(self.categories[category] for category in sorted(self.categories)),
        )

    def _each(self, section: str, read: Callable[[Entry], None]) -> None:
        for number, entry in enumerate(self.content[section]):
            try:
                if not isinstance(entry, dict):
                    raise _Wrong(f"expected an object, got {_short(entry)}")
                read(entry)
            except _Wrong as error:
                line = json_entry_line(self.text, section, number)
                raise UsageError(f"{self.path}:{line}: {section}[{number}]: {error}") from error

    def _category(self, entry: Entry) -> None:
        self.categories[_new(entry, self.categories)] = _string(entry, "name")

    def _video(self, entry: Entry) -> None:
        self.videos[_new(entry, self.videos)] = _Video(_string(entry, "name"))

    def _image(self, entry: Entry) -> None:
        image = _new(entry, self.image_of)
        video = self.videos[_known(entry, "video_id", self.videos)]
        frame = _whole(entry, "frame_id", least=0)
        if frame >= _MOST_FRAMES:
            raise _Wrong(f"'frame_id' must be below {_MOST_FRAMES}, got {frame}")
        if frame in video.files:
            raise _Wrong(f"frame {frame} of video {video.name!r} is there twice")
        size = (_whole(entry, "height", least=1), _whole(entry, "width", least=1))
        if video.files and size != video.size:
            raise _Wrong(
                f"the image is {size[1]}x{size[0]}, others of video {video.name!r} are {video.size[1]}x{video.size[0]}"
            )
        video.size = size
        video.files[frame] = _string(entry, "file_name")
        annotated = entry.get("annotated", True)
        if not isinstance(annotated, bool):
            raise _Wrong(f"'annotated' must be true or false, got {_short(annotated)}")
        if not annotated:
            video.unannotated.add(frame)
        self.image_of[image] = (video, frame)

    def _annotation(self, entry: Entry) -> None:
        self.annotation_ids.add(_new(entry, self.annotation_ids))
        video, frame = self.image_of[_known(entry, "image_id", self.image_of)]
        label = self.label_of[_known(entry, "category_id", self.categories)]
        instance = _whole(entry, "instance_id")
        box = _box(entry)
        if entry.get("iscrowd", 0) not in (0, 1):
            raise _Wrong(f"'iscrowd' must be 0 or 1, got {_short(entry['iscrowd'])}")
        if frame in video.unannotated:
            raise _Wrong(f"frame {frame} of video {video.name!r} has 'annotated': false but is annotated")
        if entry.get("iscrowd", 0):
            return
        track = video.track_of.setdefault((instance, label), len(video.labels))
        if track == len(video.labels):
            video.labels.append(label)
        if (frame, track) in video.rows:
            raise _Wrong(f"instance {instance} is twice in frame {frame} of video {video.name!r}")
        video.rows[frame, track] = box


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _whole(entry: Entry, key: str, least: int | None = None) -> int:
    value = entry.get(key)
    if type(value) is not int or (least is not None and value < least):
        wanted = "a whole number" if least is None else f"a whole number of at least {least}"
        raise _Wrong(f"'{key}' must be {wanted}, " + (f"got {_short(value)}" if key in entry else "but is missing"))
    return value


def _string(entry: Entry, key: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value:
        raise _Wrong(f"'{key}' must be text, " + (f"got {_short(value)}" if key in entry else "but is missing"))
    return value


def _new(entry: Entry, taken: Container[int]) -> int:
    number = _whole(entry, "id")
    if number in taken:
        raise _Wrong(f"id {number} is there twice")
    return number


def _known(entry: Entry, key: str, known: Container[int]) -> int:
    number = _whole(entry, key)
    if number not in known:
        raise _Wrong(f"'{key}' {number} is not the id of any entry")
    return number


def _box(entry: Entry) -> tuple[float, float, float, float]:
    """x1 y1 x2 y2 of the entry, with an area as float32 too."""
    box = entry.get("bbox")
    if isinstance(box, list) and len(box) == 4 and all(type(value) in (int, float) for value in box):
        x, y, width, height = box
        x2, y2 = x + width, y + height
        inside = -_LARGEST < x < x2 < _LARGEST and -_LARGEST < y < y2 < _LARGEST  # false for NaN
        if inside and width > _RELATIVE * max(abs(x), abs(x2)) and height > _RELATIVE * max(abs(y), abs(y2)):
            return (x, y, x2, y2)
    raise _Wrong(f"'bbox' must be [x, y, width, height] with an area, got {_short(box)}")
