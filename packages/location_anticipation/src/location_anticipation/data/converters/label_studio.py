"""The JSON export of Label Studio to CocoVID: rectangles in images and in videos.

An image is a video of one frame. A video needs its frames as images, see
:class:`~location_anticipation.data.converters.labelling_tools.VideoFrames`; boxes between key frames are interpolated, as Label
Studio does. A rotated rectangle becomes the upright box around it. An empty annotation is an empty image; tasks without
annotation, skipped ones, and results of other kinds are left out, and the log counts them. Of several annotations of a task the
first is taken.
"""

import re
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from efficiency_core.errors import UsageError
from efficiency_core.readers import json_line, read_json
from location_anticipation.data.converters.cocovid_writer import Box, CocoVidBuilder, frame_size
from location_anticipation.data.converters.labelling_tools import KeyBox, VideoFrames, enclosing, track_boxes

_SIDES = ("x", "y", "width", "height")


@dataclass
class _Region:
    """An object of a task, as its results tell: of a rectangle with a separate label there are two."""

    label: str | None = None
    keys: list[dict[str, Any]] | None = None
    """Key frames, or the one rectangle in an image; x, y, width and height in percent."""
    last: int = 1
    """Number of frames of the video."""


def convert_label_studio(root: Path, images: Path) -> dict[str, Any]:
    """CocoVID content of an export, the JSON file; ``file_name`` is relative to ``images``."""
    what = "a JSON export of Label Studio"
    text, tasks = read_json(root, what)
    if not isinstance(tasks, list) or not all(isinstance(t, dict) and "annotations" in t for t in tasks):
        raise UsageError(f"{root}: expected {what}, a list of tasks with 'annotations' (JSON-MIN has none)")
    notes: Counter[str] = Counter()
    read: list[tuple[int, dict[Hashable, _Region]]] = []
    builder = CocoVidBuilder([], {"source": "Label Studio"})
    try:
        for number, task in enumerate(tasks):
            done = [entry for entry in task["annotations"] if not entry.get("was_cancelled")]
            notes["tasks without annotation, left out"] += not done
            notes["tasks annotated more than once, of which the first is taken"] += len(done) > 1
            if done:
                read.append((number, _regions(done[0]["result"], notes)))
        labels = sorted({region.label for _, regions in read for region in regions.values() if region.label})
        ids = {name: number for number, name in enumerate(labels, start=1)}
        builder.content["categories"] = [{"id": number, "name": name} for name, number in ids.items()]
        for number, regions in read:
            _add_task(builder, tasks[number], regions, images, ids)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        said = f"has no {error}" if isinstance(error, KeyError) else f"is not as Label Studio exports it ({error})"
        raise UsageError(f"{root}:{json_line(text, number)}: task {tasks[number].get('id')} {said}") from error
    return builder.finish(dict(notes))


def _regions(results: list[dict[str, Any]], notes: Counter[str]) -> dict[Hashable, _Region]:
    regions: dict[Hashable, _Region] = {}
    for place, result in enumerate(results):
        value = result.get("value") or {}
        names = value.get("rectanglelabels") or value.get("labels")
        boxes = value.get("sequence") or ([value] if all(side in value for side in _SIDES) else None)
        if not names and not boxes:
            notes[f"results of type {result.get('type')}, left out"] += 1
            continue
        region = regions.setdefault(result.get("id", place), _Region())
        region.label = names[0] if names else region.label
        region.keys = boxes or region.keys
        region.last = max(int(value.get("framesCount") or 1), region.last)
    whole = {name: region for name, region in regions.items() if region.label and region.keys}
    notes["regions without a label or a rectangle, left out"] += len(regions) - len(whole)
    return whole


def _add_task(
    builder: CocoVidBuilder, task: dict[str, Any], regions: dict[Hashable, _Region], images: Path, ids: dict[str, int]
) -> None:
    names = _names(_source(task))
    if _is_video(task):
        found = (str(Path(name).with_suffix("")) for name in names)
        video_name = next((name for name in found if (images / name).is_dir()), Path(names[-2]).stem)
        frames = VideoFrames(images, video_name, only=not builder.content["videos"])
        said = max((region.last for region in regions.values()), default=frames.count)
        if abs(said - frames.count) > 1:  # the tool reckons their number from the duration
            raise UsageError(f"{frames.folder}: has images of {frames.count} frames, the annotation has {said}")
        files = [frames.file(frame) for frame in range(min(said, frames.count))]
    else:
        video_name = next((name for name in names if (images / name).is_file()), names[-2])
        files = [video_name]
    size = frame_size(images / files[0], f"task {task.get('id')}; --images names the folder of all images")
    video = builder.add_video(video_name)
    image = {frame: builder.add_image(video, frame - 1, file, size) for frame, file in enumerate(files, start=1)}
    for track, region in regions.items():
        keys = [_key_box(key, size) for key in sorted(region.keys or (), key=lambda key: key.get("frame", 1))]
        if not 1 <= keys[0][0] <= keys[-1][0] <= region.last:
            raise ValueError(f"a key frame is none of 1 to {region.last}")
        for frame, box in track_boxes(keys, region.last):
            if frame in image:
                builder.add_box(video, image[frame], ids[str(region.label)], track, box)


def _key_box(key: dict[str, Any], size: tuple[int, int]) -> KeyBox:
    x, y, width, height = (key[side] / 100 * size[side in ("x", "width")] for side in _SIDES)
    box: Box = (x, y, x + width, y + height)
    return key.get("frame", 1), enclosing(box, key.get("rotation") or 0, (x, y)), key.get("enabled", True)


def _is_video(task: dict[str, Any]) -> bool:
    return "video" in task["data"]


def _source(task: dict[str, Any]) -> str:
    """Address of the image or video of a task."""
    data = task["data"]
    for value in (data.get("video"), data.get("image"), *data.values()):
        if isinstance(value, str) and value:
            return value
    raise ValueError("'data' names no image or video")


def _names(source: str) -> list[str]:
    """Where a file may lie under the folder of images: the ends of its address, at last without the prefix of an upload."""
    parts = urlsplit(source)
    path = unquote(parse_qs(parts.query).get("d", [parts.path])[0])
    ends = path.strip("/").split("/")
    names = ["/".join(ends[start:]) for start in range(len(ends))]
    return [*names, re.sub(r"^[0-9a-f]{8}-", "", ends[-1])]
