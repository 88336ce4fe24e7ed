"""EPIC-KITCHENS-55 objects, as published, to CocoVID.

    ROOT/annotations/EPIC_train_object_labels.csv   noun_class, noun, participant_id, video_id, frame, bounding_boxes
    ROOT/annotations/EPIC_noun_classes.csv          noun_id, class_key, nouns
    ROOT/annotations/EPIC_video_info.csv            video, resolution, duration, fps
    ROOT/object_detection_images/train/P01/P01_01/0000056581.jpg

The tables may also lie in ROOT itself. A row is one noun in one frame; its boxes are (top, left, height, width) in
pixels of the video, none where the noun is not seen. The set lacks the following, which is made here and noted in ``info``:

* Tracks. In two successive annotated frames boxes of one noun are taken for one object if their IoU is at least
  ``link_iou``, the pairs of largest IoU first (greedy), each box once.
* Clips. The frames come about two a second, around actions. A video is cut wherever two of them are further apart than
  1.5 times their usual (median) distance; every piece is a CocoVID video of frames 0, 1, 2, ... in that rhythm.
* Hold-out sets. Labels of the test sets S1 (seen kitchens) and S2 (unseen kitchens) are not public. ``s2`` is all videos
  of the unseen kitchens: those named, or the last eighth (4 of 32 in the paper); ``s1`` is every fourth video of each
  other kitchen; ``train`` is the rest.

Categories are the nouns that occur anywhere in the labels, the same for every split; their id is the noun's plus 1.
"""

import ast
import logging
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import count, pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch
from tqdm import tqdm

from efficiency_core.errors import UsageError
from efficiency_core.readers import table, whole
from location_anticipation.data.converters.cocovid_writer import Box, CocoVidBuilder, frame_size, runs
from location_anticipation.model.boxes import match_boxes

_LABELS = "EPIC_train_object_labels.csv"
_log = logging.getLogger(__name__)

Frames = dict[int, list[tuple[int, Box]]]
"""Noun classes and boxes x1 y1 x2 y2 by frame number."""


def convert_epic(
    root: Path, split: str, *, link_iou: float = 0.3, unseen_kitchens: Sequence[str] | None = None
) -> dict[str, Any]:
    """CocoVID content of a split (``all``, ``train``, ``s1`` or ``s2``); ``file_name`` is relative to ROOT.

    Args:
        root: folder of the tables and images.
        link_iou: smallest IoU that makes one track of boxes in successive frames.
        unseen_kitchens: participants (``P01``) held out for ``s2``; the last eighth if None.
    """
    if not 0 < link_iou <= 1:
        raise UsageError(f"--link-iou must be above 0 and at most 1, got {link_iou}")
    names = _noun_names(_find_table(root, "EPIC_noun_classes.csv"))
    sizes = _video_sizes(_find_table(root, "EPIC_video_info.csv"))
    videos, kitchens, flat = _labels(_find_table(root, _LABELS), names, sizes)
    chosen = sorted(videos) if split == "all" else hold_out(kitchens, unseen_kitchens)[split]
    if not chosen:
        raise UsageError(f"{root}: split {split} is empty: {len(kitchens)} videos are too few for it")
    seen = {noun for frames in videos.values() for things in frames.values() for noun, _ in things}
    categories = [{"id": noun + 1, "name": names[noun]} for noun in sorted(seen)]
    info = {
        "name": f"EPIC-KITCHENS-55 objects {split}",
        "source": "EPIC-KITCHENS-55",
        "tracks": f"made by linking boxes of a noun in successive annotated frames by IoU >= {link_iou}, greedily",
        "clips": "videos cut at pauses of the annotation; frame_id counts annotated frames",
        "split": f"hold-out of the training labels: {', '.join(chosen)}",
    }
    builder = CocoVidBuilder(categories, info)
    for video in tqdm(chosen, unit="video", desc="EPIC-KITCHENS-55", disable=None):
        _add_video(builder, root, video, kitchens[video], videos[video], sizes[video], link_iou)
    _log.info(
        "EPIC-KITCHENS-55 has no tracks: %d were made by linking boxes by IoU >= %g", len(builder.tracks), link_iou
    )
    builder.flat += flat
    return builder.finish()


def _add_video(
    builder: CocoVidBuilder,
    root: Path,
    video: str,
    kitchen: str,
    frames: Frames,
    size: tuple[int, int],
    link_iou: float,
) -> None:
    """Adds the clips of a video."""
    folder = f"object_detection_images/train/{kitchen}/{video}"
    shown = sorted(frames)
    usual = median(later - earlier for earlier, later in pairwise(shown)) if len(shown) > 1 else 1
    for clip in runs(shown, 1.5 * usual):
        number = builder.add_video(f"{video}/{clip[0]:010d}")
        linked = link([frames[frame] for frame in clip], link_iou)
        for index, (frame, part) in enumerate(zip(clip, linked, strict=True)):
            file = f"{folder}/{frame:010d}.jpg"
            where = f"frame {frame} of {video} in {_LABELS}"
            actual = frame_size(root / file, where)
            if actual != size:
                raise UsageError(
                    f"{root / file}: is {actual[1]}x{actual[0]}, EPIC_video_info.csv says {size[1]}x{size[0]} ({where})"
                )
            image = builder.add_image(number, index, file, size)
            for (noun, box), track in zip(frames[frame], part, strict=True):
                builder.add_box(number, image, noun + 1, track, box)


