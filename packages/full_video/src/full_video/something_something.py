"""Something-Something V1 and V2 (Goyal et al. 2017): 174 templates of what a hand does with things.

V1 comes as folders of JPEG files, labels counted in the sorted list of templates::

    20bn-something-something-v1/<id>/00001.jpg
    something-something-v1-labels.csv               one template a line
    something-something-v1-train.csv                <id>;<template>       (also validation; test has the id alone)

V2 comes as WebM files, in two namings::

    20bn-something-something-v2/<id>.webm
    something-something-v2-{labels,train,validation,test}.json            (20BN)
    labels/{labels,train,validation,test}.json, labels/test-answers.csv   (Qualcomm; answers are <id>;<template>)

``labels.json`` gives templates without their brackets an index as a string; a video's ``template`` has the brackets.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from full_video.errors import UsageError
from full_video.file_videos import Entry, FileVideos
from full_video.text_tables import choice, first_folder, json_file, json_line, text_lines, whole

__all__ = ["open_something_v1", "open_something_v2"]


def open_something_v1(path: str | Path, split: str, *, lists: str | Path | None = None) -> FileVideos:
    """``train`` or ``validation`` of V1; its test split has no public labels.

    Args:
        path: folder of ``20bn-something-something-v1``, or that folder itself.
        split: ``train`` or ``validation``.
        lists: folder of the CSV files; by default beside the videos, in ``labels``, or in the folder above.

    Raises:
        UsageError: if a file is missing or a line cannot be used.
    """
    choice(split, ("train", "validation"), "split of Something-Something V1 (test has no labels)")
    root, places = _places(Path(path), "20bn-something-something-v1", lists)
    prefix = "something-something-v1-"
    folder = first_folder(places, [f"{prefix}labels.csv"], "the lists of Something-Something V1")
    names = sorted(text for _, text in text_lines(folder / f"{prefix}labels.csv", "one template a line"))
    file = folder / f"{prefix}{split}.csv"
    entries = [Entry(video, label) for video, label in _rows(file, _index(names))]
    return FileVideos("Something-Something V1", str(file), root, entries, names, template="{:05d}.jpg")


def open_something_v2(path: str | Path, split: str, *, lists: str | Path | None = None) -> FileVideos:
    """``train``, ``validation``, or, where ``test-answers.csv`` is there, ``test`` of V2.

    Args:
        path: folder of ``20bn-something-something-v2``, or that folder itself.
        split: ``train``, ``validation`` or ``test``.
        lists: folder of the JSON files; by default beside the videos, in ``labels``, or in the folder above.

    Raises:
        UsageError: if a file is missing or an entry cannot be used; its line is named.
    """
    choice(split, ("train", "validation", "test"), "split of Something-Something V2")
    root, places = _places(Path(path), "20bn-something-something-v2", lists)
    prefix = "something-something-v2-"
    folder = first_folder(places, [f"{prefix}labels.json", "labels.json"], "the lists of Something-Something V2")
    prefix = prefix if (folder / f"{prefix}labels.json").is_file() else ""
    names = _class_names(folder / f"{prefix}labels.json")
    if split == "test":
        file = folder / "test-answers.csv"
        if not file.is_file():
            raise UsageError(f"{file}: no such file; without it the test split of Something-Something V2 has no labels")
        entries = [Entry(video, label) for video, label in _rows(file, _index(names))]
    else:
        file = folder / f"{prefix}{split}.json"
        entries = list(_entries(file, _index(names)))
    return FileVideos("Something-Something V2", str(file), root, entries, names, suffix=".webm")


def _places(path: Path, name: str, lists: str | Path | None) -> tuple[Path, list[Path]]:
    root = path / name if (path / name).is_dir() else path
    near = [path, path / "labels", path.parent, path.parent / "labels"]
    return root, near if lists is None else [Path(lists)]


def _index(names: list[str]) -> dict[str, int]:
    return {name: label for label, name in enumerate(names)}


def _bare(template: str) -> str:
    return template.replace("[", "").replace("]", "")


def _rows(path: Path, labels: dict[str, int]) -> Iterator[tuple[str, int]]:
    for line, text in text_lines(path, "lines '<id>;<template>'"):
        video, separator, template = text.partition(";")
        if not separator or not video.strip().isalnum():
            raise UsageError(f"{path}:{line}: expected '<id>;<template>', got {text!r}")
        template = template.strip()
        if template not in labels and _bare(template) not in labels:
            raise UsageError(f"{path}:{line}: template {template!r} is not in the list of labels")
        yield video.strip(), labels[template] if template in labels else labels[_bare(template)]


def _class_names(path: Path) -> list[str]:
    text, content = json_file(path, 'an object {"Template": "0", ...}')
    if not isinstance(content, dict) or not content:
        raise UsageError(f'{path}:1: expected an object {{"Template": "0", ...}}')
    names: dict[int, str] = {}
    for number, (name, index) in enumerate(content.items()):
        where = f"{path}:{json_line(text, number)}"
        label = whole(str(index), where, "the index of a template")
        if label in names or label >= len(content):
            raise UsageError(f"{where}: index {label} is not one of 0 to {len(content) - 1}, each used once")
        names[label] = name
    return [names[label] for label in range(len(names))]


def _entries(path: Path, labels: dict[str, int]) -> Iterator[Entry]:
    what = 'a list of {"id": "1", "template": "Moving [something] up", ...}'
    text, content = json_file(path, what)
    if not isinstance(content, list):
        raise UsageError(f"{path}:1: expected {what}")
    for number, item in enumerate(content):
        problem = _problem(item, labels)
        if problem is not None:
            raise UsageError(f"{path}:{json_line(text, number)}: entry {number} {problem}; expected {what}")
        yield Entry(str(item["id"]), labels[_bare(item["template"])])


def _problem(item: Any, labels: dict[str, int]) -> str | None:
    if not isinstance(item, dict):
        return f"is {item!r}"
    for key in ("id", "template"):
        if key not in item:
            return f"has no {key!r}"
    if not str(item["id"]).isalnum():
        return f"has the id {item['id']!r}"
    if not isinstance(item["template"], str) or _bare(item["template"]) not in labels:
        return f"has the template {item['template']!r}, which the list of labels lacks"
    return None
