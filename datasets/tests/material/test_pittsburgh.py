"""Pittsburgh's two layouts, the author's rule for labels, and picture files of every kind."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from efficiency_core.errors import BrokenFile
from synthetic_datasets import UsageError
from synthetic_datasets.material.pictures import find_pictures, read_picture, scaled
from synthetic_datasets.material.pittsburgh import View, find_views, parse_view, whole_places, yaw_group

FLAT = "@0585001.06@4476414.16@17@T@+40.43310@-079.99726@{place}@{tile}@@@@@@pitch{pitch}_yaw{yaw}@.jpg"


def save(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)).save(path)


def nested(root: Path, view: View) -> Path:
    return root / view.folder / f"{view.name}.jpg"


def flat(root: Path, view: View) -> Path:
    tile = (view.pitch - 1) * 24 + view.yaw - 1
    return root / FLAT.format(place=f"{view.place:06d}", tile=f"{tile:02d}", pitch=view.pitch, yaw=view.yaw)


@pytest.mark.parametrize(("name", "view"), [
    ("000000_pitch1_yaw1.jpg", View(0, 1, 1)),
    ("010585_pitch2_yaw12.jpg", View(10585, 2, 12)),
    (FLAT.format(place="000123", tile="27", pitch=2, yaw=4), View(123, 2, 4)), ("AtoB_000000_pitch1_yaw1.jpg", None),
    ("photo.jpg", None),
    ("@1@2@17@T@3@4@name@00@@@@@@pitch1_yaw1@.jpg", None),
])  # fmt: skip
def test_names_of_both_layouts(name: str, view: View | None) -> None:
    assert parse_view(name) == view


def test_names_and_groups() -> None:
    assert View(10585, 2, 12).name == "010585_pitch2_yaw12" and View(10585, 2, 12).folder == "010"
    assert parse_view(View(7, 1, 3).name + ".jpg") == View(7, 1, 3)
    assert [yaw_group(yaw) for yaw in range(1, 13)] == [0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0]


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


def test_views_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        find_views(tmp_path / "absent")
    with pytest.raises(UsageError, match="holds no image"):
        find_views(tmp_path)
    save(tmp_path / "holiday.jpg", 0)
    with pytest.raises(UsageError, match="holds no view named as 000000_pitch1_yaw1"):
        find_views(tmp_path)
    view = View(4, 1, 2)
    save(nested(tmp_path, view), 0)
    flat(tmp_path, view).write_bytes(nested(tmp_path, view).read_bytes())
    assert list(find_views(tmp_path)) == [view]
    save(flat(tmp_path, view), 1)
    with pytest.raises(UsageError, match="another picture of the view that"):
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


def test_a_picture_is_read_with_the_digest_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    Image.new("L", (6, 4), 90).save(path)
    pixels, digest = read_picture(path)
    assert pixels.shape == (4, 6, 3) and (pixels == 90).all()
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert scaled(pixels, (8, 10)).shape == (8, 10, 3) and np.array_equal(scaled(pixels, (4, 6)), pixels)


@pytest.mark.parametrize("content", [b"", None])
def test_unreadable_pictures_are_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "bad.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BrokenFile, match=r"bad\.jpg: (cannot be read|is no image)"):
        read_picture(path)
