"""Average precisions of random frames, of all objects and by speed: against plain loops, and against COCO's."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from location_anticipation.metrics.average_precision import average_precision
from location_anticipation.metrics.matching import ILSVRC, VOC, Rules, match
from location_anticipation.metrics.motion_speed import average_precision_by_speed

Frame = dict[str, Tensor]


def iou(a: Sequence[float], b: Sequence[float], last: int) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + last)
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + last)
    areas = sum((x[2] - x[0] + last) * (x[3] - x[1] + last) for x in (a, b))
    return width * height / (areas - width * height)


def plain_average_precision(
    detections: list[Frame], targets: list[Frame], rules: Rules, bins: list[list[bool]] | None = None
) -> dict[int, float]:
    """AP by class: all detections of a class in the order of their scores, one by one, as the devkits do it.

    ``bins`` says of each frame's true boxes whether they are in the bin that is scored, by the rules of FGFA.
    """
    last = int(rules.pixel_inclusive)
    bins = bins or [[True] * len(t["boxes"]) for t in targets]
    share = float(np.mean([inside for frame in bins for inside in frame]))
    counted = [
        [inside and not bool(crowd) for inside, crowd in zip(frame, t.get("iscrowd", [0] * len(frame)), strict=True)]
        for frame, t in zip(bins, targets, strict=True)
    ]
    every = [int(k) for t, c in zip(targets, counted, strict=True) for k, ok in zip(t["labels"], c, strict=True) if ok]
    answers = {}
    for label in sorted(set(every)):
        ranking = sorted(
            (-float(score), frame, place)
            for frame, d in enumerate(detections)
            for place, (score, k) in enumerate(zip(d["scores"], d["labels"], strict=True))
            if k == label
        )
        taken: set[tuple[int, int]] = set()
        right, wrong, recalls, precisions = 0.0, 0.0, [], []
        for _, frame, place in ranking:
            box, true_boxes = detections[frame]["boxes"][place].tolist(), targets[frame]["boxes"].tolist()
            overlaps = [iou(box, true_box, last) for true_box in true_boxes]
            best, found = -1, False
            for number, (true_box, k) in enumerate(zip(true_boxes, targets[frame]["labels"], strict=True)):
                if k != label or (rules.matching == "free" and (frame, number) in taken):
                    continue
                width, height = true_box[2] - true_box[0] + last, true_box[3] - true_box[1] + last
                tolerant = width * height / ((width + rules.tolerance) * (height + rules.tolerance))
                enough = overlaps[number] >= min(rules.threshold, tolerant)
                if (rules.matching == "best" or enough) and (best < 0 or overlaps[number] > overlaps[best]):
                    best, found = number, enough
            if found and (not counted[frame][best] or (frame, best) not in taken):
                right += counted[frame][best]
            else:
                inner, outer = (
                    max((o for o, inside in zip(overlaps, bins[frame], strict=True) if inside == wanted), default=-1.0)
                    for wanted in (True, False)
                )
                undecided = bins[frame].count(False) / len(bins[frame]) if bins[frame] else share
                wrong += undecided if inner == outer else float(inner > outer)
            if found:
                taken.add((frame, best))
            recalls.append(right / every.count(label))
            precisions.append(right / max(right + wrong, 1e-300))

        def highest(recall: float) -> float:
            reached = zip(recalls, precisions, strict=True)  # noqa: B023
            return max((precision for there, precision in reached if there >= recall), default=0.0)

        count = every.count(label)
        points = [i / count for i in range(1, count + 1)]
        if rules.points:
            points = [i / (rules.points - 1) for i in range(rules.points)]
        answers[label] = sum(highest(point) for point in points) / len(points)
    return answers


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
        scores = torch.tensor(rng.random(len(boxes)), dtype=torch.float32)
        detections.append(
            {"boxes": torch.tensor(boxes, dtype=torch.float32), "scores": scores, "labels": torch.tensor(found)}
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


@pytest.mark.parametrize(("flavour", "rules"), [("ilsvrc", ILSVRC), ("voc", Rules(matching="free"))])
def test_by_speed_equals_plain_loops(flavour: str, rules: Rules) -> None:
    rng = np.random.default_rng(1)
    detections, targets = random_frames(1, 60)
    values = [rng.uniform(0.5, 1, len(t["boxes"])) for t in targets]
    for frame in values:
        frame[rng.random(len(frame)) < 0.1] = math.nan
    split = average_precision_by_speed(detections, targets, values, flavour, rules=rules)
    for name, (low, high) in {"slow": (0.9, 1), "medium": (0.7, 0.9), "fast": (0, 0.7)}.items():
        bins = [[bool(low <= value <= high) for value in frame] for frame in values]
        expected = plain_average_precision(detections, targets, rules, bins)
        assert split.map[name] == pytest.approx(sum(expected.values()) / 3, abs=1e-12)
        assert 0.05 < split.map[name] < 0.95
    assert split.boxes["unknown"] == sum(int(np.isnan(v).sum()) for v in values) > 0
    assert sum(split.boxes.values()) == sum(len(t["boxes"]) for t in targets)


def test_free_matching_of_crowded_frames() -> None:
    """Twelve boxes almost in one place, and 40 detections: each, the best first, takes the best box still free."""
    rng = np.random.default_rng(2)
    detections, targets = [], []
    for _ in range(3):
        true, near = (torch.tensor(rng.normal((10, 10, 60, 60), 4, (n, 4))).float() for n in (12, 40))
        detections.append({"boxes": near, "scores": torch.tensor(rng.random(40)), "labels": torch.ones(40).long()})
        targets.append({"boxes": true, "labels": torch.ones(12).long()})
    for threshold in (0.6, 0.7, 0.8):
        rules = Rules(threshold=threshold, matching="free")
        found = match(detections, targets, rules).found.reshape(3, 40)
        assert all(5 < len(set(row)) - 1 <= 12 for row in found.tolist())
        expected = plain_average_precision(detections, targets, rules)
        assert average_precision(detections, targets, "voc", rules=rules).per_class == pytest.approx(
            expected, abs=1e-12
        )


@pytest.mark.parametrize("seed", range(4))
def test_coco_at_50_is_free_matching_at_101_points(seed: int) -> None:
    detections, targets = random_frames(seed, 40)
    # torchmetrics has its recall points in single precision, so that .70 may be beside 28 of 40 boxes found. A prime
    # number of boxes of each class meets no point but 0 and 1: some boxes that nothing finds fill the number up.
    labels = torch.cat([t["labels"] for t in targets])
    fill = torch.tensor([k for k in (1, 2, 3) for _ in range(47 - int((labels == k).sum()))])
    nothing = torch.zeros(0)
    detections.append({"boxes": nothing.reshape(0, 4), "scores": nothing, "labels": nothing.long()})
    targets.append({"boxes": torch.tensor([[50.0, 50, 60, 60]]).repeat(len(fill), 1), "labels": fill})
    coco = average_precision(detections, targets, "coco", per_class=False)
    for threshold, value in ((0.5, coco.map_50), (0.75, coco.map_75)):
        rules = Rules(threshold=threshold, matching="free", pixel_inclusive=False, points=101)
        assert average_precision(detections, targets, "voc", rules=rules).map == pytest.approx(value, abs=1e-6)
    voc = average_precision(detections, targets, "voc", rules=Rules(pixel_inclusive=False)).map
    assert voc == pytest.approx(coco.map_50, abs=0.02)  # other points, and other matching where boxes overlap
    ilsvrc = average_precision(detections, targets, "ilsvrc").map
    assert ilsvrc > average_precision(detections, targets, "voc").map  # "loosened is slightly higher"
