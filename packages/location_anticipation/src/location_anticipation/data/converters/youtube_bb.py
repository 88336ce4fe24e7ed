"""YouTube-BoundingBoxes detection tables, with frames or video sizes that the user supplies, to CocoVID.

    ROOT/yt_bb_detection_train.csv          (also youtube_boundingboxes_detection_train.csv; the same for validation)
    ROOT/frames/YOUTUBE_ID/000238.jpg

The table has no header and ten columns: youtube_id, timestamp_ms, class_id, class_name, object_id, object_presence
(``present`` or ``absent``), xmin, xmax, ymin, ymax, relative to the image. Annotations come once a second. Videos are
not part of the set. Extract F frames a second from them, counted from 0, for example with
``ffmpeg -i VIDEO -vf fps=F -start_number 0 frames/YOUTUBE_ID/%06d.jpg``, and pass ``--fps F``. Frame k shows the time
k/F, so the annotation at timestamp t belongs to frame floor(t F / 1000 + 1/2). With F above 1 the frames in between that
exist are listed as not annotated.

Videos without a folder of frames are left out, since many are gone from YouTube; the log gives their number. With a table of
sizes (``youtube_id,width,height`` with this header) instead, annotations are converted without looking at any frame.

A video is cut wherever it is not annotated for more than 1.5 seconds; each piece is a CocoVID video. A track is one
(youtube_id, class_id, object_id). A row ``absent`` makes its frame annotated, without that object.
"""

import logging
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from efficiency_core.errors import UsageError
from efficiency_core.readers import number, table, whole
from location_anticipation.data.converters.cocovid_writer import Box, CocoVidBuilder, frame_size, runs

_COLUMNS = (
    "youtube_id", "timestamp_ms", "class_id", "class_name", "object_id", "object_presence", "xmin", "xmax", "ymin", "ymax",
)  # fmt: skip
_WHAT = "a detection table of YouTube-BoundingBoxes (no header, ten columns)"
_SLACK = 0.05
_log = logging.getLogger(__name__)

Track = tuple[int, str]
"""class_id and object_id."""
Frames = dict[int, tuple[int, dict[Track, Box | None]]]
"""By frame number: a line of the table that names it, and relative boxes x1 y1 x2 y2, None where absent."""


def convert_youtube_bb(root: Path, split: str, *, fps: float = 1.0, sizes: str | Path | None = None) -> dict[str, Any]:
    """CocoVID content of a split (``train`` or ``validation``); ``file_name`` is relative to ``ROOT/frames``.

    Args:
        root: folder of the table and the frames.
        fps: F, how many frames a second were extracted.
        sizes: table of video sizes, to convert annotations without frames.
    """
    if not 0 < fps < 1e4:
        raise UsageError(f"--fps must be above 0, got {fps}")
    folder = root / "frames"
    given = None if sizes is None else _sizes(Path(sizes))
    if given is None and not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; expected a folder of frames for every video, or give --sizes")
    there = {entry.name for entry in folder.iterdir() if entry.is_dir()} if given is None else set(given)
    path = _find_table(root, split)
    videos, names, left_out = _annotations(path, fps, there)
    if not videos:
        raise UsageError(f"{sizes or folder}: none of the {left_out} videos of {path} is there")
    _log.info("%d videos; %d more of %s are not there and are left out", len(videos), left_out, path)
    builder = CocoVidBuilder(
        [{"id": kind + 1, "name": names[kind]} for kind in sorted(names)],
        {
            "name": f"YouTube-BoundingBoxes {split}",
            "source": "YouTube-BoundingBoxes",
            "fps": fps,
            "clips": "videos cut where they are not annotated for more than 1.5 s; frame_id counts frames from there",
        },
    )
    for video, frames in tqdm(videos.items(), unit="video", desc="YouTube-BB", disable=None):
        first = min(frames)
        size = given[video] if given else frame_size(folder / video / f"{first:06d}.jpg", f"{path}:{frames[first][0]}")
        for clip in runs(sorted(frames), max(1.5 * fps, 1)):
            _add_clip(builder, path, None if given else folder, video, clip, frames, size)
    return builder.finish({"videos that are not there": left_out})


