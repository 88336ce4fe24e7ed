"""Solid shapes: one area, one centre, their own mirror images, and poses that do what they say."""

import math

import numpy as np
import pytest

from synthetic_datasets.drawing import outlines
from synthetic_datasets.drawing.outlines import SOLID_NAMES, Pose, new_pose
from synthetic_datasets.drawing.surfaces import cover

SIZE = 200


def pose(side: float = 60, angle: float = 0, stretch: tuple[float, float] = (1, 0)) -> Pose:
    return Pose(np.array((100.0, 100.0)), side, angle, np.array(stretch))


def middle_of(picture: np.ndarray) -> np.ndarray:
    """x y of the centre of what is covered."""
    steps = np.arange(SIZE) + 0.5
    return np.array((picture.sum(axis=0) @ steps, picture.sum(axis=1) @ steps)) / picture.sum()


def test_ten_different_shapes() -> None:
    assert len(SOLID_NAMES) == 10 and list(SOLID_NAMES[:7]) == list(outlines.SHAPES)
    assert SOLID_NAMES[7:] == ("pentagon", "crescent", "arrow")
    pictures = [cover(pose().laid(kind), SIZE) for kind in range(10)]
    for number, picture in enumerate(pictures):
        assert all(np.abs(picture - other).sum() > 0.1 * picture.sum() for other in pictures[:number])


def test_areas_and_angles() -> None:
    for corners in ([(1, 2), (4, 2), (1, 8)], [(1, 8), (4, 2), (1, 2)]):
        centre, area = outlines.centre_and_area(np.array(corners, float))
        assert centre.tolist() == pytest.approx([2, 4]) and area == pytest.approx(9)
    kind = SOLID_NAMES.index("triangle")
    tip = pose(60, math.pi / 2).laid(kind)[np.argmin(outlines.SOLIDS["triangle"][:, 1])]
    assert tip[0] > 140 and tip[1] == pytest.approx(100)  # its upper corner now points right


@pytest.mark.parametrize("kind", range(10), ids=SOLID_NAMES)
def test_drawn_shapes_have_their_area_and_centre(kind: int) -> None:
    for angle, stretch in ((0, (1, 0)), (0.7, (1.3, 1.1))):
        picture = cover(pose(60, angle, stretch).laid(kind), SIZE)
        assert picture.sum() == pytest.approx(60**2, rel=4e-3)  # level edges are seen to an eighth of a pixel
        assert middle_of(picture) == pytest.approx((100, 100), abs=0.1)


@pytest.mark.parametrize("kind", range(10), ids=SOLID_NAMES)
def test_every_shape_is_its_own_mirror_image(kind: int) -> None:
    picture = cover(pose().laid(kind), SIZE)
    flips = [picture[::-1], picture[:, ::-1]]
    assert min(float(np.abs(picture - flip).sum()) for flip in flips) < 0.01 * picture.sum()


@pytest.mark.parametrize("along", [0.0, 0.6, math.pi / 2])
def test_a_stretched_circle_is_an_ellipse_along_that_direction(along: float) -> None:
    corners = pose(60, 0.4, (1.44, along)).laid(SOLID_NAMES.index("circle")) - 100
    radius = 60 / math.sqrt(math.pi)
    for direction, expected in ((along, 1.2 * radius), (along + math.pi / 2, radius / 1.2)):
        assert np.abs(corners @ (math.cos(direction), math.sin(direction))).max() == pytest.approx(expected, rel=0.01)
    assert pose(60, 0.4, (1, along)).laid(3) == pytest.approx(pose(60, 0.4).laid(3))


def test_new_poses_are_in_their_ranges() -> None:
    rng = np.random.default_rng(0)
    drawn = [new_pose(100, (0.2, 0.3), 0.1, 30, 1.25, rng) for _ in range(400)]
    poses = {name: np.array([vars(one)[name] for one in drawn]) for name in vars(drawn[0])}
    turn = math.radians(30)
    for values, low, high in (
        (poses["centre"], 40, 60), (poses["side"], 20, 30), (poses["angle"], -turn, turn),
        (poses["stretch"][:, 0], 1, 1.25), (poses["stretch"][:, 1], 0, math.pi),
    ):  # fmt: skip
        assert low <= values.min() < low + 0.05 * (high - low) and high - 0.05 * (high - low) < values.max() <= high
