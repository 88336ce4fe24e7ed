"""CocoVID JSON files, put together entry by entry and written; sizes of frames, and where a video is cut into clips."""

import json
import logging
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from efficiency_core.errors import BrokenFile, UsageError
from efficiency_core.files import atomic_path
from efficiency_core.readers import image_size
from location_anticipation.data.cocovid import SECTIONS

Entry = dict[str, Any]
Box = tuple[float, float, float, float]
"""x1 y1 x2 y2."""
_log = logging.getLogger(__name__)


class CocoVidBuilder:
    """Collects the entries of a CocoVID file for a converter, and numbers them.

    ``info`` holds ``name``, ``source`` and notes on how the file was made.
    """

    def __init__(self, categories: Iterable[Entry], info: Entry) -> None:
        self.content: dict[str, Any] = {"info": info, "categories": list(categories)}
        self.content |= {"videos": [], "images": [], "annotations": []}
        self.tracks: dict[Hashable, int] = {}  # (video, category, name of the object) to ``instance_id``
        self.flat = 0  # boxes without an area inside their image, which are left out

    def add_video(self, name: str, **more: Any) -> int:
        """Add a video and return its id."""
        return self._add("videos", {"name": name, **more})

    def add_image(self, video: int, frame: int, file_name: str, size: tuple[int, int], **more: Any) -> int:
        """Add frame ``frame`` (from 0) of (height, width) ``size`` to the video of id ``video``; returns its id."""
        height, width = size
        place = {"video_id": video, "frame_id": frame}
        return self._add("images", {"file_name": file_name, "height": height, "width": width, **place, **more})

    def add_box(self, video: int, image: int, category: int, track: Hashable, box: Box, **more: Any) -> None:
        """Add a box in pixels if it has an area inside its image; ``track`` names the object within its video and category."""
        place = self.content["images"][image - 1]
        if max(box[0], 0) >= min(box[2], place["width"]) or max(box[1], 0) >= min(box[3], place["height"]):
            self.flat += 1
            return
        instance = self.tracks.setdefault((video, category, track), len(self.tracks) + 1)
        width, height = box[2] - box[0], box[3] - box[1]
        entry: Entry = {"image_id": image, "video_id": video, "category_id": category, "instance_id": instance}
        entry |= {"bbox": [box[0], box[1], width, height], "area": width * height, "iscrowd": 0}
        self._add("annotations", {**entry, **more})

    def _add(self, section: str, entry: Entry) -> int:
        number = len(self.content[section]) + 1
        self.content[section].append({"id": number, **entry})
        return number

    def finish(self, notes: dict[str, int] | None = None) -> Entry:
        """The content; how many of what was left out, and of boxes, goes into ``info`` and the log."""
        notes = {"boxes without an area inside the image, left out": self.flat, **(notes or {})}
        for what, count in notes.items():
            if count:
                _log.info("%s: %d", what, count)
        self.content["info"]["notes"] = notes
        return self.content


def write_cocovid(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write the lists of a CocoVID file, and ``info`` where there is one, one entry on each line.

    The file appears whole or not at all.

    Raises:
        WorkError: if it cannot be written.
        ValueError: if a number is not finite.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write("{\n")
        if "info" in content:
            file.write(f'"info": {json.dumps(content["info"], allow_nan=False)},\n')
        for section in SECTIONS:
            file.write(f'"{section}": [')
            for number, entry in enumerate(content[section]):
                file.write(",\n" if number else "\n")
                file.write(json.dumps(entry, allow_nan=False))
            file.write("\n]\n" if section == SECTIONS[-1] else "\n],\n")
        file.write("}\n")


def frame_size(path: Path, where: str) -> tuple[int, int]:
    """(height, width) of the upright image in a file; ``where`` says in an error what names the file."""
    try:
        return image_size(path)
    except BrokenFile as error:
        raise UsageError(f"{error} ({where})") from error


def runs(frames: Sequence[int], longest_gap: float) -> list[list[int]]:
    """Rising frame numbers, split wherever two neighbours are more than ``longest_gap`` apart."""
    parts: list[list[int]] = []
    for frame in frames:
        if not parts or frame - parts[-1][-1] > longest_gap:
            parts.append([])
        parts[-1].append(frame)
    return parts
