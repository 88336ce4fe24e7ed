"""Pittsburgh's two layouts, the author's rules for labels and outliers, and picture files of every kind."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthetic_datasets import InputError
from synthetic_datasets.pictures import find_pictures, read_picture, scaled
from synthetic_datasets.pittsburgh import View, find_views, is_outlier, parse_view, whole_places, yaw_group

FLAT = "@0585001.06@4476414.16@17@T@+40.43310@-079.99726@{place}@{tile}@@@@@@pitch{pitch}_yaw{yaw}@.jpg"


def save(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)).save(path)


def nested(root: Path, view: View) -> Path:
    return root / view.folder / f"{view.name}.jpg"


def flat(root: Path, view: View) -> Path:
    tile = (view.pitch - 1) * 24 + view.yaw - 1
    return root / FLAT.format(place=f"{view.place:06d}", tile=f"{tile:02d}", pitch=view.pitch, yaw=view.yaw)


@pytest.mark.parametrize(
    ("name", "view"),
    [
        ("000000_pitch1_yaw1.jpg", View(0, 1, 1)),
        ("010585_pitch2_yaw12.jpg", View(10585, 2, 12)),
        (FLAT.format(place="000123", tile="27", pitch=2, yaw=4), View(123, 2, 4)),
        ("AtoB_000000_pitch1_yaw1.jpg", None),
        ("photo.jpg", None),
        ("@1@2@17@T@3@4@name@00@@@@@@pitch1_yaw1@.jpg", None),
    ],
)
def test_names_of_both_layouts(name: str, view: View | None) -> None:
    assert parse_view(name) == view


def test_a_view_knows_its_name_and_folder() -> None:
    assert View(10585, 2, 12).name == "010585_pitch2_yaw12" and View(10585, 2, 12).folder == "010"
    assert parse_view(View(7, 1, 3).name + ".jpg") == View(7, 1, 3)


def test_groups_and_outliers_follow_the_authors_rule() -> None:
    assert [yaw_group(yaw) for yaw in range(1, 13)] == [0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0]
    assert [is_outlier(pitch) for pitch in (1, 2)] == [False, True]


@pytest.mark.parametrize("layout", [nested, flat])
def test_views_are_found_in_both_layouts(layout: object, tmp_path: Path) -> None:
    views = [View(place, pitch, yaw) for place in (0, 1, 1001) for pitch in (1, 2) for yaw in (1, 2)]
    for number, view in enumerate(views):
        save(layout(tmp_path, view), number)  # type: ignore[operator]
    save(tmp_path / "queries_real" / "000" / "000000_pitch1_yaw1.jpg", 98)
    save(tmp_path / "target" / "AtoB_000000_pitch1_yaw1.jpg", 99)
    found = find_views(tmp_path)
    assert list(found) == sorted(views)
    assert found[views[3]] == layout(tmp_path, views[3])  # type: ignore[operator]


def test_a_view_in_both_layouts_is_one_view(tmp_path: Path) -> None:
    view = View(4, 1, 2)
    save(nested(tmp_path, view), 0)
    flat(tmp_path, view).write_bytes(nested(tmp_path, view).read_bytes())
    assert list(find_views(tmp_path)) == [view]
    save(flat(tmp_path, view), 1)
    with pytest.raises(InputError, match="another picture of the view that"):
        find_views(tmp_path)


def test_a_folder_without_views_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        find_views(tmp_path / "absent")
    with pytest.raises(InputError, match="holds no picture"):
        find_views(tmp_path)
    save(tmp_path / "holiday.jpg", 0)
    with pytest.raises(InputError, match="holds no view named as 000000_pitch1_yaw1"):
        find_views(tmp_path)


def test_places_that_lack_a_view_are_left_out_and_named(caplog: pytest.LogCaptureFixture) -> None:
    views = [View(place, pitch, yaw) for place in (2, 5, 9) for pitch in (1, 2) for yaw in (1, 2, 3)]
    views.remove(View(5, 2, 3))
    assert whole_places(views, (1, 2)) == [2, 5, 9]
    assert caplog.text == ""
    assert whole_places(views, (1, 2, 3)) == [2, 9]
    assert "1 of 3 places lack a view and are left out: 000005" in caplog.text


def test_links_and_loops_lead_to_each_picture_once(tmp_path: Path) -> None:
    save(tmp_path / "a" / "one.png", 0)
    (tmp_path / "b.png").symlink_to(tmp_path / "a" / "one.png")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    save(tmp_path / ".hidden" / "two.png", 1)
    assert len(find_pictures(tmp_path)) == 1


@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [
        ("L", 90, (90, 90, 90)),
        ("1", 1, (255, 255, 255)),
        ("RGBA", (200, 100, 0, 0), (255, 255, 255)),
        ("RGBA", (200, 100, 0, 255), (200, 100, 0)),
        ("LA", (40, 0), (255, 255, 255)),
        ("CMYK", (255, 0, 0, 0), (0, 255, 255)),
        ("I;16", 0x8000, (128, 128, 128)),
    ],
)
def test_pictures_of_every_mode_become_rgb(mode: str, value: object, expected: tuple[int, ...], tmp_path: Path) -> None:
    path = tmp_path / "picture.tif"
    Image.new(mode, (6, 4), value).save(path)  # type: ignore[arg-type]
    picture, digest = read_picture(path)
    assert picture.size == (6, 4) and picture.mode == "RGB"
    assert picture.getpixel((3, 2)) == expected
    assert len(digest) == 64
    assert scaled(picture, (8, 10)).shape == (8, 10, 3)


def test_a_picture_that_lies_on_its_side_is_put_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 4))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert read_picture(tmp_path / "turned.jpg")[0].size == (4, 8)


@pytest.mark.parametrize("content", [b"", b"no picture at all", None])
def test_unreadable_pictures_are_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "bad.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.jpg: (cannot be read|not a picture)"):
        read_picture(path)


def test_a_picture_cut_short_is_an_error_not_a_grey_half(tmp_path: Path) -> None:
    save(tmp_path / "whole.jpg", 0)
    data = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(InputError, match="not a picture that can be decoded"):
        read_picture(tmp_path / "cut.jpg")
