"""Three average precisions against hand-computed values, plain loops, and each other."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from location_anticipation.average_precision import FLAVOURS, average_precision
from location_anticipation.matching import ILSVRC, VOC, Rules, match

Frame = dict[str, Tensor]


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
    assert (result.flavour, result.definition) == (
        "ilsvrc",
        "ILSVRC AP at IoU 0.5 or less for small boxes (10 px), area under the precision envelope",
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


# VOC and ILSVRC against plain loops


def iou(a: Sequence[float], b: Sequence[float], last: int) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + last)
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + last)
    areas = sum((x[2] - x[0] + last) * (x[3] - x[1] + last) for x in (a, b))
    return width * height / (areas - width * height)


def plain_average_precision(detections: list[Frame], targets: list[Frame], rules: Rules) -> dict[int, float]:
    """AP by class: all detections of a class in the order of their scores, one by one, as the devkits do it."""
    last = int(rules.pixel_inclusive)
    answers = {}
    for label in sorted(
        {int(k) for t in targets for k, crowd in zip(t["labels"], crowds(t), strict=True) if not crowd}
    ):
        ranking = sorted(
            (
                (-float(score), frame, place)
                for frame, d in enumerate(detections)
                for place, (score, k) in enumerate(zip(d["scores"], d["labels"], strict=True))
                if k == label
            ),
        )
        taken: set[tuple[int, int]] = set()
        right: list[bool] = []
        for _, frame, place in ranking:
            box = detections[frame]["boxes"][place].tolist()
            best, best_overlap = None, -1.0
            for number, (true_box, k) in enumerate(
                zip(targets[frame]["boxes"].tolist(), targets[frame]["labels"], strict=True)
            ):
                overlap = iou(box, true_box, last)
                if k != label or (rules.matching == "free" and (frame, number) in taken):
                    continue
                width, height = true_box[2] - true_box[0] + last, true_box[3] - true_box[1] + last
                tolerant = width * height / ((width + rules.tolerance) * (height + rules.tolerance))
                enough = overlap >= min(rules.threshold, tolerant)
                if (rules.matching == "best" or enough) and overlap > best_overlap:
                    best, best_overlap, found = number, overlap, enough
            if best is None or not found:
                right.append(False)
            elif crowds(targets[frame])[best]:
                taken.add((frame, best))
            else:
                right.append((frame, best) not in taken)
                taken.add((frame, best))
        positives = sum(
            int(k) == label and not crowd for t in targets for k, crowd in zip(t["labels"], crowds(t), strict=True)
        )
        recalls = [sum(right[: i + 1]) / positives for i in range(len(right))]
        precisions = [sum(right[: i + 1]) / (i + 1) for i in range(len(right))]

        def highest(recall: float) -> float:
            reached = zip(recalls, precisions, strict=True)  # noqa: B023
            return max((precision for there, precision in reached if there >= recall), default=0.0)

        if rules.points:
            answers[label] = sum(highest(i / (rules.points - 1)) for i in range(rules.points)) / rules.points
        else:
            answers[label] = sum(highest(i / positives) / positives for i in range(1, positives + 1))
    return answers


def crowds(frame: Frame) -> list[bool]:
    return frame["iscrowd"].bool().tolist() if "iscrowd" in frame else [False] * len(frame["boxes"])


def random_frames(seed: int, frames: int = 25, *, crowd: bool = False) -> tuple[list[Frame], list[Frame]]:
    """Up to five close true boxes a frame of three classes; detections near them, of nothing, and of a wrong class."""
    rng = np.random.default_rng(seed)
    detections, targets = [], []
    for _ in range(frames):
        count = int(rng.integers(0, 6))
        corner = rng.uniform(0, 30, (count, 2))
        true = np.concatenate((corner, corner + rng.uniform(6, 30, (count, 2))), axis=1)
        labels = rng.integers(1, 4, count)
        near = np.repeat(true, 2, axis=0) + rng.normal(0, 2.5, (2 * count, 4))
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        away = rng.uniform(0, 30, (2, 2))
        boxes = np.concatenate((near, np.concatenate((away, away + 15), axis=1)))
        found = np.concatenate((np.repeat(labels, 2), rng.integers(1, 4, 2)))
        found = np.where(rng.random(len(found)) < 0.1, 4, found)
        detections.append(
            {
                "boxes": torch.tensor(boxes, dtype=torch.float32),
                "scores": torch.tensor(rng.random(len(boxes)), dtype=torch.float32),
                "labels": torch.tensor(found),
            }
        )
        frame = {"boxes": torch.tensor(true, dtype=torch.float32), "labels": torch.tensor(labels)}
        if crowd:
            frame["iscrowd"] = torch.tensor(rng.random(count) < 0.3)
        targets.append(frame)
    return detections, targets


@pytest.mark.parametrize("crowd", [False, True])
@pytest.mark.parametrize(
    "rules",
    [VOC, ILSVRC, Rules(threshold=0.7, points=11, pixel_inclusive=False), Rules(matching="free", points=101)],
)
def test_equals_plain_loops(rules: Rules, crowd: bool) -> None:
    for seed in range(5):
        detections, targets = random_frames(seed, crowd=crowd)
        result = average_precision(detections, targets, "voc", rules=rules)
        expected = plain_average_precision(detections, targets, rules)
        assert result.per_class == pytest.approx(expected, abs=1e-12)
        assert result.map == pytest.approx(sum(expected.values()) / len(expected), abs=1e-12)
        assert 0.05 < result.map < 0.95


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


def test_free_matching_of_a_crowded_frame() -> None:
    """Twelve boxes almost in one place, and 40 detections: each, the best first, takes the best box still free."""
    rng = np.random.default_rng(2)
    boxes = [
        torch.tensor([10.0, 10, 60, 60]) + torch.tensor(rng.normal(0, 4, (n, 4)), dtype=torch.float32) for n in (12, 40)
    ]
    found = {"boxes": boxes[1], "scores": torch.tensor(rng.random(40)), "labels": torch.ones(40, dtype=torch.int64)}
    true = {"boxes": boxes[0], "labels": torch.ones(12, dtype=torch.int64)}
    rules = Rules(threshold=0.7, matching="free")
    expected, free = [], set(range(12))
    for j in found["scores"].argsort(descending=True).tolist():
        overlaps = {k: iou(boxes[1][j].tolist(), boxes[0][k].tolist(), 1) for k in sorted(free)}
        enough = {k: value for k, value in overlaps.items() if value >= 0.7}
        expected.append(max(enough, key=lambda k: enough[k]) if enough else -1)
        free.discard(expected[-1])
    assert 5 < sum(k >= 0 for k in expected) <= 12
    assert match([found], [true], rules).found.tolist() == expected
    twice = match([found, found], [true, true], rules)  # the same in the second frame, whose boxes follow
    assert twice.found[40:].tolist() == [k + 12 if k >= 0 else -1 for k in expected]
    assert twice.frames.tolist() == [0] * 40 + [1] * 40 and len(twice.pairs) == 2 * 40 * 12


@pytest.mark.parametrize(("side", "needed"), [(10, 0.25), (20, 4 / 9), (24, (24 / 34) ** 2), (25, 0.5), (100, 0.5)])
def test_the_tolerance_for_small_boxes(side: int, needed: float) -> None:
    # A detection of the upper rows of a square: as many as are needed, and one row fewer.
    true = [5.0, 5.0, 4.0 + side, 4.0 + side]
    rows = math.ceil(needed * side - 1e-9)
    for height, ap in ((rows, 1), (rows - 1, 0)):
        upper = [5.0, 5.0, 4.0 + side, 4.0 + height]
        assert average_precision([detection((upper, 0.9))], [target(true)], "ilsvrc").map == ap


# Against COCO's


@pytest.mark.parametrize("seed", range(4))
def test_coco_at_50_is_free_matching_at_101_points(seed: int) -> None:
    detections, targets = random_frames(seed, 40)
    # torchmetrics has its recall points in single precision, so that .70 may be beside 28 of 40 boxes found. A prime
    # number of boxes of each class meets no point but 0 and 1: some boxes that nothing finds fill the number up.
    labels = torch.cat([t["labels"] for t in targets])
    fill = torch.tensor([k for k in (1, 2, 3) for _ in range(47 - int((labels == k).sum()))])
    detections.append(detection())
    targets.append({"boxes": torch.tensor([[50.0, 50, 60, 60]]).repeat(len(fill), 1), "labels": fill})
    coco = average_precision(detections, targets, "coco", per_class=False)
    for threshold, value in ((0.5, coco.map_50), (0.75, coco.map_75)):
        rules = Rules(threshold=threshold, matching="free", pixel_inclusive=False, points=101)
        assert average_precision(detections, targets, "voc", rules=rules).map == pytest.approx(value, abs=1e-6)
    voc = average_precision(detections, targets, "voc", rules=Rules(pixel_inclusive=False)).map
    assert voc == pytest.approx(coco.map_50, abs=0.02)  # other points, and other matching where boxes overlap
    ilsvrc = average_precision(detections, targets, "ilsvrc").map
    assert ilsvrc > average_precision(detections, targets, "voc").map  # "loosened is slightly higher"


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
    crowd = [200.0, 200.0, 300.0, 300.0]
    targets = [target(BOX, crowd) | {"iscrowd": torch.tensor([0, 1])}]
    assert average_precision([detection((crowd, 0.9), (BOX, 0.8))], targets, flavour).map == pytest.approx(1)
    assert average_precision([detection((BOX, 0.8))], targets, flavour).map == pytest.approx(1)


def test_repeated_detections_of_a_crowd() -> None:
    # VOC's difficult boxes take any number of them; FGFA's ignored ones are found once, and the next is wrong: 1/2.
    crowd = [200.0, 200.0, 300.0, 300.0]
    targets = [target(BOX, crowd) | {"iscrowd": torch.tensor([0, 1])}]
    detections = [detection((crowd, 0.9), (crowd, 0.85), (BOX, 0.8))]
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


def test_coco_over_ten_thresholds_by_hand() -> None:
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
    assert result.map_50 == pytest.approx(three_found)
    # At .75 the box of IoU .62 is a false alarm at the end of the ranking: recall 2/4 at precision 1.
    two_found = 51 / 101
    assert result.map_75 == pytest.approx(two_found)
    # .50 .55 .60 find three; .65 .70 .75 .80 two; .85 .90 .95 one: recall 1/4.
    found = [three_found] * 3 + [two_found] * 4 + [26 / 101] * 3
    assert result.map == pytest.approx(sum(found) / 10, abs=1e-6)


@pytest.mark.parametrize("share", [0.52, 0.58, 0.63, 0.68, 0.73, 0.78, 0.83, 0.88, 0.93, 0.98])
def test_there_are_ten_thresholds_and_75_is_one_of_them(share: float) -> None:
    # (The released code's list has nine, 0.5, 0.556, ...: AP is off and AP at .75 is not defined.)
    result = average_precision([detection((overlapping(share), 0.9))], [target(BOX)])
    met = sum(share >= 0.5 + 0.05 * i for i in range(10))
    assert 1 <= met <= 10
    assert result.map == pytest.approx(met / 10)
    assert result.map_50 == 1
    assert result.map_75 == (1 if share > 0.75 else 0)


def test_classes_count_alike_and_a_wrong_class_is_no_match() -> None:
    # Class 1: one object found. Class 2: three objects, none found; a box of class 1 on one of them is a false alarm
    # of a lower score, which costs class 1 nothing. The mean over the classes is 1/2, whatever their sizes.
    detections = [detection((BOX, 0.9)), detection((BOX, 0.5)), detection(), detection()]
    targets = [target(BOX), *[target(BOX, label=2)] * 3]
    result = average_precision(detections, targets)
    assert result.map_50 == pytest.approx(0.5)
    assert result.per_class == {1: pytest.approx(1), 2: 0}


def test_further_entries_of_a_detection_are_ignored() -> None:
    extra = detection((BOX, 0.9)) | {"trajectories": torch.zeros(1, 3, 4)}
    assert average_precision([extra], [target(BOX)]).map == pytest.approx(1)
