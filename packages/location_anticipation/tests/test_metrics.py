"""IoU, matching, and average precision against numbers worked out by hand."""

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou

from location_anticipation.metrics import average_precision, best_match, paired_iou


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


def detection(*found: tuple[list[float], float], label: int = 1) -> dict[str, Tensor]:
    return {
        "boxes": torch.tensor([box for box, _ in found]).reshape(-1, 4),
        "scores": torch.tensor([score for _, score in found]),
        "labels": torch.full((len(found),), label),
    }


def target(*boxes: list[float], label: int = 1) -> dict[str, Tensor]:
    return {"boxes": torch.tensor(boxes).reshape(-1, 4), "labels": torch.full((len(boxes),), label)}


BOX = [0.0, 0.0, 100.0, 100.0]


def overlapping(share: float) -> list[float]:
    """A box inside BOX whose IoU with it is ``share``."""
    return [0.0, 0.0, 100.0, 100.0 * share]


def test_average_precision_of_five_frames_by_hand() -> None:
    # Four objects in frames 0..3, none in frame 4. By score: .9 found, .8 found, .7 false alarm, .6 found; frame 3 is
    # missed. Precision at recall 1/4, 2/4, 3/4: 1, 1, 3/4, and nothing after. On COCO's 101 recall points (0 to .5 are
    # 51 of them, .51 to .75 are 25): (51 * 1 + 25 * 3/4) / 101.
    detections = [
        detection((BOX, 0.9)),
        detection((overlapping(0.82), 0.8)),
        detection((overlapping(0.62), 0.6)),
        detection(),
        detection((BOX, 0.7)),
    ]
    targets = [target(BOX)] * 4 + [target()]
    result = average_precision(detections, targets)
    three_found = (51 + 25 * 3 / 4) / 101
    assert result["map_50"] == pytest.approx(three_found)
    # At .75 the box of IoU .62 is a false alarm at the end of the ranking: recall 2/4 at precision 1.
    two_found = 51 / 101
    assert result["map_75"] == pytest.approx(two_found)
    # .50 .55 .60 find three; .65 .70 .75 .80 two; .85 .90 .95 one: recall 1/4.
    found = [three_found] * 3 + [two_found] * 4 + [26 / 101] * 3
    assert result["map"] == pytest.approx(sum(found) / 10, abs=1e-6)


@pytest.mark.parametrize("share", [0.52, 0.58, 0.63, 0.68, 0.73, 0.78, 0.83, 0.88, 0.93, 0.98])
def test_there_are_ten_thresholds_and_75_is_one_of_them(share: float) -> None:
    # (The released code's list has nine, 0.5, 0.556, ...: AP is off and AP at .75 is not defined.)
    result = average_precision([detection((overlapping(share), 0.9))], [target(BOX)])
    met = sum(share >= 0.5 + 0.05 * i for i in range(10))
    assert 1 <= met <= 10
    assert result["map"] == pytest.approx(met / 10)
    assert result["map_50"] == 1
    assert result["map_75"] == (1 if share > 0.75 else 0)


def test_classes_count_alike_and_a_wrong_class_is_no_match() -> None:
    # Class 1: one object found. Class 2: three objects, none found; a box of class 1 on one of them is a false alarm
    # of a lower score, which costs class 1 nothing. The mean over the classes is 1/2, whatever their sizes.
    detections = [detection((BOX, 0.9)), detection((BOX, 0.5)), detection(), detection()]
    targets = [target(BOX), *[target(BOX, label=2)] * 3]
    result = average_precision(detections, targets)
    assert result["map_50"] == pytest.approx(0.5)


def test_no_detection_at_all_is_0() -> None:
    assert average_precision([detection()], [target(BOX)]) == {"map": 0, "map_50": 0, "map_75": 0}


def test_no_target_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="average precision needs at least one target box"):
        average_precision([detection((BOX, 0.9))], [target()])


def test_further_entries_of_a_detection_are_ignored() -> None:
    extra = detection((BOX, 0.9)) | {"trajectories": torch.zeros(1, 3, 4)}
    assert average_precision([extra], [target(BOX)])["map"] == pytest.approx(1)
