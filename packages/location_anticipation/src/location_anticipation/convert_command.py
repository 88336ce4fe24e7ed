"""``location-anticipation convert``: arguments, and what is said at the end."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["add_arguments", "run"]


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of the command, without ``--debug``."""
    command.add_argument(
        "format", help="ilsvrc-vid, ilsvrc-det, epic-kitchens-55, youtube-bb, or cocovid to check and filter a file"
    )
    command.add_argument("root", type=Path, help="folder of the data set in its published layout; for cocovid the file")
    command.add_argument("--out", type=Path, required=True, metavar="FILE.json")
    command.add_argument(
        "--split",
        help="train or val (ILSVRC); all, train, s1 or s2 (EPIC-KITCHENS-55); train or validation (YouTube-BB)",
    )
    command.add_argument("--classes", type=_names, metavar="NAME,NAME", help="keep these classes only")
    command.add_argument("--list", dest="list_file", type=Path, metavar="FILE.txt", help="ILSVRC: videos or images")
    command.add_argument(
        "--link-iou",
        type=float,
        metavar="IOU",
        help="EPIC-KITCHENS-55: boxes that overlap so are one track (default 0.3)",
    )
    command.add_argument(
        "--unseen-kitchens",
        type=_names,
        metavar="P01,P02",
        help="EPIC-KITCHENS-55: held out for s2 (default: an eighth)",
    )
    command.add_argument("--fps", type=float, metavar="F", help="YouTube-BB: frames extracted a second (default 1)")
    command.add_argument(
        "--sizes", type=Path, metavar="FILE.csv", help="YouTube-BB: youtube_id,width,height, instead of frames"
    )


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def run(options: argparse.Namespace) -> int:
    """Convert, say what came out and which folder of images belongs to it, and return 0."""
    from location_anticipation.convert import convert

    names = ("list_file", "link_iou", "unseen_kitchens", "fps", "sizes")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    made = convert(options.format, options.root, options.out, split=options.split, classes=options.classes, **given)
    print(f"{made.videos} videos, {made.frames} images, {made.boxes} boxes, {made.classes} classes")
    elsewhere = f", or where those of {options.root} are" if options.format == "cocovid" else ""
    print(f"{made.path} (train and evaluate with --images {made.images}{elsewhere})")
    return 0
