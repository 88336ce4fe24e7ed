"""Folders of images with ``metadata.jsonl``."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from location_anticipation.data import CocoVideos


def test_a_folder_of_images_with_metadata(tmp_path: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    for name in "abc":
        Image.new("RGB", (40, 30)).save(tmp_path / f"{name}.png")
    for kinds, names, ids in (([7, 3], ("3", "7"), (3, 7)), (["dog", "cat"], ("cat", "dog"), (1, 2))):
        rows: list[dict[str, Any]] = [
            {"file_name": "a.png", "objects": {"bbox": [[2, 3, 10, 10], [6, 5, 12, 10]], "categories": kinds}},
            {"file_name": "b.png", "objects": {"bbox": [], "categories": []}},
            {"file_name": "c.png"},
        ]
        (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
        status, _, error = run("convert", "image-folder", tmp_path, "--out", tmp_path / "out.json")
        assert status == 0, error
        videos = CocoVideos(tmp_path / "out.json")
        assert (videos.info.class_names, videos.info.category_ids, len(videos)) == (names, ids, 3)
        tracks, empty = videos.tracks(0), videos.tracks(1)
        assert tracks.boxes[0].tolist() == [[2, 3, 12, 13], [6, 5, 18, 15]]
        assert [names[label] for label in tracks.labels] == list(map(str, kinds))
        assert empty.annotated.all() and not empty.present.any()
    for row, message in (
        ("{}", "metadata.jsonl:1: not a row with file_name and objects ('file_name' is missing)"),
        (
            '{"file_name": "a.png", "objects": {"bbox": [[1, 2, 3]], "category": [1]}}',
            "as many bbox [x, y, width, height]",
        ),
        ('{"file_name": "z.png"}', "z.png: no such file ("),
        ("no", "metadata.jsonl:1: not a row with file_name and objects"),
    ):
        (tmp_path / "metadata.jsonl").write_text(row)
        status, _, error = run("convert", "image-folder", tmp_path, "--out", tmp_path / "new.json")
        assert status == 2 and message in error.splitlines()[-1], error
