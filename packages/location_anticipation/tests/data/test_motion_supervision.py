"""Motion supervision: equation 2.5, straight lines, random positions, and who has no second keyframe.

That `supervise` makes the targets of a keyframe as a plain loop does is tested with the keyframes.
"""

from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest

from location_anticipation.data.motion_supervision import (
    FOCUS,
    Motion,
    linear_boxes,
    parabola_boxes,
    random_boxes,
    supervise,
    supervise_sparse,
)

START = np.array([[10.0, 20, 22, 30], [40.0, 5, 50, 25]], dtype=np.float32)
END = np.array([[34.0, 24, 50, 30], [20.0, 15, 28, 45]], dtype=np.float32)
T = 8
SIZE = (64, 64)
ALL = np.ones((2, T + 1), dtype=bool)


def centres(boxes: np.ndarray) -> np.ndarray:
    boxes = boxes.astype(np.float64)
    return (boxes[..., :2] + boxes[..., 2:]) / 2


@pytest.mark.parametrize("focus", [8.0, -8.0, 3.0])
def test_parabola_satisfies_equation_2_5(focus: float) -> None:
    boxes = parabola_boxes(START, END, T, focus)
    for i in range(2):
        (x0, y0), (x1, y1) = centres(START[i]), centres(END[i])
        # Filling in both keyframes and subtracting gives v1, then either of them gives v2.
        v1 = (x0 + x1) / 2 - 2 * focus * (y1 - y0) / (x1 - x0)
        v2 = y0 - (x0 - v1) ** 2 / (4 * focus)
        for step in range(T):
            x, y = centres(boxes[i, step])
            assert x == pytest.approx(x0 + (step + 1) / T * (x1 - x0), abs=1e-5)
            expected = x**2 / (4 * focus) - v1 * x / (2 * focus) + v1**2 / (4 * focus) + v2
            assert y == pytest.approx(expected, abs=1e-4)
    np.testing.assert_allclose(boxes[:, -1], END, atol=1e-5)


def test_parabola_bows_by_the_square_of_the_way_over_16_f() -> None:
    start, end = np.array([[0.0, 0, 10, 10]], dtype=np.float32), np.array([[16.0, 0, 26, 10]], dtype=np.float32)
    # Half way, s = 1/2: s (1 - s) dx^2 / (4 f) = 16^2 / (16 * 8) = 2 pixels, upwards in the image.
    assert parabola_boxes(start, end, 2, 8.0)[0].tolist() == [[8, -2, 18, 8], [16, 0, 26, 10]]
    assert parabola_boxes(start, end, 2, -8.0)[0, 0].tolist() == [8, 2, 18, 12]
    assert FOCUS == 8


def test_parabola_of_a_vertical_motion_is_the_straight_line() -> None:
    end = START + np.array([0, 9, 0, 9], dtype=np.float32)
    np.testing.assert_array_equal(parabola_boxes(START, end, T), linear_boxes(START, end, T))


