"""IoU and matching against numbers worked out by hand."""

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou

from location_anticipation.metrics import best_match, paired_iou


def random_boxes(n: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = 20 * torch.rand(n, 2, generator=generator)
    return torch.cat((corner, corner + 15 * torch.rand(n, 2, generator=generator)), dim=1)


def iou(a: list[float], b: list[float]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = sum((x[2] - x[0]) * (x[3] - x[1]) for x in (a, b))
    return width * height / (areas - width * height)


def test_paired_iou_equals_a_plain_loop() -> None:
    boxes, others = random_boxes(50, 0), random_boxes(50, 1)
    expected = [iou(a, b) for a, b in zip(boxes.tolist(), others.tolist(), strict=True)]
    assert sum(value > 0 for value in expected) > 10 and sum(value == 0 for value in expected) > 5
    assert paired_iou(boxes, others).tolist() == pytest.approx(expected, abs=1e-6)
    torch.testing.assert_close(paired_iou(boxes, others), box_iou(boxes, others).diagonal())
    folded = paired_iou(boxes.view(5, 10, 4), others.view(5, 10, 4))
    assert torch.equal(folded, paired_iou(boxes, others).view(5, 10))


def test_pixel_inclusive_boxes_contain_their_last_pixel() -> None:
    # 10 x 10 and 10 x 4 pixels, the second inside the first; a box of one pixel with itself; two that touch in a pixel.
    first = torch.tensor([[0.0, 0, 9, 9], [3, 3, 3, 3], [0, 0, 4, 4], [0, 0, 4, 4]])
    second = torch.tensor([[0.0, 0, 9, 3], [3, 3, 3, 3], [4, 4, 8, 8], [5, 0, 9, 4]])
    assert paired_iou(first, second, pixel_inclusive=True).tolist() == pytest.approx([0.4, 1, 1 / 49, 0])
    table = paired_iou(first[:, None], second[None], pixel_inclusive=True)
    torch.testing.assert_close(table.diagonal(), paired_iou(first, second, pixel_inclusive=True))


def test_paired_iou_of_empty_boxes_is_0() -> None:
    empty, turned, box = [3.0, 3, 3, 3], [9.0, 9, 2, 2], [0.0, 0, 10, 10]
    first, second = torch.tensor([empty, empty, turned, box]), torch.tensor([empty, box, box, box])
    assert paired_iou(first, second).tolist() == [0, 0, 0, 1]
    assert paired_iou(torch.zeros(0, 4), torch.zeros(0, 4)).shape == (0,)


def test_best_match_is_the_highest_score_among_those_that_overlap() -> None:
    detection = {
        "boxes": torch.tensor([[0.0, 0, 10, 10], [1, 1, 11, 11], [50, 50, 60, 60], [0, 0, 4, 4]]),
        "scores": torch.tensor([0.6, 0.7, 0.9, 0.95]),
    }
    true = torch.tensor([[0.0, 0, 10, 10], [51, 50, 61, 60], [100, 100, 110, 110]])
    # [0] overlaps box 0 wholly and box 1 by 81/119; box 3, which scores highest, by 16/100 only.
    assert best_match(detection, true).tolist() == [1, 2, -1]
    assert best_match(detection, true, threshold=0.9).tolist() == [0, -1, -1]
    assert best_match(detection, true, threshold=0.1).tolist() == [3, 2, -1]


def test_best_match_of_a_detection_that_scores_0() -> None:
    detection = {"boxes": torch.tensor([[0.0, 0, 9, 9], [0, 0, 10, 10]]), "scores": torch.tensor([0.0, 0.0])}
    assert best_match(detection, torch.tensor([[0.0, 0, 10, 10]]), 0.9).tolist() == [1]


def test_best_match_of_nothing() -> None:
    nothing = {"boxes": torch.zeros(0, 4), "scores": torch.zeros(0)}
    assert best_match(nothing, random_boxes(3, 0)).tolist() == [-1, -1, -1]
    one = {"boxes": torch.ones(1, 4), "scores": torch.ones(1)}
    assert best_match(one, torch.zeros(0, 4)).shape == (0,)
