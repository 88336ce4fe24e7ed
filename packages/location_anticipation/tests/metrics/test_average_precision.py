"""Three average precisions against hand-computed values."""

import math

import pytest
import torch
from torch import Tensor

from location_anticipation.metrics.average_precision import FLAVOURS, average_precision
from location_anticipation.metrics.matching import VOC, Rules, match

Frame = dict[str, Tensor]


def detection(*found: tuple[list[float], float], label: int = 1) -> dict[str, Tensor]:
    return {
        "boxes": torch.tensor([box for box, _ in found]).reshape(-1, 4),
        "scores": torch.tensor([score for _, score in found]),
        "labels": torch.full((len(found),), label),
    }


def target(*boxes: list[float], label: int = 1) -> dict[str, Tensor]:
    return {"boxes": torch.tensor(boxes).reshape(-1, 4), "labels": torch.full((len(boxes),), label)}


BOX, CROWD = [0.0, 0.0, 100.0, 100.0], [200.0, 200.0, 300.0, 300.0]


def overlapping(share: float) -> list[float]:
    """A box inside BOX whose IoU with it is ``share``."""
    return [0.0, 0.0, 100.0, 100.0 * share]


# One case, every flavour


def five_frames() -> tuple[list[Frame], list[Frame]]:
    """Four true boxes in frames 0..3, none in frame 4; detections by score:

    ====  =====  =========================================  ==============  ================
    .9    frame  what                                       IoU, pixels in  IoU, edges
    ====  =====  =========================================  ==============  ================
    .90   0      the large box itself                       1               1
    .85   4      nothing
    .80   1      the upper 80 of 100 rows of a large box    .80             79 / 99 = .798
    .70   2      the upper 4 of 10 rows of a small box      .40             3 / 9 = .333
    .65   0      the large box of frame 0 once more         1               1
    ====  =====  =========================================  ==============  ================
    """
    large, small = [0.0, 0.0, 99.0, 99.0], [0.0, 0.0, 9.0, 9.0]
    detections = [
        detection((large, 0.65), (large, 0.9)),
        detection(([0.0, 0.0, 99.0, 79.0], 0.8)),
        detection(([0.0, 0.0, 9.0, 3.0], 0.7)),
        detection(),
        detection((large, 0.85)),
    ]
    return detections, [target(large), target(large), target(small), target(large), target()]


def test_five_frames_by_hand_voc() -> None:
    # IoU .5: .90 right, .85 wrong, .80 right, .70 wrong, .65 wrong. Precision 1 at recall 1/4 and 2/3 at recall 2/4:
    # 1/4 * 1 + 1/4 * 2/3 = 5/12.
    result = average_precision(*five_frames(), "voc")
    assert result.map == pytest.approx(5 / 12)
    assert result.per_class == {1: pytest.approx(5 / 12)}
    assert (result.flavour, result.definition) == ("voc", "VOC AP at IoU 0.5, area under the precision envelope")
    assert math.isnan(result.map_50)
    # At recall 0, .1, .2 precision 1, at .3, .4, .5 it is 2/3, and 0 after: (3 + 3 * 2/3) / 11 = 5/11.
    eleven = average_precision(*five_frames(), "voc", rules=Rules(points=11))
    assert eleven.map == pytest.approx(5 / 11)
    assert eleven.definition == "VOC AP at IoU 0.5, 11 recall points"
    # At IoU .8 nothing changes (.80 is .80 with the last pixel counted in); by edges it is .798, and one is found.
    assert average_precision(*five_frames(), "voc", rules=Rules(threshold=0.8)).map == pytest.approx(5 / 12)
    edges = Rules(threshold=0.8, pixel_inclusive=False)
    assert average_precision(*five_frames(), "voc", rules=edges).map == pytest.approx(1 / 4)


def test_five_frames_by_hand_ilsvrc() -> None:
    # The small box asks for 10 * 10 / (20 * 20) = .25 only, so .70 is right too. Precision 1, 2/3, 3/4 at recall 1/4,
    # 2/4, 3/4; its envelope 1, 3/4, 3/4: 1/4 * (1 + 3/4 + 3/4) = 5/8.
    result = average_precision(*five_frames(), "ilsvrc")
    assert result.map == pytest.approx(5 / 8)
    assert result.flavour == "ilsvrc"
    assert result.definition == (
        "ILSVRC AP at IoU 0.5 or less for small boxes (10 px), area under the precision envelope"
    )


def test_five_frames_by_hand_coco() -> None:
    # As VOC at .50, but at 101 recall points: precision 1 at 0, .01, .., .25, which are 26, and 2/3 at .26 .. .50,
    # which are 25. The same up to IoU .75; from .80 on .80 is not found (its edges overlap by .798).
    result = average_precision(*five_frames(), "coco")
    two, one = (26 + 25 * 2 / 3) / 101, 26 / 101
    assert result.map_50 == pytest.approx(two)
    assert result.map_75 == pytest.approx(two)
    assert result.map == pytest.approx((6 * two + 4 * one) / 10)
    assert result.per_class == {1: pytest.approx(result.map)}
    assert (result.flavour, result.definition) == ("coco", "COCO AP, mean over IoU .50:.05:.95, 101 recall points")
    quick = average_precision(*five_frames(), "coco", per_class=False)
    assert (quick.map, quick.map_50, quick.per_class) == (result.map, result.map_50, {})


