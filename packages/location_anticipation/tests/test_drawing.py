"""Boxes drawn on frames: solid and dashed, colours, labels, frames of any size."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from location_anticipation.drawing import class_color, draw_detections
from location_anticipation.video import FrameDetections


def detections(keyframe: bool, boxes: list[list[float]], label: int = 1) -> FrameDetections:
    count = len(boxes)
    return FrameDetections(
        index=0 if keyframe else 3,
        keyframe=keyframe,
        step=0 if keyframe else 3,
        boxes=torch.tensor(boxes).reshape(-1, 4),
        labels=torch.full((count,), label),
        scores=torch.linspace(1, 0.5, count),
    )


def test_keyframe_boxes_are_solid_and_anticipated_ones_dashed() -> None:
    image = np.full((120, 160, 3), 128, np.uint8)
    colors = [
        draw_detections(image, detections(keyframe, [[40, 40, 120, 100]]))[99, 40:120].tolist()
        for keyframe in (True, False)
    ]
    solid, dashed = ({tuple(color) for color in row} for row in colors)
    assert solid == {class_color(1)}
    assert dashed == {class_color(1), (0, 0, 0)}
    assert image.min() == image.max() == 128  # the frame itself is left alone


def test_a_class_has_one_color_and_its_neighbours_others() -> None:
    colors = [class_color(label) for label in range(1, 31)]
    assert colors == [class_color(label) for label in range(1, 31)]
    assert len(set(colors)) == 30
    neighbours = pairwise(colors)
    assert min(np.abs(np.subtract(a, b)).max() for a, b in neighbours) > 100


@pytest.mark.parametrize("size", [(1, 1), (8, 6), (64, 48), (65, 47), (320, 240), (1280, 720)])
@pytest.mark.parametrize("keyframe", [True, False])
def test_draws_on_frames_of_any_size(size: tuple[int, int], keyframe: bool) -> None:
    width, height = size
    image = np.zeros((height, width, 3), np.uint8)
    boxes: list[list[float]] = [
        [0, 0, width, height],
        [width / 4, height / 4, width / 2, height / 2],
        [0, 0, 0.25, 0.25],
    ]
    drawn = draw_detections(image, detections(keyframe, boxes), ["a class with a rather long name"])
    assert drawn.shape == image.shape and drawn.dtype == np.uint8
    assert drawn.max() > 0
    if height >= 240:
        larger = draw_detections(image, detections(keyframe, boxes), ["ab"])
        assert not np.array_equal(drawn, larger)  # names are written where they fit
