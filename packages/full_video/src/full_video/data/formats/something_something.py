"""Something-Something V1 (folders of JPEG files) and V2 (WebM files) (Goyal et al. 2017): 174 templates of actions with
objects. Lists lie next to the videos, in ``labels``, or in the folder above."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from efficiency_core.errors import UsageError
from efficiency_core.readers import json_line, read_json, text_lines, whole
from full_video.data.file_videos import Entry, FileVideos, choice, first_folder


def open_something_v1(path: str | Path, split: str, *, lists: str | Path | None = None) -> FileVideos:
    """``train`` or ``validation`` of V1; its test split has no public labels.

    ``something-something-v1-labels.csv`` has one template a line, which labels number when sorted;
    ``something-something-v1-train.csv`` has lines ``<id>;<template>``. Raises UsageError if a file is missing or a line
    cannot be used.

    Args:
        path: folder of ``20bn-something-something-v1``, which holds ``<id>/00001.jpg``, or that folder itself.
        lists: folder of the CSV files, if it is not at its usual place."""
    choice(split, ("train", "validation"), "split of Something-Something V1 (test has no labels)")
    root, places = _places(Path(path), "20bn-something-something-v1", lists)
    prefix = "something-something-v1-"
    folder = first_folder(places, [f"{prefix}labels.csv"], "the lists of Something-Something V1")
    names = sorted(text for _, text in text_lines(folder / f"{prefix}labels.csv", "one template a line"))
    file = folder / f"{prefix}{split}.csv"
    entries = list(_rows(file, {name: label for label, name in enumerate(names)}))
    return FileVideos("Something-Something V1", str(file), root, entries, names, template="{:05d}.jpg")


def open_something_v2(path: str | Path, split: str, *, lists: str | Path | None = None) -> FileVideos:
    """``train``, ``validation``, or ``test`` of V2, which needs ``test-answers.csv`` with lines ``<id>;<template>``.

    ``labels.json`` and ``train.json``, or with 20BN's prefix ``something-something-v2-``: the former gives templates
    without their brackets an index as a string; a video's ``template`` in the latter has the brackets. Raises
    UsageError if a file is missing or an entry cannot be used; the message names its line.

    Args:
        path: folder of ``20bn-something-something-v2``, which holds ``<id>.webm``, or that folder itself.
        lists: folder of the JSON files, if it is not at its usual place."""
    choice(split, ("train", "validation", "test"), "split of Something-Something V2")
    root, places = _places(Path(path), "20bn-something-something-v2", lists)
    prefix = "something-something-v2-"
    folder = first_folder(places, [f"{prefix}labels.json", "labels.json"], "the lists of Something-Something V2")
    prefix = prefix if (folder / f"{prefix}labels.json").is_file() else ""
    names = _class_names(folder / f"{prefix}labels.json")
    labels = {name: label for label, name in enumerate(names)}
    if split == "test":
        file = folder / "test-answers.csv"
        if not file.is_file():
            raise UsageError(f"{file}: no such file; without it the test split of Something-Something V2 has no labels")
        entries = list(_rows(file, labels))
    else:
        file = folder / f"{prefix}{split}.json"
        entries = list(_entries(file, labels))
    return FileVideos("Something-Something V2", str(file), root, entries, names, suffix=".webm")


def _places(path: Path, name: str, lists: str | Path | None) -> tuple[Path, list[Path]]:
    root = path / name if (path / name).is_dir() else path
    near = [path, path / "labels", path.parent, path.parent / "labels"]
    return root, near if lists is None else [Path(lists)]


def _bare(template: str) -> str:
    return template.replace("[", "").replace("]", "")


def _rows(path: Path, labels: dict[str, int]) -> Iterator[Entry]:
    for line, text in text_lines(path, "lines '<id>;<template>'"):
        video, separator, template = text.partition(";")
        if not separator or not video.strip().isalnum():
            raise UsageError(f"{path}:{line}: expected '<id>;<template>', got {text!r}")
        template = template.strip()
        if template not in labels and _bare(template) not in labels:
            raise UsageError(f"{path}:{line}: template {template!r} is not in the list of labels")
        yield Entry(video.strip(), labels[template if template in labels else _bare(template)])


def _class_names(path: Path) -> list[str]:
    text, content = read_json(path, 'an object {"Template": "0", ...}')
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
    text, content = read_json(path, what)
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