def test_the_matchings_differ_where_true_boxes_overlap() -> None:
    # Both detections overlap the first box most, 1 and 9/11, and the second one by 8/12 and 9/11 (a tie, which goes to
    # the first box). "best": the second is a repetition of the first. "free": it has found the second box.
    detections = [detection(([0.0, 0.0, 10.0, 10.0], 0.9), ([1.0, 0.0, 11.0, 10.0], 0.8))]
    targets = [target([0.0, 0.0, 10.0, 10.0], [2.0, 0.0, 12.0, 10.0])]
    best, free = (Rules(matching=m, pixel_inclusive=False) for m in ("best", "free"))
    assert match(detections, targets, best).found.tolist() == [0, 0]
    assert match(detections, targets, best).first.tolist() == [True, False]
    assert match(detections, targets, free).found.tolist() == [0, 1]
    assert average_precision(detections, targets, "voc", rules=best).map == pytest.approx(1 / 2)
    assert average_precision(detections, targets, "voc", rules=free).map == pytest.approx(1)


@pytest.mark.parametrize(("side", "needed"), [(10, 0.25), (20, 4 / 9), (24, (24 / 34) ** 2), (25, 0.5), (100, 0.5)])
def test_the_tolerance_for_small_boxes(side: int, needed: float) -> None:
    # A detection of the upper rows of a square: as many as are needed, and one row fewer.
    true = [5.0, 5.0, 4.0 + side, 4.0 + side]
    rows = math.ceil(needed * side - 1e-9)
    for height, ap in ((rows, 1), (rows - 1, 0)):
        upper = [5.0, 5.0, 4.0 + side, 4.0 + height]
        assert average_precision([detection((upper, 0.9))], [target(true)], "ilsvrc").map == ap


# Limiting cases


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_limiting_cases(flavour: str) -> None:
    assert average_precision([detection()], [target(BOX)], flavour).map == 0
    assert average_precision([detection((BOX, 0.0))], [target(BOX)], flavour).map == pytest.approx(1)
    assert average_precision([detection((BOX, 0.9), label=2)], [target(BOX)], flavour).per_class == {1: 0}
    for targets in ([], [target()], [target(BOX) | {"iscrowd": torch.tensor([1])}]):
        with pytest.raises(ValueError, match="average precision needs at least one target box"):
            average_precision([detection((BOX, 0.9)) for _ in targets], targets, flavour)
    with pytest.raises(ValueError, match="expected one target a frame, got 1 for 2 frames of detections"):
        average_precision([detection()] * 2, [target(BOX)], flavour)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_crowd_is_neither_to_be_found_nor_wrong(flavour: str) -> None:
    # The crowd's detection scores best; if it counted as wrong, AP would be 1/2, and if as right, recall would be off.
    targets = [target(BOX, CROWD) | {"iscrowd": torch.tensor([0, 1])}]
    assert average_precision([detection((CROWD, 0.9), (BOX, 0.8))], targets, flavour).map == pytest.approx(1)
    assert average_precision([detection((BOX, 0.8))], targets, flavour).map == pytest.approx(1)


def test_repeated_detections_of_a_crowd() -> None:
    # VOC's difficult boxes take any number of them; FGFA's ignored ones are found once, and the next is wrong: 1/2.
    targets = [target(BOX, CROWD) | {"iscrowd": torch.tensor([0, 1])}]
    detections = [detection((CROWD, 0.9), (CROWD, 0.85), (BOX, 0.8))]
    assert average_precision(detections, targets, "voc").map == pytest.approx(1)
    assert average_precision(detections, targets, "ilsvrc").map == pytest.approx(1 / 2)


@pytest.mark.parametrize("flavour", ["voc", "ilsvrc"])
def test_equal_scores_keep_their_order(flavour: str) -> None:
    right, wrong = (BOX, 0.5), ([200.0, 200.0, 210.0, 210.0], 0.5)
    assert average_precision([detection(right, wrong)], [target(BOX)], flavour).map == pytest.approx(1)
    assert average_precision([detection(wrong, right)], [target(BOX)], flavour).map == pytest.approx(1 / 2)
    frames = [detection(wrong), detection(right)]
    assert average_precision(frames, [target(), target(BOX)], flavour).map == pytest.approx(1 / 2)


def test_wrong_usage() -> None:
    with pytest.raises(ValueError, match="flavour must be one of coco, voc, ilsvrc, got 'vanilla'"):
        average_precision([detection()], [target(BOX)], "vanilla")
    with pytest.raises(ValueError, match="COCO's average precision has its own rules"):
        average_precision([detection()], [target(BOX)], "coco", rules=VOC)
    for wrong in ({"threshold": 0.0}, {"threshold": 1.1}, {"tolerance": -1.0}, {"points": 1}, {"matching": "any"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Rules(**wrong)  # type: ignore[arg-type]


# COCO's, which is torchmetrics: that it is called as it should be


@pytest.mark.parametrize("share", [0.52, 0.58, 0.63, 0.68, 0.73, 0.78, 0.83, 0.88, 0.93, 0.98])
def test_there_are_ten_thresholds_and_75_is_one_of_them(share: float) -> None:
    # (The released code's list has nine, 0.5, 0.556, ...: AP is off and AP at .75 is not defined.)
    result = average_precision([detection((overlapping(share), 0.9))], [target(BOX)])
    met = sum(share >= 0.5 + 0.05 * i for i in range(10))
    assert 1 <= met <= 10
    assert result.map == pytest.approx(met / 10)
    assert result.map_50 == 1
    assert result.map_75 == (1 if share > 0.75 else 0)


def test_further_entries_of_a_detection_are_ignored() -> None:
    extra = detection((BOX, 0.9)) | {"trajectories": torch.zeros(1, 3, 4)}
    assert average_precision([extra], [target(BOX)]).map == pytest.approx(1)
