"""ILSVRC2015 VID and DET, as unpacked, to CocoVID.

    ROOT/Annotations/VID/train/ILSVRC2015_VID_train_0000/ILSVRC2015_train_00000000/000000.xml
    ROOT/Annotations/VID/val/ILSVRC2015_val_00000000/000000.xml
    ROOT/Annotations/DET/train/ILSVRC2013_train/n02691156/n02691156_10011.xml
    ROOT/Data/...                      the same names with .JPEG
    ROOT/ImageSets                     lists, in VID and DET, in ImageSets itself, or in ROOT/Lists

Lists are those that the field uses: ``VID_train_15frames.txt``, ``VID_val_videos.txt``, ``VID_val_frames.txt`` and
``DET_train_30classes.txt``. Where there is none, every annotation of the split is taken, and the log says so.

DET images become videos of one frame. Of its 200 classes the 30 of VID are kept, which have the same WordNet ids in
both; images without any of them are left out. ``bbox`` is xmin, ymin, xmax - xmin, ymax - ymin.
"""

import logging
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from efficiency_core.errors import UsageError
from efficiency_core.readers import text_lines, whole
from location_anticipation.data.converters.cocovid_writer import CocoVidBuilder, frame_size
from location_anticipation.data.converters.ilsvrc_xml import AnnotationFile

CLASSES = {
    "n02691156": "airplane", "n02419796": "antelope", "n02131653": "bear", "n02834778": "bicycle", "n01503061": "bird",
    "n02924116": "bus", "n02958343": "car", "n02402425": "cattle", "n02084071": "dog", "n02121808": "domestic_cat",
    "n02503517": "elephant", "n02118333": "fox", "n02510455": "giant_panda", "n02342885": "hamster",
    "n02374451": "horse", "n02129165": "lion", "n01674464": "lizard", "n02484322": "monkey", "n03790512": "motorcycle",
    "n02324045": "rabbit", "n02509815": "red_panda", "n02411705": "sheep", "n01726692": "snake",
    "n02355227": "squirrel", "n02129604": "tiger", "n04468005": "train", "n01662784": "turtle",
    "n04530566": "watercraft", "n02062744": "whale", "n02391049": "zebra",
}  # fmt: skip
"""Names of the 30 classes of VID by WordNet id, in the order of their labels."""

_LISTS = {
    ("VID", "train"): ("VID_train_15frames.txt",),
    ("VID", "val"): ("VID_val_videos.txt", "VID_val_frames.txt"),
    ("DET", "train"): ("DET_train_30classes.txt",),
    ("DET", "val"): (),
}
_ID = {wordnet: label for label, wordnet in enumerate(CLASSES, start=1)}
_log = logging.getLogger(__name__)


@dataclass
class _Snippet:
    """A video as a list names it."""

    folder: str
    where: str
    frames: list[int]
    train_frames: list[int] = field(default_factory=list)


def convert_vid(root: Path, split: str, *, list_file: str | Path | None = None) -> dict[str, Any]:
    """CocoVID content of a split of ILSVRC2015 VID; ``file_name`` is relative to ``ROOT/Data/VID``.

    Rows of ``VID_train_15frames.txt`` also become mmtracking's ``vid_train_frames`` and ``is_vid_train_frame``.
    """
    annotations, images = root / "Annotations" / "VID", root / "Data" / "VID"
    listing = _find_list(root, "VID", split, list_file)
    snippets = _listed_snippets(listing, split) if listing else _all_snippets(annotations, split)
    builder = _builder("VID", split, listing)
    for snippet in tqdm(snippets, unit="video", desc="VID", disable=None):
        keyframes = set(snippet.train_frames)
        video = builder.add_video(snippet.folder, **({"vid_train_frames": sorted(keyframes)} if keyframes else {}))
        size: tuple[int, int] | None = None
        for frame in snippet.frames:
            name = f"{snippet.folder}/{frame:06d}"
            document = AnnotationFile(annotations / f"{name}.xml", snippet.where)
            file = images / f"{name}.JPEG"
            here = document.image_size()
            if size is None:
                size = here
                actual = frame_size(file, snippet.where)
                if here != actual:
                    raise document.error("size", f"is {_as_text(here)}, the image is {_as_text(actual)}")
            if here != size:
                raise document.error("size", f"is {_as_text(here)}, the frames before it are {_as_text(size)}")
            if not file.is_file():
                raise UsageError(f"{file}: no such image ({snippet.where})")
            more = {"is_vid_train_frame": frame in keyframes} if keyframes else {}
            image = builder.add_image(video, frame, f"{name}.JPEG", here, **more)
            tracks = set()
            for wordnet, track, box, flags in document.things(tracked=True):
                if wordnet not in _ID:
                    raise document.error("name", f"{wordnet!r} is none of the 30 classes of VID", wordnet)
                if (wordnet, track) in tracks:
                    raise document.error("trackid", f"{track} is there twice, of {wordnet}", track)
                tracks.add((wordnet, track))
                builder.add_box(video, image, _ID[wordnet], track, box, **flags)
    return builder.finish()


