"""What exports of labelling tools have in common: frames of videos as images, tracks of key boxes, rotated boxes."""

import math
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from efficiency_core.errors import UsageError
from efficiency_core.readers import list_frames
from location_anticipation.data.converters.cocovid_writer import Box

KeyBox = tuple[int, Box, bool]
"""Frame number, box, and whether the object is shown in the frames from there to its next key box."""


def images_beside(root: Path) -> Path:
    """Default folder of the images of an export: ``images`` beside the file, or the folder of the file."""
    folder = root if root.is_dir() else root.parent
    return folder / "images" if (folder / "images").is_dir() else folder


class VideoFrames:
    """Image files of a video by frame number, in ``images/VIDEO``; of an only video also in ``images`` itself.

    Their names end in the number of the frame, from 0, as ``ffmpeg -i VIDEO -start_number 0 FOLDER/%06d.jpg`` writes them.

    ``count`` is one more than the largest number.

    Raises:
        UsageError: if there is no such folder, no frame in it, or two files have one number.
    """

    def __init__(self, images: Path, video: str, *, only: bool) -> None:
        self.folder = images if only and not (images / video).is_dir() else images / video
        if not self.folder.is_dir():
            raise UsageError(f"{self.folder}: no such folder; expected the frames of {video}")
        self._files: dict[int, str] = {}
        for name in list_frames(self.folder):
            if match := re.search(r"(\d+)\.\w+$", name):
                file = (self.folder.relative_to(images) / name).as_posix()
                if self._files.setdefault(int(match[1]), file) != file:
                    raise UsageError(f"{self.folder}: {self._files[int(match[1])]} and {file} are of one frame")
        if not self._files:
            raise UsageError(f"{self.folder}: holds no image that is named by its frame number")
        self.count = max(self._files) + 1

    def file(self, frame: int) -> str:
        """The file of a frame, relative to ``images``; UsageError if there is none."""
        if frame not in self._files:
            advice = "`ffmpeg -i VIDEO -start_number 0 FOLDER/%06d.jpg` makes the images of all frames"
            raise UsageError(f"{self.folder}: no image of frame {frame}; {advice}")
        return self._files[frame]


def track_boxes(keys: Sequence[KeyBox], last: int) -> Iterator[tuple[int, Box]]:
    """Boxes of a track frame by frame: linear between key boxes, and still after the last one, up to frame ``last``."""
    for (frame, box, shown), (after, other, _) in pairwise([*keys, (last + 1, keys[-1][1], False)]):
        for step in range(after - frame if shown and after > frame else 1):
            share = step / max(after - frame, 1)
            x1, y1, x2, y2 = (a + share * (b - a) for a, b in zip(box, other, strict=True))
            yield frame + step, (x1, y1, x2, y2)


def enclosing(box: Box, degrees: float, pivot: tuple[float, float]) -> Box:
    """The upright box around a box that is turned clockwise about a point."""
    if degrees % 360 == 0:
        return box
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    (x0, y0), corners = pivot, [(x, y) for x in (box[0], box[2]) for y in (box[1], box[3])]
    xs = [x0 + (x - x0) * cosine - (y - y0) * sine for x, y in corners]
    ys = [y0 + (x - x0) * sine + (y - y0) * cosine for x, y in corners]
    return min(xs), min(ys), max(xs), max(ys)
