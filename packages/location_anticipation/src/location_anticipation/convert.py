"""Data sets in their published layouts to CocoVID JSON, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from location_anticipation.cocovid import CocoVideos, read_sections
from location_anticipation.cocovid_writer import write_cocovid
from location_anticipation.epic import convert_epic
from location_anticipation.errors import UsageError
from location_anticipation.ilsvrc import convert_det, convert_vid
from location_anticipation.youtube_bb import convert_youtube_bb

__all__ = ["FORMATS", "Converted", "convert", "select"]

Content = dict[str, Any]


@dataclass(frozen=True)
class Format:
    """One data set's layout."""

    read: Callable[..., Content]
    """Makes CocoVID content of a root folder, a split and the options named below."""
    images: str
    """Folder that its ``file_name`` entries are relative to, under the root."""
    options: tuple[str, ...] = ()


FORMATS = {
    "ilsvrc-vid": Format(convert_vid, "Data/VID", ("list_file",)),
    "ilsvrc-det": Format(convert_det, "Data/DET", ("list_file",)),
    "epic-kitchens-55": Format(convert_epic, ".", ("link_iou", "unseen_kitchens")),
    "youtube-bb": Format(convert_youtube_bb, "frames", ("fps", "sizes")),
}
"""Data sets by name; ``cocovid`` itself is understood as well."""


@dataclass(frozen=True)
class Converted:
    """What a conversion wrote."""

    path: Path
    images: Path
    """Folder that belongs to the file as ``--images``."""
    classes: int
    videos: int
    frames: int
    """Images, annotated or not."""
    boxes: int


def convert(
    name: str,
    root: str | Path,
    out: str | Path,
    *,
    split: str | None = None,
    classes: Sequence[str] | None = None,
    **options: Any,
) -> Converted:
    """Write a data set as CocoVID JSON, for :class:`CocoVideos`; the file appears whole or not at all.

    Args:
        name: one of :data:`FORMATS`, or ``cocovid`` to check, renumber and filter a CocoVID file.
        root: folder of the data set; for ``cocovid`` the file.
        out: the JSON file.
        split: as the data set has them; none for ``cocovid``.
        classes: names (or WordNet ids) of classes to keep, all if None; videos without any of them are left out.
        options: of the data set, as its converter takes them.

    Raises:
        UsageError: if something is missing or malformed, with its line, or an option is not one of the data set's.
        WorkError: if the file cannot be written.
    """
    root, out = Path(root), Path(out)
    if name != "cocovid" and name not in FORMATS:
        raise UsageError(f"format must be one of {', '.join(FORMATS)} or cocovid, got {name!r}")
    allowed = () if name == "cocovid" else FORMATS[name].options
    for option in options:
        if option not in allowed:
            raise UsageError(f"--{option.replace('_', '-')} is no option of {name}")
    if out.suffix.lower() != ".json":
        raise UsageError(f"{out}: the name of a CocoVID file ends in .json")
    if name == "cocovid":
        if split is not None:
            raise UsageError("--split is no option of cocovid")
        CocoVideos(root)  # says what is wrong
        content, images = select(read_sections(root)[0], classes), root.parent
    else:
        if split is None:
            raise UsageError(f"{name} needs --split")
        if not root.is_dir():
            raise UsageError(f"{root}: no such folder; expected the layout of {name}")
        content, images = FORMATS[name].read(root, split, **options), root / FORMATS[name].images
        content = content if classes is None else select(content, classes)
        if not content["videos"]:
            raise UsageError(f"{root}: {name} {split} holds nothing of its classes")
    write_cocovid(out, content)
    counts = {section: len(content[section]) for section in ("categories", "videos", "images", "annotations")}
    return Converted(out, images, counts["categories"], counts["videos"], counts["images"], counts["annotations"])


def select(content: Content, classes: Sequence[str] | None = None) -> Content:
    """The videos of some classes of sound CocoVID content, in order and with ids from 1 throughout.

    Classes keep the order of the file. With ``classes``, videos without any box of them are left out; videos without
    images always are. Further keys of the entries stay.

    Raises:
        UsageError: if a class is none of the file's, or nothing is left.
    """
    categories = sorted(content["categories"], key=lambda entry: entry["id"])
    if classes is not None:
        known = {entry["name"] for entry in categories} | {entry.get("encode_name") for entry in categories}
        for name in classes:
            if name not in known:
                names = ", ".join(entry["name"] for entry in categories)
                raise UsageError(f"--classes: {name!r} is none of {names}")
        categories = [e for e in categories if e["name"] in classes or e.get("encode_name") in classes]
    category_of = {entry["id"]: number for number, entry in enumerate(categories, start=1)}
    video_of = {entry["id"]: entry["video_id"] for entry in content["images"]}
    boxes = [entry for entry in content["annotations"] if entry["category_id"] in category_of]
    wanted = set(video_of.values()) if classes is None else {video_of[entry["image_id"]] for entry in boxes}
    videos = [entry for entry in content["videos"] if entry["id"] in wanted]
    if not videos:
        raise UsageError("no video has an image" if classes is None else "no video is left of these classes")
    new_video = {entry["id"]: number for number, entry in enumerate(videos, start=1)}
    images = [entry for entry in content["images"] if entry["video_id"] in new_video]
    images.sort(key=lambda entry: (new_video[entry["video_id"]], entry["frame_id"]))
    new_image = {entry["id"]: number for number, entry in enumerate(images, start=1)}
    boxes = [entry for entry in boxes if entry["image_id"] in new_image]
    boxes.sort(key=lambda entry: new_image[entry["image_id"]])
    instances: dict[tuple[int, int, int], int] = {}
    annotations = []
    for number, entry in enumerate(boxes, start=1):
        video, category = new_video[video_of[entry["image_id"]]], category_of[entry["category_id"]]
        instance = instances.setdefault((video, category, entry["instance_id"]), len(instances) + 1)
        ids = {"id": number, "image_id": new_image[entry["image_id"]], "video_id": video}
        made = {"area": entry["bbox"][2] * entry["bbox"][3], "iscrowd": 0}
        annotations.append({**made, **entry, **ids, "category_id": category, "instance_id": instance})
    return {
        **{key: content[key] for key in ("info",) if key in content},
        "categories": [{**entry, "id": category_of[entry["id"]]} for entry in categories],
        "videos": [{**entry, "id": new_video[entry["id"]]} for entry in videos],
        "images": [
            {**entry, "id": new_image[entry["id"]], "video_id": new_video[entry["video_id"]]} for entry in images
        ],
        "annotations": annotations,
    }
