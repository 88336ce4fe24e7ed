"""A folder of images with ``metadata.jsonl``, the "ImageFolder" layout of Hugging Face's ``datasets``, to CocoVID.

    ROOT/metadata.jsonl    {"file_name": "0001.png", "objects": {"bbox": [[x, y, width, height]], "categories": [0]}}
    ROOT/0001.png

``category`` is understood too. Categories are numbers, which become the ids, or names. Every image is a video of one frame.
"""

import json
from pathlib import Path
from typing import Any

from efficiency_core.errors import UsageError
from efficiency_core.readers import text_lines
from location_anticipation.data.converters.cocovid_writer import CocoVidBuilder, frame_size


def convert_image_folder(root: Path, images: Path) -> dict[str, Any]:
    """CocoVID content of a folder, or of its ``metadata.jsonl``; ``file_name`` is relative to ``images``."""
    path = root / "metadata.jsonl" if root.is_dir() else root
    rows: list[tuple[int, str, list[Any], list[Any]]] = []
    for line, text in text_lines(path, "the metadata of a folder of images"):
        try:
            row = json.loads(text)
            things = row.get("objects") or {"bbox": [], "categories": []}
            kinds, boxes = things["categories"] if "categories" in things else things["category"], things["bbox"]
            sound = len(kinds) == len(boxes) and all(type(kind) in (int, str) for kind in kinds)
            for box in boxes:
                sound &= len(box) == 4 and all(type(side) in (int, float) for side in box)
            if not sound:
                raise ValueError("as many bbox [x, y, width, height] as categories, numbers or names, are expected")
            rows.append((line, str(row["file_name"]), kinds, boxes))
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            said = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise UsageError(f"{path}:{line}: not a row with file_name and objects ({said})") from error
    every = sorted({kind for _, _, kinds, _ in rows for kind in kinds}, key=lambda kind: (isinstance(kind, str), kind))
    ids = {kind: kind if isinstance(kind, int) else number for number, kind in enumerate(every, start=1)}
    if len(set(ids.values())) < len(ids):
        raise UsageError(f"{path}: categories are numbers in some rows and names in others")
    builder = CocoVidBuilder([{"id": ids[kind], "name": str(kind)} for kind in every], {"source": "ImageFolder"})
    for line, name, kinds, boxes in rows:
        size = frame_size(images / name, f"{path}:{line}")
        video = builder.add_video(name)
        image = builder.add_image(video, 0, name, size)
        for number, (kind, (x, y, width, height)) in enumerate(zip(kinds, boxes, strict=True)):
            builder.add_box(video, image, ids[kind], number, (x, y, x + width, y + height))
    return builder.finish()
