"""Images and annotations of ILSVRC2015 in their layout on disk."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image

Thing = tuple[str, int, tuple[int, int, int, int]]
"""WordNet id, trackid, and (xmin, ymin, xmax, ymax)."""


def _xml(things: Sequence[Thing], size: tuple[int, int], vid: bool) -> str:
    """An annotation as published: one element a line, tabs, xmax before xmin in VID."""
    lines = ["<annotation>", "\t<folder>f</folder>", "\t<filename>000000</filename>", "\t<source>"]
    lines += ["\t\t<database>ILSVRC_2015</database>", "\t</source>", "\t<size>"]
    lines += [f"\t\t<width>{size[1]}</width>", f"\t\t<height>{size[0]}</height>", "\t</size>"]
    for name, track, (x1, y1, x2, y2) in things:
        lines += ["\t<object>"]
        lines += [f"\t\t<trackid>{track}</trackid>"] if vid else []
        lines += [f"\t\t<name>{name}</name>", "\t\t<bndbox>", f"\t\t\t<xmax>{x2}</xmax>", f"\t\t\t<xmin>{x1}</xmin>"]
        lines += [f"\t\t\t<ymax>{y2}</ymax>", f"\t\t\t<ymin>{y1}</ymin>", "\t\t</bndbox>"]
        lines += ["\t\t<occluded>0</occluded>", "\t\t<generated>1</generated>"] if vid else []
        lines += ["\t</object>"]
    return "\n".join([*lines, "</annotation>", ""])


def _add(root: Path, task: str, name: str, things: Sequence[Thing], size: tuple[int, int]) -> None:
    annotation, image = root / "Annotations" / task / f"{name}.xml", root / "Data" / task / f"{name}.JPEG"
    annotation.parent.mkdir(parents=True, exist_ok=True)
    annotation.write_text(_xml(things, size, vid=task == "VID"))
    image.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size[1], size[0]), (200, 0, 0)).save(image, "JPEG")


@pytest.fixture
def add() -> Callable[..., None]:
    """A function that writes an annotation and a red image: `add(root, "VID", name, things, (height, width))`."""
    return _add
