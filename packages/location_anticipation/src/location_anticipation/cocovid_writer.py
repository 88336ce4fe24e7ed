"""CocoVID JSON files, put together entry by entry and written."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

from location_anticipation.cocovid import SECTIONS
from location_anticipation.files import atomic_path

__all__ = ["CocoVidBuilder", "write_cocovid"]

Entry = dict[str, Any]


class CocoVidBuilder:
    """Collects a CocoVID file entry by entry and numbers the entries; what the converters write with.

    Args:
        categories: entries with ``id`` and ``name``.
        info: what the file says about itself: ``name``, ``source`` and notes on how it was made.
    """

    def __init__(self, categories: Iterable[Entry], info: Entry) -> None:
        self.content: dict[str, Any] = {"info": info, "categories": list(categories)}
        self.content |= {"videos": [], "images": [], "annotations": []}
        self._instances: dict[Hashable, int] = {}

    def add_video(self, name: str, **more: Any) -> int:
        """Add a video and return its id."""
        return self._add("videos", {"name": name, **more})

    def add_image(self, video: int, frame: int, file_name: str, size: tuple[int, int], **more: Any) -> int:
        """Add frame ``frame`` (from 0) of (height, width) ``size`` to the video of id ``video``; returns its id."""
        height, width = size
        place = {"video_id": video, "frame_id": frame}
        return self._add("images", {"file_name": file_name, "height": height, "width": width, **place, **more})

    def add_box(
        self,
        video: int,
        image: int,
        category: int,
        track: Hashable,
        box: tuple[float, float, float, float],
        **more: Any,
    ) -> int:
        """Add a box x1 y1 x2 y2 in pixels; ``track`` is any name for the object, unique within video and category."""
        instance = self._instances.setdefault((video, category, track), len(self._instances) + 1)
        width, height = box[2] - box[0], box[3] - box[1]
        entry: Entry = {"image_id": image, "video_id": video, "category_id": category, "instance_id": instance}
        entry |= {"bbox": [box[0], box[1], width, height], "area": width * height, "iscrowd": 0}
        return self._add("annotations", {**entry, **more})

    def _add(self, section: str, entry: Entry) -> int:
        number = len(self.content[section]) + 1
        self.content[section].append({"id": number, **entry})
        return number


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
            lines = (json.dumps(entry, allow_nan=False) for entry in content[section])
            file.write(f'"{section}": [')
            for number, line in enumerate(lines):
                file.write(("\n" if number == 0 else ",\n") + line)
            file.write("\n]\n" if section == SECTIONS[-1] else "\n],\n")
        file.write("}\n")
