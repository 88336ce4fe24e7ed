"""Data sets in their published layouts, and exports of labelling tools, to CocoVID JSON, by name."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from efficiency_core.errors import UsageError
from location_anticipation.data.cocovid import SECTIONS, read_sections
from location_anticipation.data.cocovid_entries import EntryReader
from location_anticipation.data.converters.cocovid_writer import write_cocovid
from location_anticipation.data.converters.cvat import convert_cvat
from location_anticipation.data.converters.epic import convert_epic
from location_anticipation.data.converters.ilsvrc import convert_det, convert_vid
from location_anticipation.data.converters.image_folder import convert_image_folder
from location_anticipation.data.converters.label_studio import convert_label_studio
from location_anticipation.data.converters.labelling_tools import images_beside
from location_anticipation.data.converters.youtube_bb import convert_youtube_bb

Content = dict[str, Any]
_log = logging.getLogger(__name__)
_SHOWN = 5  # messages of annotations that were left out


@dataclass(frozen=True)
class Format:
    """One layout of annotations."""

    read: Callable[..., Content]
    """Makes CocoVID content of a root folder and a split, or of a file and the folder of its images where there are no splits,
    and of the options named below. Raises :class:`UsageError` if a file is missing or malformed, with its line, or no video is
    there."""
    images: str | None
    """Folder under the root against which the ``file_name`` entries are resolved; None: that of the option ``images``."""
    splits: tuple[str, ...]
    """The parts that the data set has."""
    options: tuple[str, ...]
    """Names of the options that ``read`` takes."""


def _read_coco(root: Path, images: Path, *, fix: bool = False) -> Content:
    """A CocoVID or COCO file whose entries are sound; with ``fix`` after wrong annotations were left out and boxes cut."""
    content, text = read_sections(root)
    entries = EntryReader(root, content, text, fix=fix)
    for message in entries.left_out[:_SHOWN]:
        _log.info("left out: %s", message)
    if fix:
        _log.info("%d annotations left out, %d boxes cut at the border", len(entries.left_out), entries.cut)
    return select(entries.content)


FORMATS = {
    "ilsvrc-vid": Format(convert_vid, "Data/VID", ("train", "val"), ("list_file",)),
    "ilsvrc-det": Format(convert_det, "Data/DET", ("train", "val"), ("list_file",)),
    "epic-kitchens-55": Format(convert_epic, ".", ("all", "train", "s1", "s2"), ("link_iou", "unseen_kitchens")),
    "youtube-bb": Format(convert_youtube_bb, "frames", ("train", "validation"), ("fps", "sizes")),
    "cvat": Format(convert_cvat, None, (), ()),
    "label-studio": Format(convert_label_studio, None, (), ()),
    "image-folder": Format(convert_image_folder, None, (), ()),
    "coco": Format(_read_coco, None, (), ("fix",)),
    "cocovid": Format(_read_coco, None, (), ("fix",)),
}
"""Layouts by name."""


def convert(
    name: str,
    root: str | Path,
    out: str | Path,
    *,
    split: str | None = None,
    images: str | Path | None = None,
    classes: Sequence[str] | None = None,
    **options: Any,
) -> tuple[Path, dict[str, int]]:
    """Write a data set as CocoVID JSON, for :class:`CocoVideos`; the file appears whole or not at all.

    Args:
        name: one of :data:`FORMATS`.
        root: folder of the data set, or file of the annotations.
        out: the JSON file.
        split: as the data set has them.
        images: folder of the images, for formats without splits. By default that of the file; for labelling tools ``images`` in
            it, if that is there.
        classes: names (or WordNet ids) of classes to keep, all if None; videos without any of them are left out.
        options: of the format, as its converter takes them.

    Returns:
        Folder of the images, and the number of entries of each list of the file.

    Raises:
        UsageError: if something is missing or malformed, with its line, or an option is not one of the format's.
        WorkError: if the file cannot be written.
    """
    root, out = Path(root), Path(out)
    if name not in FORMATS:
        raise UsageError(f"format must be one of {', '.join(FORMATS)}, got {name!r}")
    form = FORMATS[name]
    unknown = [option for option in options if option not in form.options]
    unknown += ["split"] if split is not None and not form.splits else []
    unknown += ["images"] if images is not None and form.splits else []
    if unknown:
        raise UsageError(f"--{unknown[0].replace('_', '-')} is no option of {name}")
    if out.suffix.lower() != ".json":
        raise UsageError(f"{out}: the name of a CocoVID file ends in .json")
    if form.splits:
        if split not in form.splits:
            raise UsageError(f"--split of {name} must be one of {', '.join(form.splits)}, got {split!r}")
        if not root.is_dir():
            raise UsageError(f"{root}: no such folder; expected the layout of {name}")
        folder = root / str(form.images)
        content = form.read(root, split, **options)
    else:
        beside = root.parent if name in ("coco", "cocovid") else images_beside(root)
        folder = beside if images is None else Path(images)
        content = form.read(root, folder, **options)
    content = content if classes is None else select(content, classes)
    if not content["videos"]:
        raise UsageError(f"{root}: {' '.join(filter(None, (name, split)))} holds nothing of its classes")
    write_cocovid(out, content)
    return folder, {section: len(content[section]) for section in SECTIONS}


def select(content: Content, classes: Sequence[str] | None = None) -> Content:
    """The videos of some classes of sound CocoVID content: images in the order of their videos, boxes in that of their images.

    Ids and further keys of the entries stay. With ``classes``, videos without any box of them are left out; videos without
    images always are.

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
    chosen = {entry["id"] for entry in categories}
    video_of = {entry["id"]: entry["video_id"] for entry in content["images"]}
    boxes = [entry for entry in content["annotations"] if entry["category_id"] in chosen]
    wanted = set(video_of.values()) if classes is None else {video_of[entry["image_id"]] for entry in boxes}
    videos = [entry for entry in content["videos"] if entry["id"] in wanted]
    if not videos:
        raise UsageError("no video has an image" if classes is None else "no video is left of these classes")
    place = {entry["id"]: number for number, entry in enumerate(videos)}
    images = [entry for entry in content["images"] if entry["video_id"] in place]
    images.sort(key=lambda entry: (place[entry["video_id"]], entry["frame_id"]))
    order = {entry["id"]: number for number, entry in enumerate(images)}
    boxes = sorted((entry for entry in boxes if entry["image_id"] in order), key=lambda entry: order[entry["image_id"]])
    annotations = [
        {"area": box["bbox"][2] * box["bbox"][3], "iscrowd": 0, **box, "video_id": video_of[box["image_id"]]}
        for box in boxes
    ]
    lists = {"categories": categories, "videos": videos, "images": images, "annotations": annotations}
    return {key: content[key] for key in ("info",) if key in content} | lists