def link(frames: Sequence[Sequence[tuple[int, Box]]], least_iou: float) -> list[list[int]]:
    """For every frame the number of the track of each of its boxes, which come with their classes.

    Boxes of one class in successive frames with an IoU of ``least_iou`` or more are one track, largest IoU first.
    """
    linked: list[list[int]] = []
    fresh = count()
    for index, things in enumerate(frames):
        before = frames[index - 1] if index else []
        partner, _ = match_boxes(*_tensors(things), *_tensors(before), min_iou=least_iou)
        linked.append([linked[-1][other] if other >= 0 else next(fresh) for other in partner.tolist()])
    return linked


def _tensors(things: Sequence[tuple[int, Box]]) -> tuple[torch.Tensor, torch.Tensor]:
    boxes = torch.tensor([box for _, box in things], dtype=torch.float32).reshape(-1, 4)
    return boxes, torch.tensor([noun for noun, _ in things], dtype=torch.int64)


def hold_out(kitchens: Mapping[str, str], unseen: Sequence[str] | None = None) -> dict[str, list[str]]:
    """Videos of ``train``, ``s1`` and ``s2`` from the kitchen of every video."""
    known = sorted(set(kitchens.values()))
    if unseen is None:
        unseen = known[len(known) - max(1, round(len(known) / 8)) :] if len(known) > 1 else []
    for kitchen in unseen:
        if kitchen not in known:
            raise UsageError(f"--unseen-kitchens: {kitchen!r} is none of {', '.join(known)}")
    parts: dict[str, list[str]] = {"train": [], "s1": [], "s2": []}
    for kitchen in known:
        for place, video in enumerate(sorted(video for video in kitchens if kitchens[video] == kitchen)):
            parts["s2" if kitchen in unseen else "s1" if place % 4 == 3 else "train"].append(video)
    return parts


def _find_table(root: Path, name: str) -> Path:
    inside = root / "annotations" / name
    return root / name if not inside.is_file() and (root / name).is_file() else inside


def _noun_names(path: Path) -> dict[int, str]:
    names: dict[int, str] = {}
    for line, (noun, key) in table(path, ("noun_id", "class_key"), "the noun classes of EPIC-KITCHENS-55"):
        number = whole(noun, f"{path}:{line}", "noun_id")
        if number in names or not key:
            raise UsageError(f"{path}:{line}: noun {number} is there twice or has no class_key")
        names[number] = key
    return names


def _video_sizes(path: Path) -> dict[str, tuple[int, int]]:
    sizes: dict[str, tuple[int, int]] = {}
    for line, (video, resolution) in table(path, ("video", "resolution"), "the video table of EPIC-KITCHENS-55"):
        match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", resolution.strip())
        if match is None:
            raise UsageError(f"{path}:{line}: resolution must be like 1920x1080, got {resolution!r}")
        sizes[video] = (int(match[2]), int(match[1]))
    return sizes


def _labels(
    path: Path, names: Mapping[int, str], sizes: Mapping[str, tuple[int, int]]
) -> tuple[dict[str, Frames], dict[str, str], int]:
    """Frames of every video, the kitchen of every video, and the number of boxes left out."""
    videos: dict[str, Frames] = defaultdict(lambda: defaultdict(list))
    kitchens: dict[str, str] = {}
    flat = 0
    columns = ("noun_class", "participant_id", "video_id", "frame", "bounding_boxes")
    for line, (noun, kitchen, video, frame, boxes) in table(path, columns, "the object labels of EPIC-KITCHENS-55"):
        where = f"{path}:{line}"
        kind = whole(noun, where, "noun_class")
        if kind not in names:
            raise UsageError(f"{where}: noun_class {kind} is not in EPIC_noun_classes.csv")
        if video not in sizes:
            raise UsageError(f"{where}: video {video!r} is not in EPIC_video_info.csv")
        if kitchens.setdefault(video, kitchen) != kitchen or not kitchen:
            raise UsageError(
                f"{where}: video {video} is of participant {kitchen!r} here and {kitchens[video]!r} before"
            )
        things = videos[video][whole(frame, where, "frame")]
        for box in _boxes(boxes, where):
            inside = _inside(box, sizes[video])
            if inside is None:
                flat += 1
            else:
                things.append((kind, inside))
    return {video: dict(frames) for video, frames in videos.items()}, kitchens, flat


def _boxes(text: str, where: str) -> list[tuple[float, float, float, float]]:
    """(top, left, height, width) tuples."""
    try:
        boxes = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        boxes = None
    sound = isinstance(boxes, list) and all(
        isinstance(box, tuple) and len(box) == 4 and all(type(value) in (int, float) for value in box) for box in boxes
    )
    if not sound:
        raise UsageError(f"{where}: bounding_boxes must be a list of (top, left, height, width), got {text[:60]!r}")
    return list(boxes)


def _inside(box: tuple[float, float, float, float], size: tuple[int, int]) -> Box | None:
    """x1 y1 x2 y2, cut at the border of the image; None if nothing is left."""
    top, left, height, width = box
    x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + width, size[1]), min(top + height, size[0])
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None
