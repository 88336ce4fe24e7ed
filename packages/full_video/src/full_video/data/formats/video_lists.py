"""Plain lists of videos, as TSN, TSM and mmaction2 use them: lines ``folder_of_images frames label`` or ``video.mp4
label``. Paths may contain spaces. A line whose last two fields are whole numbers states the number of frames."""

import logging
from pathlib import Path

from efficiency_core.errors import UsageError
from efficiency_core.readers import text_lines, whole
from full_video.data.file_videos import Entry, FileVideos, choice
from full_video.data.frame_folder import check_template

_log = logging.getLogger(__name__)


def open_list(
    path: str | Path, split: str, *, root: str | Path | None = None, classes: str | Path | None = None,
    template: str | None = None, first: int = 0,
) -> FileVideos:  # fmt: skip
    """The videos of a list. Raises UsageError if a file is missing or a line cannot be used.

    Args:
        path: the list, or a folder that holds it as ``<split>.txt``.
        split: which list of a folder; not used if ``path`` is a list.
        root: folder that its paths are relative to; by default the folder of the list.
        classes: file with the names of the classes, one per line; by default the names are the numbers from 0, or from 1 if
            no label is 0, to the highest label of the list.
        template: names of the images of a folder (``img_{:05d}.jpg`` in most lists); by default in natural order.
        first: label of the first class, 0 or 1."""
    path = Path(path)
    file = path / f"{split}.txt" if path.is_dir() else path
    check_template(template)
    choice(first, (0, 1), "first (the label of the first class)")
    names = None if classes is None else [text for _, text in text_lines(Path(classes), "one class name a line")]
    videos: list[tuple[str, int, int | None]] = []
    for line, text in text_lines(file, "lines 'path frames label' or 'path label'"):
        where = f"{file}:{line}"
        video, frames, number = _fields(text)
        if frames == 0:
            raise UsageError(f"{where}: {video!r} has 0 frames")
        if not video:
            raise UsageError(f"{where}: expected 'path frames label' or 'path label', got {text!r}")
        label = whole(number, where, "the label")
        if label < first:
            raise UsageError(f"{where}: label {label}, but labels count from {first}")
        if names is not None and label >= len(names) + first:
            advice = "" if first else "; if labels count from 1, give first=1"
            known = f"{classes} names classes {first} to {len(names) - 1 + first}"
            raise UsageError(f"{where}: label {label}, but {known}{advice}")
        videos.append((video.replace("\\", "/"), label, frames))
    labels = {label for _, label, _ in videos}
    if names is None:
        first = first or min(1, *labels)
        names = [str(label) for label in range(first, max(labels) + 1)]
    if unused := sorted({*range(first, max(labels))} - labels):
        advice = "" if first else "; if labels count from 1, give first=1"
        some = ", ".join(map(str, unused[:5])) + (", ..." if len(unused) > 5 else "")
        _log.warning("%s: no video has the label %s%s", file, some, advice if unused[0] == 0 else "")
    entries = [Entry(video, label - first, frames) for video, label, frames in videos]
    place = file.parent if root is None else Path(root)
    return FileVideos(file.stem, str(file), place, entries, names, template=template)


def list_paths(path: str | Path, root: str | Path | None = None) -> list[Path]:
    """The videos that a list names, a path a line; what follows it in lists with labels is left out. Arguments and errors as
    of :func:`open_list`."""
    place = Path(path).parent if root is None else Path(root)
    lines = [text for _, text in text_lines(path, "one video a line")]
    return [place / (text if (place / text).exists() else _path(text)) for text in lines]


def _path(text: str) -> str:
    video, _, label = _fields(text)
    return video if video and label.isdigit() else text


def _fields(text: str) -> tuple[str, int | None, str]:
    """Path, number of frames (None if there is none) and label of a line; the path is empty if the line has one field."""
    fields = text.rsplit(maxsplit=2)
    if len(fields) == 3 and fields[1].isdigit() and fields[2].isdigit():
        return fields[0], int(fields[1]), fields[2]
    video, label = text.rsplit(maxsplit=1) if len(fields) > 1 else ("", text)
    return video, None, label
