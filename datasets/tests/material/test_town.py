"""The generated town and its paintings: pure functions whose views overlap, and skies without houses."""

import numpy as np
import pytest
from PIL import Image

from synthetic_datasets.material.paintings import SCENES, paint, painting
from synthetic_datasets.material.town import PITCH_DEGREES, VISITS, place, street_photo, view

SIZE = (32, 32)


def look(number: int, visit: int, yaw: int, pitch: int = 1, size: tuple[int, int] = SIZE) -> np.ndarray:
    return view(0, number, visit, pitch, yaw, size)[0]


def likeness(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of two pictures, their mean colours left aside."""
    x, y = (p.astype(float) - p.mean(axis=(0, 1)) for p in (a, b))
    return float((x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum()))


def test_views_are_functions_of_their_arguments_and_all_different() -> None:
    picture = look(3, 1, 4)
    assert picture.shape == (32, 32, 3) and picture.dtype == np.uint8
    look(7, 0, 2)
    assert np.array_equal(look(3, 1, 4), picture)
    assert view(0, 3, 1, 1, 4, (20, 48))[0].shape == (20, 48, 3)
    seen = {
        view(seed, number, visit, pitch, yaw, (16, 16))[0].tobytes()
        for seed in (0, 1)
        for number in (0, 1)
        for visit in (0, 1, VISITS)
        for pitch in (1, 2)
        for yaw in (1, 2, 12)
    }
    assert len(seen) == 2 * 2 * 3 * 2 * 3


def test_another_visit_shows_the_same_place() -> None:
    same = [likeness(look(number, 0, 1), look(number, 1, 1)) for number in range(20)]
    other = [likeness(look(number, 0, 1), look(number + 100, 1, 1)) for number in range(20)]
    assert np.mean(same) > 0.5 > np.mean(other) + 0.2


def test_neighbouring_yaws_overlap_by_half() -> None:
    """A view of 60 degrees turned by 30: its right half is the next view's left half, but for perspective and jitter."""
    overlap, apart = [], []
    for number in range(20):
        first, second = (look(number, 0, yaw, size=(32, 64)) for yaw in (2, 3))
        overlap.append(likeness(first[:, 36:60], second[:, 4:28]))
        apart.append(likeness(first[:, 4:28], second[:, 36:60]))
    assert np.mean(overlap) > np.mean(apart) + 0.15


def test_upward_views_show_sky_and_level_ones_houses() -> None:
    level = [view(0, number, 0, 1, 1 + number % 12, SIZE)[1] for number in range(40)]
    up = [view(0, number, 0, 2, 1 + number % 12, SIZE)[1] for number in range(40)]
    assert min(level) > 0.2 and np.mean(level) > 0.5
    assert max(up) < 0.4 and np.mean(up) < 0.15
    assert PITCH_DEGREES[2] > PITCH_DEGREES[1]


def test_places_and_photos_of_their_own() -> None:
    first, again, other = place(0, 5), place(0, 5), place(0, 6)
    assert np.array_equal(first.sides, again.sides) and np.array_equal(first.walls[0].colour, again.walls[0].colour)
    assert not np.array_equal(first.sides, other.sides)
    for wall in first.walls:  # long enough that no ray passes a wall's end
        assert wall.edges[0] < -35 and wall.edges[-1] > 35
        assert (wall.height > 5).all()
    photo = np.asarray(street_photo(0, 1, SIZE))
    views = {look(1, visit, yaw).tobytes() for visit in range(4) for yaw in range(1, 13)}
    assert photo.tobytes() not in views
    assert np.array_equal(photo, np.asarray(street_photo(0, 1, SIZE)))


def test_paintings() -> None:
    first = painting(0, 2, SIZE)
    painting(0, 3, SIZE)
    assert np.array_equal(painting(0, 2, SIZE), first)
    assert first.shape == (32, 32, 3) and first.dtype == np.uint8
    assert not np.array_equal(painting(1, 2, SIZE), first)

    def roughness(pixels: np.ndarray) -> float:
        return float(np.abs(np.diff(pixels.astype(float), axis=1)).mean())

    flat = Image.new("RGB", (32, 32), (120, 160, 200))
    painted = paint(flat, np.random.default_rng(0))
    assert roughness(np.asarray(flat)) == 0 and roughness(painted) > 2


@pytest.mark.parametrize("size", [(32, 32), (20, 36)])
def test_paint_changes_the_style_and_keeps_the_scene(size: tuple[int, int]) -> None:
    kept = []
    for number in range(8):
        photo = street_photo(0, number, size, SCENES)
        painted = paint(photo, np.random.default_rng(number))
        assert painted.shape == (*size, 3)
        kept.append(likeness(np.asarray(photo), painted))
        assert np.abs(painted.astype(int) - np.asarray(photo)).mean() > 10
    assert np.mean(kept) > 0.6