def test_pieces_of_a_linear_motion_join_smoothly_if_the_focus_alternates() -> None:
    horizon, step = 200, np.array([16.0, 4, 16, 4], dtype=np.float32)
    pieces = []
    for segment, focus in enumerate((FOCUS, -FOCUS, FOCUS)):
        first = START[:1] + segment * step
        pieces.append(np.concatenate((first[:, None], parabola_boxes(first, first + step, horizon, focus)), axis=1))
    bows = [centres(piece)[0, horizon // 2, 1] - centres(piece)[0, [0, -1], 1].mean() for piece in pieces]
    assert bows == pytest.approx([-2, 2, -2], abs=1e-4)  # 16^2 / (16 * 8) to alternating sides
    # Slopes in pixels per frame: the chord's 4/200, the bow's 16^2/(4 * 8)/200 at either end. With one focus throughout
    # the slope would jump from .06 to -.02 at every keyframe.
    for before, after, slope in zip(pieces, pieces[1:], (0.06, -0.02), strict=False):
        assert np.diff(centres(before)[0, -2:, 1]) == pytest.approx(slope, abs=1e-3)
        assert np.diff(centres(after)[0, :2, 1]) == pytest.approx(slope, abs=1e-3)


def test_linear_is_a_straight_line() -> None:
    boxes = linear_boxes(START, END, 2)
    assert boxes[0].tolist() == [[22, 22, 36, 30], [34, 24, 50, 30]]
    assert boxes.dtype == np.float32


def test_random_boxes_are_anywhere_in_the_image() -> None:
    height, width = 60, 90
    boxes = random_boxes(START, END, 2000, (height, width), np.random.default_rng(0))[:, :-1]
    assert boxes.min() >= 0 and boxes[..., 2].max() <= width + 1e-4 and boxes[..., 3].max() <= height + 1e-4
    # They use the whole of it: corners spread evenly over the room that the box leaves.
    room = np.array([width, height]) - (boxes[..., 2:] - boxes[..., :2])
    share = boxes[..., :2] / room
    assert share.mean() == pytest.approx(0.5, abs=0.02)
    assert share.std() == pytest.approx(12**-0.5, abs=0.02)
    box = np.array([[0.0, 0, 70, 70]], dtype=np.float32)  # larger than the image: at its corner
    assert not random_boxes(box, box, 3, SIZE, np.random.default_rng(0))[..., :2].any()


@pytest.mark.parametrize("make", [parabola_boxes, lambda *given: random_boxes(*given, SIZE, np.random.default_rng(0))])
def test_sizes_are_interpolated_and_the_last_box_is_the_second_keyframe(make: Callable[..., np.ndarray]) -> None:
    boxes, straight = make(START, END, T), linear_boxes(START, END, T)
    np.testing.assert_allclose(boxes[..., 2:] - boxes[..., :2], straight[..., 2:] - straight[..., :2], atol=1e-5)
    np.testing.assert_allclose(boxes[:, -1], END, atol=1e-5)


@pytest.mark.parametrize("motion", get_args(Motion))
@pytest.mark.parametrize("n", [0, 2])
def test_no_future_and_no_objects(motion: str, n: int) -> None:
    rng = np.random.default_rng(0)
    boxes = np.tile(START[:, None], (1, T + 1, 1))
    moved, valid = supervise(motion, boxes[:n, :1], ALL[:n, :1], image_size=SIZE, rng=rng)
    assert moved.shape == (n, 0, 4) and valid.shape == (n, 0)
    moved, valid = supervise(motion, boxes[:0], ALL[:0], image_size=SIZE, rng=rng)
    assert moved.shape == (0, T, 4) and valid.shape == (0, T)


# Between annotated frames wherever they are


def sparse_case() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames 0, 3, 5 and 9 of 0..9 are annotated; object 1 is not seen in frame 5; boxes elsewhere mean nothing."""
    boxes = np.random.default_rng(0).uniform(0, 20, (2, 10, 4)).astype(np.float32)
    boxes[..., 2:] += 20
    annotated = np.isin(np.arange(10), (0, 3, 5, 9))
    present = np.tile(annotated, (2, 1))
    present[1, 5] = False
    return np.where(present[..., None], boxes, np.nan), present, annotated


@pytest.mark.parametrize("horizon", [1, 2, 3, 4, 6, 9, 12])
def test_sparse_linear_motion_equals_a_plain_loop(horizon: int) -> None:
    """An object is not led across an annotated frame that does not show it, and may be seen again after it."""
    boxes, present, annotated = sparse_case()
    moved, valid = supervise_sparse("linear", boxes, present, annotated, horizon, image_size=SIZE)
    assert moved.shape == (2, horizon, 4) and valid.shape == (2, horizon)
    known = [0, 3, 5, 9]
    for i in range(2):
        for step in range(1, horizon + 1):
            before = max(k for k in known if k < step)
            after = min((k for k in known if k >= step), default=None)
            if after is None:
                assert not valid[i, step - 1]
            elif step == after:
                assert valid[i, step - 1] == present[i, step]
            else:
                assert valid[i, step - 1] == (present[i, before] and present[i, after])
            if valid[i, step - 1]:
                share = (step - before) / (after - before)
                expected = (1 - share) * boxes[i, before] + share * boxes[i, after] if share < 1 else boxes[i, after]
                np.testing.assert_allclose(moved[i, step - 1], expected, atol=1e-5)


def test_sparse_parabolas_bow_to_alternate_sides() -> None:
    boxes, present, annotated = sparse_case()
    for segment in (0, 1):
        moved, _ = supervise_sparse("simulated", boxes, present, annotated, 9, image_size=SIZE, segment=segment)
        for number, (first, last) in enumerate(((0, 3), (3, 5), (5, 9))):
            focus = FOCUS if (segment + number) % 2 == 0 else -FOCUS
            expected = parabola_boxes(boxes[:1, first], boxes[:1, last], last - first, focus)
            np.testing.assert_allclose(moved[:1, first:last], expected, atol=1e-5)


def test_sparse_random_motion_keeps_what_is_annotated() -> None:
    boxes, present, annotated = sparse_case()

    def draw(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return supervise_sparse("random", boxes, present, annotated, 9, image_size=SIZE, rng=rng)[0][0]

    np.testing.assert_array_equal(draw(0)[[2, 4, 8]], boxes[0, [3, 5, 9]])
    np.testing.assert_array_equal(draw(0), draw(0))
    assert (draw(0)[[0, 1, 3, 5, 6, 7]] != draw(1)[[0, 1, 3, 5, 6, 7]]).all()
    assert (draw(0) >= 0).all() and (draw(0) <= 64).all()


def test_a_keyframe_without_another_annotation_has_no_trajectory() -> None:
    boxes, present, annotated = sparse_case()
    _, valid = supervise_sparse("linear", boxes[:, 9:], present[:, 9:], annotated[9:], 4, image_size=SIZE)
    assert valid.shape == (2, 4) and not valid.any()


def test_what_cannot_be_done_is_refused() -> None:
    boxes, present, annotated = sparse_case()
    with pytest.raises(ValueError, match="focus of the parabola must not be 0"):
        parabola_boxes(START, END, T, 0.0)
    with pytest.raises(ValueError, match=r"motion must be one of .*, got 'circular'"):
        supervise("circular", boxes, present, image_size=SIZE)
    with pytest.raises(ValueError, match="motion 'random' needs a generator: pass rng"):
        supervise("random", boxes, present, image_size=SIZE)
    with pytest.raises(ValueError, match=r"motion must be one of .* got 'annotated'"):
        supervise_sparse("annotated", boxes, present, annotated, 4, image_size=SIZE)
    with pytest.raises(ValueError, match="the keyframe, l = 0, must be annotated"):
        supervise_sparse("linear", boxes[:, 1:], present[:, 1:], annotated[1:], 4, image_size=SIZE)
