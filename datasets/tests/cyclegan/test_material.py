"""The pictures that a CycleGAN learns from: generated or of folders, in turns and crops."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthetic_datasets import UsageError
from synthetic_datasets.cyclegan.material import cropped, load_material, picture_number


def test_every_picture_is_drawn_once_a_turn() -> None:
    for turn in range(3):
        assert sorted(picture_number(5, 1, 7, 7 * turn + n) for n in range(7)) == list(range(7))
    orders = {tuple(picture_number(5, domain, 7, n) for n in range(7)) for domain in (0, 1)}
    assert len(orders) == 2


def test_crops_are_squares_of_the_picture_as_often_mirrored_as_not() -> None:
    pixels = np.arange(20 * 20 * 3, dtype=np.uint16).reshape(20, 20, 3)
    rng, mirrored, corners = np.random.default_rng(0), 0, set()
    for _ in range(300):
        square = cropped(pixels, 16, True, rng)
        turned = square[:, ::-1] if square[0, 0, 0] > square[0, 1, 0] else square
        mirrored += turned is not square
        top, left = divmod(int(turned[0, 0, 0]) // 3, 20)
        assert np.array_equal(turned, pixels[top : top + 16, left : left + 16])
        corners.add((top, left))
    assert 115 < mirrored < 185 and len(corners) == 25
    plain = [cropped(pixels, 16, False, rng) for _ in range(9)]
    assert all(square[0, 0, 0] < square[0, 1, 0] for square in plain)


def test_generated_material_is_divided_and_shares_nothing() -> None:
    material = load_material(None, None, 26, 0, generated=8)
    assert len(material.photos) == len(material.paintings) == 7
    assert len(material.unseen_photos) == len(material.unseen_paintings) == 1
    shown = [pile.read(number).tobytes() for pile in vars(material).values() for number in range(len(pile))]
    assert len(set(shown)) == 16
    again = load_material(None, None, 26, 0, generated=8)
    assert again.digest == material.digest


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "below").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(5):
        Image.fromarray(rng.integers(0, 256, (30, 20 + number, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    Image.fromarray(rng.integers(0, 256, (9, 9), dtype=np.uint8)).save(folder / "below" / "grey.jpg")
    return folder


def test_a_folder_is_read_whole_without_duplicates_and_broken_files(
    pictures: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (pictures / "copy.png").write_bytes((pictures / "3.png").read_bytes())
    (pictures / "link.png").symlink_to(pictures / "2.png")
    (pictures / "AtoB_3.png").write_bytes(b"a translation of an earlier run is no material")
    (pictures / "broken.jpg").write_bytes((pictures / "below" / "grey.jpg").read_bytes()[:200])
    made = load_material(pictures, None, 18, 0, generated=4)
    assert len(made.photos) + len(made.unseen_photos) == 6
    assert made.photos.name == "pictures" and made.photos.read(0).shape == (18, 18, 3)
    said = caplog.text
    assert "broken.jpg" in said and "copy.png: the same picture as" in said
    assert "AtoB" not in said


def test_pictures_that_memory_cannot_hold_are_read_when_wanted(
    pictures: Path, caplog: pytest.LogCaptureFixture
) -> None:
    held = load_material(pictures, None, 18, 0, generated=4)
    lazy = load_material(pictures, None, 18, 0, generated=4, memory=1)
    assert len(lazy.photos) == len(held.photos)
    for number in range(len(held.photos)):
        assert np.array_equal(lazy.photos.read(number), held.photos.read(number))
    for path in pictures.glob("?.png"):
        path.write_bytes(b"")
    assert np.array_equal(lazy.photos.read(0), lazy.photos.read(1))  # all but below/grey.jpg are broken now
    assert "is taken instead" in caplog.text


def test_a_picture_in_both_domains_is_refused(pictures: Path, tmp_path: Path) -> None:
    other = tmp_path / "paintings"
    other.mkdir()
    for number in range(3):
        (other / f"{number}.png").write_bytes((pictures / f"{number + 2}.png").read_bytes())
    with pytest.raises(UsageError, match="the same picture is among the photos"):
        load_material(pictures, other, 18, 0)
    with pytest.raises(UsageError, match="no such folder"):
        load_material(pictures, tmp_path / "absent", 18, 0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no image"):
        load_material(tmp_path / "empty", None, 18, 0)
