"""Matching boxes of two keyframes, and the numbers that objects keep in a stream."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import box_iou

from location_anticipation.linking import boxes_at, match_boxes
from location_anticipation.video import VideoDetector


def plain_matches(a: torch.Tensor, la: torch.Tensor, b: torch.Tensor, lb: torch.Tensor, least: float) -> list[int]:
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


@pytest.mark.parametrize("seed", range(5))
def test_matches_are_those_of_plain_loops(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)

    def boxes(count: int) -> torch.Tensor:
        corner = torch.rand(count, 2, generator=generator) * 20
        return torch.cat((corner, corner + 5 + 10 * torch.rand(count, 2, generator=generator)), dim=1)

    a, b = boxes(12), boxes(9)
    la, lb = (torch.randint(1, 3, (n,), generator=generator) for n in (12, 9))
    partner, overlap = match_boxes(a, la, b, lb, 0.2)
    assert partner.tolist() == plain_matches(a, la, b, lb, 0.2)
    assert (partner >= 0).sum() >= 2
    for i, j in enumerate(partner.tolist()):
        assert float(overlap[i]) == (pytest.approx(float(box_iou(a[i : i + 1], b[j : j + 1]))) if j >= 0 else 0)


@pytest.mark.parametrize("seed", range(10))
def test_equal_overlaps_are_taken_in_order(seed: int) -> None:
    """Boxes on a coarse grid, so that most of the overlaps occur several times, and some boxes are the same."""
    generator = torch.Generator().manual_seed(seed)

    def boxes(count: int) -> torch.Tensor:
        corner = 2.0 * torch.randint(0, 4, (count, 2), generator=generator)
        return torch.cat((corner, corner + 4), dim=1)

    a, b = boxes(11), boxes(14)
    la, lb = (torch.randint(1, 3, (n,), generator=generator) for n in (11, 14))
    overlaps = box_iou(a, b)[la[:, None] == lb]
    assert len(overlaps.unique()) < len(overlaps) / 4
    for least in (0.0, 0.2, 1.0):
        assert match_boxes(a, la, b, lb, least)[0].tolist() == plain_matches(a, la, b, lb, least)


def test_the_same_box_many_times_is_paired_in_order() -> None:
    same, label = torch.tensor([[0.0, 0, 4, 4]]), torch.ones(7, dtype=torch.int64)
    partner, overlap = match_boxes(same.expand(5, 4), label[:5], same.expand(7, 4), label)
    assert partner.tolist() == [0, 1, 2, 3, 4] and overlap.tolist() == [1] * 5
    assert match_boxes(same.expand(7, 4), label, same.expand(5, 4), label[:5])[0].tolist() == [0, 1, 2, 3, 4, -1, -1]


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


class Rows(nn.Module):
    """One object of side 40 to a row of 50 pixels; ``places[row](t)`` is its left edge, or None. Expects no change."""

    horizon = 8

    def __init__(self, *places: Callable[[int], float | None]) -> None:
        super().__init__()
        self.places = places

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        t = round(float(images[0][0, 0, 0]))
        starts = [(place(t), place(t + 1), 50.0 * row) for row, place in enumerate(self.places)]
        there = [(x, x if ahead is None else ahead, y) for x, ahead, y in starts if x is not None]
        boxes = torch.tensor([[x, y, x + 40, y + 40] for x, _, y in there]).reshape(-1, 4)
        speed = torch.tensor([[ahead - x, 0, ahead - x, 0] for x, ahead, _ in there]).reshape(-1, 1, 4)
        steps = torch.arange(1, self.horizon + 1)[None, :, None]
        labels, scores = torch.ones(len(boxes), dtype=torch.int64), torch.ones(len(boxes))
        return [{"boxes": boxes, "labels": labels, "scores": scores, "trajectories": boxes[:, None] + steps * speed}]


def frame(t: int) -> Tensor:
    return torch.full((1, 1, 1), float(t)).expand(3, 200, 4000)


@pytest.mark.parametrize("step", [1, 4, 9])
def test_objects_keep_their_number_while_they_are_followed(step: int) -> None:
    """One moves for good, one is there until frame 39, one comes at frame 60."""
    model = Rows(
        lambda t: 100 + 15.0 * t, lambda t: 300.0 if t < 40 else None, lambda t: 500.0 if t >= 60 else None
    )  # fmt: skip
    results = list(VideoDetector(model, step, to_tensor=frame, follow=True)(range(100)))
    for result in results:
        assert result.instances is not None
        rows = (result.boxes[:, 1] / 50).round().int().tolist()
        assert dict(zip(rows, result.instances.tolist(), strict=True)) == {row: row + 1 for row in rows}
    numbers = {int(n) for result in results if result.instances is not None for n in result.instances}
    assert numbers == {1, 2, 3}


def test_numbers_are_given_on_request_only() -> None:
    model = Rows(lambda t: 100.0)
    assert [result.instances for result in VideoDetector(model, 3, to_tensor=frame)(range(4))] == [None] * 4
