"""Boxes and the no-motion IoU against plain loops."""

import numpy as np
import pytest

from synthetic_datasets import UsageError, no_motion_iou
from synthetic_datasets.motion.tracks import after_keyframe, box_in_patch, clip_boxes, iou


def plain_iou(a: list[float], b: list[float]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    overlap = max(width, 0) * max(height, 0)
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return overlap / (areas - overlap)


def random_boxes(*shape: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    corner = rng.random((*shape, 2)) * 20
    return np.concatenate([corner, corner + 1 + rng.random((*shape, 2)) * 20], axis=-1)


def test_iou_by_loops_and_formula() -> None:
    first, second = random_boxes(200), random_boxes(200)[::-1]
    assert iou(first, second) == pytest.approx([plain_iou(a, b) for a, b in zip(first, second, strict=True)])
    assert iou([0, 0, 0, 0], [0, 0, 0, 0]) == 0
    side, speed = 28, 2
    boxes = np.array([[x, 0, x + side, side] for x in range(0, 8 * speed, speed)], float)[None, :, None]
    expected = np.mean([(side - speed * later) / (side + speed * later) for later in range(1, 8)])
    assert no_motion_iou(boxes, np.ones((1, 8, 1), bool), 8) == pytest.approx(expected)
    with pytest.raises(ValueError, match="at least 2 frames, got 1"):
        no_motion_iou(random_boxes(1, 4, 1), np.ones((1, 4, 1), bool), 1)
    with pytest.raises(ValueError, match="no object is present"):
        no_motion_iou(random_boxes(1, 4, 1), np.zeros((1, 4, 1), bool), 2)


def test_no_motion_iou_equals_a_plain_loop() -> None:
    boxes, present = random_boxes(5, 19, 3), np.random.default_rng(1).random((5, 19, 3)) < 0.7
    for horizon in (2, 4, 8):
        values = [
            plain_iou(boxes[video, key, item], boxes[video, key + later, item])
            for video in range(5)
            for key in range(0, 19, horizon)
            for later in range(1, horizon)
            for item in range(3)
            if key + later < 19 and present[video, key, item] and present[video, key + later, item]
        ]
        assert no_motion_iou(boxes, present, horizon) == pytest.approx(np.mean(values))
        assert after_keyframe(present, horizon).sum() == len(values)


def test_boxes_hold_the_ink_and_are_cut_at_the_frame() -> None:
    patch = np.zeros((28, 28), np.uint8)
    patch[5:20, 10:14] = 200
    patch[4, 10] = 32
    assert box_in_patch(patch, "patch", 32).tolist() == [0, 0, 28, 28]
    assert box_in_patch(patch, "tight", 32).tolist() == [10, 5, 14, 20]
    assert box_in_patch(patch, "tight", 31).tolist() == [10, 4, 14, 20]
    with pytest.raises(UsageError, match=r"no ink above 220 \(its maximum: 200\)"):
        box_in_patch(patch, "tight", 220)
    boxes = [[5, 5, 15, 15], [-5, 0, 5, 10], [-9, 0, 1, 10], [-10, 0, 0, 10], [35, 15, 45, 25], [50, 0, 60, 10]]
    cut, present = clip_boxes(boxes, (20, 40), min_visible=0.1)
    assert present.tolist() == [True, True, True, False, True, False]
    assert cut.tolist() == [[5, 5, 15, 15], [0, 0, 5, 10], [0, 0, 1, 10], [0] * 4, [35, 15, 40, 20], [0] * 4]
    assert clip_boxes(boxes, (20, 40), min_visible=0.5)[1].tolist() == [True, True, False, False, False, False]
