"""Motion supervision between keyframes: what each kind puts there, and where it has nothing to stand on."""

import numpy as np
import pytest

from location_anticipation.motion import FOCUS, MOTIONS, linear_boxes, parabola_boxes, random_boxes, supervise

START = np.array([[0, 0, 28, 28], [10, 20, 30, 60]], dtype=np.float32)
END = np.array([[16, 4, 44, 32], [10, 4, 40, 34]], dtype=np.float32)
T = 8


def centres(boxes: np.ndarray) -> np.ndarray:
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def test_linear_by_hand() -> None:
    boxes = linear_boxes(START, END, 4)
    assert boxes.shape == (2, 4, 4)
    assert boxes[0, 0].tolist() == [4, 1, 32, 29]
    assert boxes[0, 1].tolist() == [8, 2, 36, 30]
    assert np.array_equal(boxes[:, -1], END)


@pytest.mark.parametrize("focus", [FOCUS, -FOCUS, 3.0])
def test_the_parabola_satisfies_equation_2_5(focus: float) -> None:
    boxes = parabola_boxes(START[:1], END[:1], T, focus).astype(float)
    (x0, y0), (x1, y1) = centres(START[:1])[0], centres(END[:1])[0]
    # the vertex (v1, v2) from the two points, as the appendix says
    v1 = (x0 + x1) / 2 - 2 * focus * (y1 - y0) / (x1 - x0)
    v2 = y0 - (x0 - v1) ** 2 / (4 * focus)
    for x, y in centres(boxes)[0]:
        equation = x**2 / (4 * focus) - v1 * x / (2 * focus) + v1**2 / (4 * focus) + v2
        assert y == pytest.approx(equation, abs=1e-4)
    assert boxes[0, -1] == pytest.approx(END[0])
    sizes = boxes[0, :, 2:] - boxes[0, :, :2]
    assert sizes == pytest.approx(np.full((T, 2), 28.0))


def test_the_parabola_of_a_vertical_motion_is_the_line() -> None:
    """Equation 2.5 has no vertex there; the limit has no bow."""
    end = START + np.array([0, 16, 0, 16], dtype=np.float32)
    assert np.allclose(parabola_boxes(START, end, T), linear_boxes(START, end, T))


def test_neighbouring_segments_bow_to_opposite_sides() -> None:
    boxes = np.stack((START, END), axis=1)[:, [0] * T + [1]]
    present = np.ones((2, T + 1), bool)
    even, _ = supervise("simulated", boxes, present, image_size=(64, 64), segment=0)
    odd, _ = supervise("simulated", boxes, present, image_size=(64, 64), segment=1)
    line = linear_boxes(START, END, T)
    middle = T // 2 - 1
    assert (even - line)[0, middle, 1] == pytest.approx(-(16**2) / (16 * FOCUS))
    assert np.allclose(even - line, line - odd, atol=1e-5)


def test_random_boxes_lie_in_the_image_and_end_at_the_keyframe() -> None:
    boxes = random_boxes(START[:1], END[:1], 400, (64, 80), np.random.default_rng(0))
    assert boxes.shape == (1, 400, 4)
    assert boxes[..., :2].min() >= 0 and boxes[..., 2].max() <= 80 and boxes[..., 3].max() <= 64
    assert boxes[..., 0].std() > 10 and boxes[..., 1].std() > 8, "anywhere, not near the line"
    assert np.array_equal(boxes[:, -1], END[:1])


def test_sparse_supervision_needs_both_keyframes() -> None:
    boxes = np.repeat(START[:, None], T + 1, axis=1)
    present = np.ones((2, T + 1), bool)
    present[0, -1] = False
    present[1, 3] = False  # in between nobody looks
    for motion in ("linear", "simulated", "random"):
        _, valid = supervise(motion, boxes, present, image_size=(64, 64), rng=np.random.default_rng(0))
        assert not valid[0].any() and valid[1].all(), motion


def test_annotated_keeps_the_annotation_and_none_hides_it() -> None:
    boxes = np.arange(2 * 9 * 4, dtype=np.float32).reshape(2, 9, 4)
    present = np.random.default_rng(0).random((2, 9)) < 0.5
    kept, valid = supervise("annotated", boxes, present, image_size=(64, 64))
    assert np.array_equal(kept, boxes[:, 1:]) and np.array_equal(valid, present[:, 1:])
    _, valid = supervise("none", boxes, present, image_size=(64, 64))
    assert not valid.any()


def test_wrong_use() -> None:
    boxes, present = np.repeat(START[:, None], 3, axis=1), np.ones((2, 3), bool)
    with pytest.raises(ValueError, match="jump"):
        supervise("jump", boxes, present, image_size=(64, 64))
    with pytest.raises(ValueError, match="needs a generator"):
        supervise("random", boxes, present, image_size=(64, 64))
    with pytest.raises(ValueError, match="focus"):
        parabola_boxes(START, END, T, 0)
    assert set(MOTIONS) == {"annotated", "simulated", "linear", "random", "none"}
