"""``location-anticipation convert``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from efficiency_core.command import OutputFile, Positional
from efficiency_core.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Options:
    """Make a CocoVID JSON file of a data set in its published layout or of an export of a labelling tool, or check one."""

    format: Positional[
        Literal[
            "ilsvrc-vid", "ilsvrc-det", "epic-kitchens-55", "youtube-bb", "cvat", "label-studio", "image-folder",
            "coco", "cocovid",
        ]
    ]  # fmt: skip
    """Layout of the annotations; ``coco`` and ``cocovid`` check and filter a file, whose ids stay."""
    root: Positional[Path]
    """Folder of the data set in its published layout, or file of the annotations."""
    out: OutputFile[Path]
    """The file to write, ``.json``."""
    split: str | None = None
    """Part of the data set: train or val (ILSVRC); all, train, s1 or s2 (EPIC-KITCHENS-55); train or validation (YouTube-BB)."""
    classes: str | None = None
    """Names of classes to keep, separated by commas; all by default."""
    images: Path | None = None
    """Annotations in a file: folder of the images, by default ``images`` beside the file, or its own folder."""
    fix: bool = False
    """COCO and CocoVID: leave out annotations that cannot be used, such as boxes without an area or outside their image, and
    cut boxes at the border of their image; the log counts them."""
    list: Path | None = None
    """ILSVRC: file that lists the videos or images to take."""
    link_iou: float | None = None
    """EPIC-KITCHENS-55: IoU from which on boxes of successive frames are one track, 0.3 by default."""
    unseen_kitchens: str | None = None
    """EPIC-KITCHENS-55: participants held out for s2, separated by commas; an eighth of them by default."""
    fps: float | None = None
    """YouTube-BB: number of frames that were extracted per second, 1 by default."""
    sizes: Path | None = None
    """YouTube-BB: table of youtube_id, width and height, in place of frames."""


def run(options: Options) -> None:
    """Convert; print the numbers of videos, images and boxes, and the folder of the images."""
    from location_anticipation.data.converters.registry import convert

    given = {
        "fix": options.fix or None,
        "list_file": options.list,
        "link_iou": options.link_iou,
        "unseen_kitchens": _names(options.unseen_kitchens),
        "fps": options.fps,
        "sizes": options.sizes,
    }
    images, counts = convert(
        options.format,
        options.root,
        options.out,
        split=options.split,
        images=options.images,
        classes=_names(options.classes),
        **{name: value for name, value in given.items() if value is not None},
    )
    print("{videos} videos, {images} images, {annotations} boxes, {categories} classes".format(**counts))
    elsewhere = f", or where those of {options.root} are" if options.format in ("coco", "cocovid") else ""
    print(f"{options.out} (train and evaluate with --images {images}{elsewhere})")


def _names(text: str | None) -> list[str] | None:
    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UsageError(f"expected names separated by commas, got {text!r}")
    return names
