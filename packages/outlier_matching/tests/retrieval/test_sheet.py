"""Sheets of queries and matches: what is where, what has no picture, and pages that hold no script of a file name."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from efficiency_core.errors import UsageError, WorkError
from outlier_matching.retrieval.sheet import OUTLIER, Picture, Row, draw_sheet, write_sheet


def flat(*color: int, height: int = 30, width: int = 40) -> torch.Tensor:
    return torch.tensor(color, dtype=torch.uint8)[:, None, None].expand(3, height, width).contiguous()


MATCHES = (Picture(flat(0, 0, 250), "a.png", "1: 0.10"), Picture(flat(250, 0, 250), "b.png", "2: 0.20"))
ROWS = [
    Row(Picture(flat(10, 200, 30), "query.png"), MATCHES, 0.25, False),
    Row(Picture(flat(240, 240, 0), "odd.png"), (Picture(None, "gone.png", "1: 0.30"),), 0.75, True),
]


def has(picture: np.ndarray, color: tuple[int, int, int]) -> int:
    return int((picture == np.array(color)).all(axis=2).sum())


def test_every_picture_is_drawn_once() -> None:
    picture = draw_sheet(ROWS, "Title", "subtitle")
    for color in ((10, 200, 30), (0, 0, 250), (250, 0, 250), (240, 240, 0)):
        assert has(picture, color) == 120 * 90
    assert has(picture, OUTLIER) >= 128 * 128 - 122 * 122  # the outlier's frame, three pixels wide around a tile of 128
    assert (draw_sheet(ROWS, "Title", "subtitle") == picture).all()


def test_a_sheet_is_as_wide_as_its_longest_row_and_long_names_stay_inside() -> None:
    one = draw_sheet(ROWS[:1], "t")
    both = draw_sheet(ROWS, "t")
    assert one.shape[1] == both.shape[1] and both.shape[0] - one.shape[0] == 128 + 34 + 10
    long = Row(Picture(flat(0, 0, 0), "x" * 500), (Picture(flat(0, 0, 0), "y" * 500, "z" * 500),))
    picture = draw_sheet([long], "w" * 900, "v" * 900)
    assert (picture[:, -16:] == np.array((250, 250, 248))).all()


def test_a_png_and_a_page_are_written(tmp_path: Path) -> None:
    write_sheet(tmp_path / "sheet.png", ROWS, "Title", "subtitle")
    assert (np.array(Image.open(tmp_path / "sheet.png")) == draw_sheet(ROWS, "Title", "subtitle")).all()
    write_sheet(tmp_path / "sheet.HTML", ROWS, "Title", "subtitle")
    page = (tmp_path / "sheet.HTML").read_text()
    images = [base64.b64decode(data) for data in re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)]
    assert [Image.open(io.BytesIO(image)).size for image in images] == [(160, 120)] * 4
    assert page.count("cannot be read") == 1 and "http" not in page
    assert "inlier, 0.25" in page and "outlier, 0.75" in page and "width: 75.0%" in page
    assert page.count("<td") == 6 and page.count('<td class="outlier">') == 1


def test_odd_names(tmp_path: Path) -> None:
    name = '<script>alert("1")</script>&.png'
    write_sheet(tmp_path / "sheet.html", [Row(Picture(flat(0, 0, 0), name), (), None)], name)
    page = (tmp_path / "sheet.html").read_text()
    assert "<script" not in page and "&lt;script&gt;" in page and "&amp;.png" in page
    row = Row(Picture(flat(0, 0, 0), b"\xff.png".decode("utf-8", "surrogateescape")), ())
    for suffix in ("html", "png"):
        write_sheet(tmp_path / f"sheet.{suffix}", [row], "t")
    assert "\\udcff.png" in (tmp_path / "sheet.html").read_text()


def test_a_sheet_needs_a_row_and_a_known_ending(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one row"):
        write_sheet(tmp_path / "sheet.html", [], "t")
    with pytest.raises(UsageError, match=r"sheet.jpg: a sheet is a picture \(NAME.png\) or a page \(NAME.html\)"):
        write_sheet(tmp_path / "sheet.jpg", ROWS, "t")
    (tmp_path / "taken.png").mkdir()
    with pytest.raises(WorkError, match="a folder has this name"):
        write_sheet(tmp_path / "taken.png", ROWS, "t")
