"""Plain lists of videos, as TSN, TSM and mmaction2 use them.

::

    folder_of_images frames label       *_videofolder.txt, *_list_rawframes.txt
    video.mp4 label                     *_list_videos.txt

Paths are relative to the list's folder or to ``root``, and may hold spaces; a line whose last two fields are whole
numbers has the number of frames in it. Frames of folders are called as ``template`` says (``img_{:05d}.jpg`` in most
lists, ``{:05d}.jpg`` and ``{:06d}.jpg`` for Something-Something), or else taken in natural order of their names.
"""

from __future__ import annotations

from pathlib import Path

from full_video.errors import UsageError
from full_video.file_videos import Entry, FileVideos
from full_video.text_tables import text_lines, whole

__all__ = ["open_list"]


def open_list(
    path: str | Path,
    split: str,
    *,
    root: str | Path | None = None,
    classes: str | Path | None = None,
    template: str | None = None,
) -> FileVideos:
    """The videos of a list.

    Args:
        path: the list, or a folder that holds it as ``<split>.txt``.
        split: which list of a folder; a list that is named itself is what it is.
        root: folder that its paths are relative to; by default the list's own.
        classes: file with the name of class 0, 1, ... one a line; by default the classes are called by their numbers,
            0 to the highest label of the list.
        template: names of the images of a folder, with the frame's number from 1 in braces.

    Raises:
        UsageError: if a file is missing or a line cannot be used.
    """
    path = Path(path)
    file = path / f"{split}.txt" if path.is_dir() else path
    _check_template(template)
    names = None if classes is None else [text for _, text in text_lines(Path(classes), "one class name a line")]
    entries = []
    for line, text in text_lines(file, "lines 'path frames label' or 'path label'"):
        where = f"{file}:{line}"
        fields = text.rsplit(maxsplit=2)
        frames: int | None = None
        if len(fields) == 3 and fields[1].isdigit() and fields[2].isdigit():
            video, frames = fields[0], int(fields[1])
            if frames < 1:
                raise UsageError(f"{where}: {video!r} has 0 frames")
        else:
            video = text.rsplit(maxsplit=1)[0]
        if len(fields) < 2:
            raise UsageError(f"{where}: expected 'path frames label' or 'path label', got {text!r}")
        label = whole(fields[-1], where, "the label")
        if names is not None and label >= len(names):
            raise UsageError(f"{where}: label {label}, but {classes} names classes 0 to {len(names) - 1}")
        entries.append(Entry(video.replace("\\", "/"), label, frames))
    if names is None:
        names = [str(label) for label in range(max(entry.label for entry in entries) + 1)]
    return FileVideos(
        file.stem, str(file), Path(root) if root is not None else file.parent, entries, names, "", template
    )


def _check_template(template: str | None) -> None:
    if template is None:
        return
    try:
        sound = template.format(1) != template.format(2)
    except (ValueError, IndexError, KeyError):
        sound = False
    if not sound:
        raise UsageError(f"template must hold the frame's number as in 'img_{{:05d}}.jpg', got {template!r}")