def _add_clip(
    builder: CocoVidBuilder,
    source: Path,
    folder: Path | None,
    video: str,
    clip: list[int],
    frames: Frames,
    size: tuple[int, int],
) -> None:
    """Adds one piece of a video; ``folder`` holds the frames, None where there are sizes only."""
    piece = builder.add_video(f"{video}/{clip[0]:06d}")
    height, width = size
    for frame in range(clip[0], clip[-1] + 1):
        file = f"{video}/{frame:06d}.jpg"
        there = folder is not None and (folder / file).is_file()
        if frame not in frames:
            if there:
                builder.add_image(piece, frame - clip[0], file, size, annotated=False)
            continue
        line, boxes = frames[frame]
        if folder is not None and not there:
            raise UsageError(f"{folder / file}: no such image ({source}:{line})")
        image = builder.add_image(piece, frame - clip[0], file, size)
        for (kind, thing), box in boxes.items():
            if box is not None:
                pixels = (box[0] * width, box[1] * height, box[2] * width, box[3] * height)
                builder.add_box(piece, image, kind + 1, thing, pixels)


def _find_table(root: Path, split: str) -> Path:
    names = (f"yt_bb_detection_{split}.csv", f"youtube_boundingboxes_detection_{split}.csv")
    return next((root / name for name in names if (root / name).is_file()), root / names[0])


def _sizes(path: Path) -> dict[str, tuple[int, int]]:
    sizes: dict[str, tuple[int, int]] = {}
    for line, (video, width, height) in table(path, ("youtube_id", "width", "height"), "a table of video sizes"):
        where = f"{path}:{line}"
        sizes[video] = (whole(height, where, "height"), whole(width, where, "width"))
        if 0 in sizes[video]:
            raise UsageError(f"{where}: width and height must be above 0, got {width} and {height}")
    return sizes


def _annotations(path: Path, fps: float, there: set[str]) -> tuple[dict[str, Frames], dict[int, str], int]:
    """Annotations of the videos that are there, the names of all classes, and how many videos are not there."""
    videos: dict[str, Frames] = defaultdict(dict)
    names: dict[int, str] = {}
    left_out: set[str] = set()
    for line, row in table(path, _COLUMNS, _WHAT, header=False):
        where = f"{path}:{line}"
        video, kind = row[0], whole(row[2], where, "class_id")
        if names.setdefault(kind, row[3]) != row[3] or not row[3]:
            raise UsageError(f"{where}: class {kind} is called {row[3]!r} here and {names[kind]!r} before")
        box = _box(row, where)
        frame = math.floor(whole(row[1], where, "timestamp_ms") * fps / 1000 + 0.5)  # round() takes halves to even ones
        if video not in there:
            left_out.add(video)
            continue
        boxes = videos[video].setdefault(frame, (line, {}))[1]
        track = (kind, row[4])
        if track in boxes:
            raise UsageError(
                f"{where}: object {row[4]} of class {kind} is there twice in frame {frame} of {video} at {fps:g} frames "
                "a second"
            )
        boxes[track] = box
    return dict(videos), names, len(left_out)


def _box(row: list[str], where: str) -> Box | None:
    """Relative x1 y1 x2 y2, cut at the border of the image; None where the object is absent."""
    if row[5] not in ("present", "absent"):
        raise UsageError(f"{where}: object_presence must be present or absent, got {row[5]!r}")
    if row[5] == "absent":
        return None
    left, right, top, bottom = (number(text, where, name) for text, name in zip(row[6:], _COLUMNS[6:], strict=True))
    if min(left, right, top, bottom) < -_SLACK or max(left, right, top, bottom) > 1 + _SLACK:
        raise UsageError(f"{where}: a box must be relative to the image, 0 to 1, got {', '.join(row[6:])}")
    if left > right or top > bottom:
        raise UsageError(f"{where}: expected xmin <= xmax and ymin <= ymax, got {', '.join(row[6:])}")
    left, top, right, bottom = (min(max(value, 0), 1) for value in (left, top, right, bottom))
    return (left, top, right, bottom)
