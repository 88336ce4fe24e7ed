"""IoU, matching and places along a trajectory, against plain loops and numbers worked out by hand."""

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou

from location_anticipation.model.boxes import best_match, boxes_at, match_boxes, paired_iou


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
    # Detections that score 0 match too.
    detection = {"boxes": torch.tensor([[0.0, 0, 9, 9], [0, 0, 10, 10]]), "scores": torch.tensor([0.0, 0.0])}
    assert best_match(detection, torch.tensor([[0.0, 0, 10, 10]]), 0.9).tolist() == [1]


def test_best_match_of_nothing() -> None:
    nothing = {"boxes": torch.zeros(0, 4), "scores": torch.zeros(0)}
    assert best_match(nothing, random_boxes(3, 0)).tolist() == [-1, -1, -1]
    one = {"boxes": torch.ones(1, 4), "scores": torch.ones(1)}
    assert best_match(one, torch.zeros(0, 4)).shape == (0,)


def plain_matches(a: Tensor, la: Tensor, b: Tensor, lb: Tensor, least: float) -> list[int]:
    partner = [-1] * len(a)
    while True:
        best = (0.0, -1, -1)
        for i in range(len(a)):
            for j in range(len(b)):
                iou = float(box_iou(a[i : i + 1], b[j : j + 1]))
                free = partner[i] < 0 and j not in partner and la[i] == lb[j]
                if free and iou >= least and iou > best[0]:
                    best = (iou, i, j)
        if best[1] < 0:
            return partner
        partner[best[1]] = best[2]


def boxes_and_labels(generator: torch.Generator, count: int, grid: bool) -> tuple[Tensor, Tensor]:
    """Boxes anywhere, or on a coarse grid, so that most of the overlaps occur several times."""
    if grid:
        corner, size = 2.0 * torch.randint(0, 4, (count, 2), generator=generator), torch.full((count, 2), 4.0)
    else:
        corner, size = (factor * torch.rand(count, 2, generator=generator) for factor in (20, 10))
        size = size + 5
    return torch.cat((corner, corner + size), dim=1), torch.randint(1, 3, (count,), generator=generator)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("grid", [False, True])
def test_matches_are_those_of_plain_loops(seed: int, grid: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    (a, la), (b, lb) = (boxes_and_labels(generator, count, grid) for count in (12, 14))
    overlaps = box_iou(a, b)[la[:, None] == lb]
    assert not grid or len(overlaps.unique()) < len(overlaps) / 4
    for least in (0.0, 0.2, 1.0):
        partner, overlap = match_boxes(a, la, b, lb, least)
        assert partner.tolist() == plain_matches(a, la, b, lb, least)
        assert least == 1 or (partner >= 0).sum() >= 2
        for i, j in enumerate(partner.tolist()):
            assert float(overlap[i]) == (pytest.approx(float(box_iou(a[i : i + 1], b[j : j + 1]))) if j >= 0 else 0)


def test_a_box_that_lost_its_partner_takes_the_next_one() -> None:
    """Overlaps fall along a chain, so that every pair decides about the next: one round each."""
    edges = torch.tensor([0.0, 1, 3, 6, 10, 15])  # ever longer strides
    a, b = (torch.stack((x, 0 * x, x + 20, 0 * x + 4), dim=1) for x in (edges[::2], edges[1::2]))
    label = torch.ones(3, dtype=torch.int64)
    assert match_boxes(a, label, b, label, 0.1)[0].tolist() == plain_matches(a, label, b, label, 0.1) == [0, 1, 2]
    a, b = a.double(), b.double()
    assert match_boxes(b, label, a, label, 0.1)[0].tolist() == plain_matches(b, label, a, label, 0.1)


def test_nothing_to_match() -> None:
    one, label = torch.tensor([[0.0, 0, 1, 1]]), torch.tensor([1])
    assert match_boxes(one, label, one[:0], label[:0])[0].tolist() == [-1]
    assert match_boxes(one[:0], label[:0], one, label)[0].tolist() == []
    nothing = torch.full((1, 4), float("nan"))
    assert match_boxes(nothing, label, one, label)[0].tolist() == [-1]
    assert match_boxes(one, label, one + 5, label, 0.0)[0].tolist() == [-1]  # without overlap there is no pair


def test_one_step_beyond_the_last_goes_on_as_before() -> None:
    boxes = torch.tensor([[[0.0, 0, 4, 4], [1, 0, 5, 4], [3, 0, 7, 4]]])
    assert boxes_at(boxes, 0).tolist() == [[0, 0, 4, 4]]
    assert boxes_at(boxes, 2).tolist() == [[3, 0, 7, 4]]
    assert boxes_at(boxes, 3).tolist() == [[5, 0, 9, 4]]
    assert boxes_at(boxes[:, :1], 1).tolist() == [[0, 0, 4, 4]]
    with pytest.raises(ValueError, match=r"step must be 0\.\.3"):
        boxes_at(boxes, 4)
