"""Parts of pictures for people: text that fits, sizes, colours, sheets and PNG files."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from efficiency_core.draw import MARGIN, PAPER, distinct_color, fit_size, fitted, font, new_sheet, thumbnail, write_png
from efficiency_core.errors import WorkError


@pytest.mark.parametrize("keep", ["start", "end"])
@pytest.mark.parametrize("text", ["short", "a/long/path of words/name.jpg", "x" * 1000, "", "wide " * 3])
@pytest.mark.parametrize("width", [0, 3, 12, 60, 90.5])
def test_text_fits_and_is_as_long_as_it_can_be(text: str, keep: str, width: float) -> None:
    written = fitted(text, font(11), width, keep)
    assert font(11).getlength(written) <= width
    if written == text:
        return
    assert font(11).getlength(text) > width
    if written in ("", "…"):
        assert not written or font(11).getlength("…") <= width
        return
    kept = written.strip("…")
    more = f"{text[: len(kept) + 1]}…" if keep == "start" else f"…{text[-len(kept) - 1 :]}"
    assert kept and (text.startswith(kept) if keep == "start" else text.endswith(kept))
    assert font(11).getlength(more) > width or more.strip("… ") == kept


def test_text_is_one_line_of_unicode() -> None:
    name = b"\xff.png".decode("utf-8", "surrogateescape")
    assert fitted(f"{name}\nb", font(11), 500) == "\\udcff.png b"


def test_a_number_has_one_color_and_its_neighbours_others() -> None:
    colors = [distinct_color(number) for number in range(1, 31)]
    assert colors == [distinct_color(number) for number in range(1, 31)] and len(set(colors)) == 30
    assert min(np.abs(np.subtract(a, b)).max() for a, b in pairwise(colors)) > 100
    assert distinct_color(0) == (255, 51, 51) and distinct_color(0, lightness=0.5, saturation=0.0) == (128, 128, 128)


def test_sizes_keep_their_proportions() -> None:
    sizes = {(640, 480): (64, 48), (3, 4): (48, 64), (1000, 1): (64, 1)}
    assert {size: fit_size(size, 64) for size in sizes} == sizes


def test_small_pictures_keep_their_pixels_and_tall_ones_their_shape() -> None:
    pattern = np.array([[[255] * 3, [0] * 3], [[0] * 3, [255] * 3]], dtype=np.uint8)
    large = np.asarray(thumbnail(pattern, 8))
    assert np.array_equal(large, pattern.repeat(4, 0).repeat(4, 1))
    assert thumbnail(np.zeros((400, 100, 3), np.uint8), 128).size == (32, 128)
    stripes = np.tile(np.array([[[0]], [[255]]], np.uint8), (50, 100, 3))
    assert abs(np.asarray(thumbnail(stripes, 10)).astype(float).mean() - 127.5) < 3  # smoothed, not picked


def test_a_sheet_has_a_heading_that_stays_inside() -> None:
    sheet, draw = new_sheet((200, 100), "t" * 500, ["first", "v" * 500], heading=60)
    assert sheet.size == (200 + 2 * MARGIN, 100 + 60 + 2 * MARGIN)
    draw.rectangle((MARGIN, MARGIN + 60, MARGIN + 199, MARGIN + 159), fill=(1, 2, 3))
    pixels = np.asarray(sheet)
    assert (pixels[:, -MARGIN:] == PAPER).all() and (pixels[:, :MARGIN] == PAPER).all()
    assert (pixels[MARGIN + 60 : -MARGIN, MARGIN:-MARGIN] == (1, 2, 3)).all()
    heading = pixels[MARGIN : MARGIN + 60]
    rows = np.flatnonzero((heading != PAPER).any(axis=(1, 2)))
    assert rows.min() >= 2 and rows.max() < 55 and len(rows) < 50  # lines with space between them


def test_a_png_is_written_whole(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    for name, picture in (("a.png", pixels), ("b.part", Image.fromarray(pixels))):
        write_png(tmp_path / name, picture)
        with Image.open(tmp_path / name) as file:
            assert file.format == "PNG" and np.array_equal(np.asarray(file), pixels)
    (tmp_path / "taken.png").mkdir()
    with pytest.raises(WorkError, match="a folder has this name"):
        write_png(tmp_path / "taken.png", pixels)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.part", "taken.png"]