def convert_det(root: Path, split: str, *, list_file: str | Path | None = None) -> dict[str, Any]:
    """CocoVID content of a split of ILSVRC DET, one video per image; ``file_name`` is relative to ``ROOT/Data/DET``.

    An image of another size than its annotation is left out, since its boxes cannot be trusted.
    """
    annotations, images = root / "Annotations" / "DET", root / "Data" / "DET"
    listing = _find_list(root, "DET", split, list_file)
    rows = _listed_images(listing, split) if listing else _all_images(annotations, split)
    builder, odd, empty = _builder("DET", split, listing), 0, 0
    for name, where in tqdm(rows, unit="image", desc="DET", disable=None):
        document = AnnotationFile(annotations / f"{name}.xml", where)
        things = [thing for thing in document.things(tracked=False) if thing[0] in _ID]
        size = document.image_size()
        if not things:
            empty += 1
        elif frame_size(images / f"{name}.JPEG", where) != size:
            odd += 1
        else:
            video = builder.add_video(name)
            image = builder.add_image(video, 0, f"{name}.JPEG", size)
            for wordnet, track, box, flags in things:
                builder.add_box(video, image, _ID[wordnet], track, box, **flags)
    notes = {"images of none of the 30 classes, left out": empty}
    return builder.finish(notes | {"images of another size than annotated, left out": odd})


def _as_text(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"


def _builder(task: str, split: str, listing: Path | None) -> CocoVidBuilder:
    categories = [{"id": _ID[wordnet], "name": name, "encode_name": wordnet} for wordnet, name in CLASSES.items()]
    info = {"name": f"ILSVRC2015 {task} {split}", "source": f"ILSVRC2015 {task}"}
    return CocoVidBuilder(categories, info | {"list": listing.name if listing else "every annotation"})


# Lists


def _find_list(root: Path, task: str, split: str, given: str | Path | None) -> Path | None:
    if given is not None:
        return Path(given)
    folders = (root / "ImageSets" / task, root / "ImageSets", root / "Lists")
    for path in (folder / name for name in _LISTS[task, split] for folder in folders):
        if path.is_file():
            _log.info("videos and images as listed in %s", path)
            return path
    _log.info("no list (%s) under %s: every annotation of the split is taken", ", ".join(_LISTS[task, split]), root)
    return None


def _listed_snippets(path: Path, split: str) -> list[_Snippet]:
    """Rows ``folder ignored frame length`` (VID_train_15frames: frame from 1; VID_val_videos: 0), or one for every frame
    (VID_val_frames), ``folder/000000 number`` or ``folder/000000 ignored frame length``."""
    snippets: dict[str, _Snippet] = {}
    for line, text in text_lines(path, "a list of VID videos"):
        where = f"{path}:{line}"
        row = text.split()
        folder, is_frame = re.subn(r"/\d{6}$", "", row[0])
        folder = folder if folder.startswith(f"{split}/") else f"{split}/{folder}"
        if is_frame and len(row) == 2:
            frames = snippets.setdefault(folder, _Snippet(folder, where, [])).frames
            if frames and int(row[0][-6:]) <= frames[-1]:
                raise UsageError(f"{where}: the frames of a video must rise, got {row[0]} after {frames[-1]:06d}")
            frames.append(int(row[0][-6:]))
            continue
        if len(row) != 4:
            raise UsageError(
                f"{where}: expected 4 columns (folder, number, frame, length) or 2 (folder/000000, number), got {len(row)}"
            )
        frame, length = whole(row[2], where, "the frame number"), whole(row[3], where, "the length")
        if length == 0:
            raise UsageError(f"{where}: the length must be at least 1, got 0")
        snippet = snippets.setdefault(folder, _Snippet(folder, where, list(range(length))))
        if len(snippet.frames) != length:
            raise UsageError(f"{where}: {folder} has length {length} here and {len(snippet.frames)} in {snippet.where}")
        if not is_frame and frame > 0:
            if frame > length:
                raise UsageError(f"{where}: frame {frame} of a video of length {length}")
            snippet.train_frames.append(frame - 1)
    return list(snippets.values())


def _all_snippets(annotations: Path, split: str) -> list[_Snippet]:
    files = sorted((annotations / split).glob("*/*/*.xml" if split == "train" else "*/*.xml"))
    snippets: dict[str, _Snippet] = {}
    for file in files:
        folder = file.parent.relative_to(annotations).as_posix()
        frame = whole(file.stem, str(file), "the name of an annotation")
        snippets.setdefault(folder, _Snippet(folder, str(file.parent), [])).frames.append(frame)
    if not snippets:
        raise UsageError(f"{annotations / split}: no annotations; expected the layout of ILSVRC2015 VID under ROOT")
    return list(snippets.values())


def _listed_images(path: Path, split: str) -> list[tuple[str, str]]:
    """Rows ``train/ILSVRC2013_train/n02691156/n02691156_10011 1``."""
    rows = []
    for line, text in text_lines(path, "a list of DET images"):
        row = text.split()
        if len(row) > 2:
            raise UsageError(f"{path}:{line}: expected 2 columns (image, number), got {len(row)}")
        rows.append((row[0] if row[0].startswith(f"{split}/") else f"{split}/{row[0]}", f"{path}:{line}"))
    return rows


def _all_images(annotations: Path, split: str) -> list[tuple[str, str]]:
    files = sorted((annotations / split).rglob("*.xml"))
    if not files:
        raise UsageError(f"{annotations / split}: no annotations; expected the layout of ILSVRC DET under ROOT")
    return [(file.relative_to(annotations).with_suffix("").as_posix(), str(file)) for file in files]
