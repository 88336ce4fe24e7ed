"""Motion IoU by hand and by plain loops, and AP by speed by hand."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou

from location_anticipation.data import TrackVideos
from location_anticipation.data.videos import Sparse, Tracks
from location_anticipation.metrics.average_precision import average_precision
from location_anticipation.metrics.matching import RULES
from location_anticipation.metrics.motion_speed import average_precision_by_speed, motion_iou, speeds

Frame = dict[str, Tensor]


def sliding(frames: int, width: int, step: float) -> np.ndarray:
    """Boxes (frames, 4), ``width`` by 10 pixels with the last one counted in, that move right by ``step`` a frame."""
    left = step * np.arange(frames)
    return np.stack((left, 0 * left, left + width - 1, 0 * left + 9), axis=1).astype(np.float32)


def tracks_of(*boxes: np.ndarray, present: np.ndarray | None = None) -> Tracks:
    stacked = np.stack(boxes, axis=1)
    there = np.ones(stacked.shape[:2], bool) if present is None else present
    return Tracks(stacked, there, np.zeros(len(boxes), np.int64), np.ones(len(stacked), bool))


# Motion IoU


def test_motion_iou_by_hand_on_a_file_with_known_tracks(write_tracks: Callable[..., Path]) -> None:
    # 10 x 10 pixels, 1 px a frame, 4 frames. d frames apart the boxes share 10 - d columns: IoU (10 - d) / (10 + d),
    # that is 9/11, 8/12, 7/13 for d = 1, 2, 3. The second object stands still: 1. The third is there in frames 1 and 3
    # alone, 2 frames apart: 8/12. Of the fourth, in frame 2 alone, nothing is known.
    boxes = np.stack((sliding(4, 10, 1), sliding(4, 10, 0), sliding(4, 10, 1), sliding(4, 10, 1)), axis=1)[None]
    present = np.ones((1, 4, 4), bool)
    present[0, [0, 2], 2] = False
    present[0, [0, 1, 3], 3] = False
    arrays = {"video": np.zeros((1, 4, 16, 16), np.uint8), "boxes": boxes, "present": present}
    videos = TrackVideos(write_tracks(arrays=arrays | {"labels": np.zeros((1, 4), np.int64)}))
    one, two, three = 9 / 11, 8 / 12, 7 / 13
    nan = math.nan
    expected = [
        [(one + two + three) / 3, 1, nan, nan],
        [(one + one + two) / 3, 1, two, nan],
        [(two + one + one) / 3, 1, nan, nan],
        [(three + two + one) / 3, 1, two, nan],
    ]
    np.testing.assert_allclose(motion_iou(videos.tracks(0)), expected, rtol=1e-12)
    # With annotation of every second frame, 0 and 2 are left, 2 frames apart.
    sparse = motion_iou(Sparse(videos, 2).tracks(0))
    np.testing.assert_allclose(sparse[[0, 2], :2], [[two, 1], [two, 1]], rtol=1e-12)
    assert np.isnan(sparse[[1, 3]]).all() and np.isnan(sparse[:, 2:]).all()
    # One frame on either side, and boxes by their edges, 9 wide: IoU (9 - d) / (9 + d).
    nearest = motion_iou(videos.tracks(0), reach=1, pixel_inclusive=False)
    np.testing.assert_allclose(nearest[:, 0], [8 / 10] * 4, rtol=1e-12)
    assert np.isnan(nearest[:, 2]).all()


def test_motion_iou_looks_ten_frames_away_and_no_farther() -> None:
    # 40 frames, 1 px a frame, 100 px wide: frame 20 sees d = 1..10 twice, frame 0 once, frame 5 d = 1..5 twice.
    values = motion_iou(tracks_of(sliding(40, 100, 1)))[:, 0]
    ious = [(100 - d) / (100 + d) for d in range(1, 11)]
    assert values[20] == values[10] == pytest.approx(sum(ious) / 10)
    assert values[0] == values[39] == pytest.approx(sum(ious) / 10)
    assert values[5] == pytest.approx((sum(ious) + sum(ious[:5])) / 15)


def test_motion_iou_equals_plain_loops() -> None:
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 50, (1, 5, 2)) + np.cumsum(rng.normal(0, 4, (30, 5, 2)), axis=0)
    boxes = np.concatenate((corner, corner + rng.uniform(10, 40, (30, 5, 2))), axis=2).astype(np.float32)
    present = rng.random((30, 5)) < 0.6
    edges = torch.from_numpy(boxes).double() + torch.tensor([0, 0, 1, 1])  # the last pixel counts in
    values = motion_iou(tracks_of(*boxes.transpose(1, 0, 2), present=present), reach=4)
    for t in range(30):
        for o in range(5):
            near = [t + k for k in range(-4, 5) if k != 0 and 0 <= t + k < 30 and present[t + k, o]]
            ious = box_iou(edges[t : t + 1, o], edges[near, o]).numpy()
            expected = np.mean(ious) if near and present[t, o] else math.nan
            assert values[t, o] == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("frames", [0, 1])
def test_motion_iou_of_too_few_frames(frames: int) -> None:
    values = motion_iou(tracks_of(sliding(frames, 10, 1)))
    assert values.shape == (frames, 1) and np.isnan(values).all()
    with pytest.raises(ValueError, match="reach must be at least 1 frame, got 0"):
        motion_iou(tracks_of(sliding(2, 10, 1)), reach=0)


def test_the_bins_and_their_borders() -> None:
    values = np.array([1.0, 0.91, 0.9, 0.8, 0.7, 0.69, 0.0, math.nan])
    bins = speeds(values)
    assert bins["slow"].tolist() == [True] * 2 + [False] * 6
    assert bins["medium"].tolist() == [False] * 2 + [True] * 3 + [False] * 3
    assert bins["fast"].tolist() == [False] * 5 + [True] * 2 + [False]


# AP by speed


def frame(*boxes: list[float], scores: list[float] | None = None, labels: list[int] | None = None) -> Frame:
    entries = {"boxes": torch.tensor(boxes).reshape(-1, 4), "labels": torch.tensor(labels or [1] * len(boxes)).long()}
    return entries if scores is None else entries | {"scores": torch.tensor(scores)}


SLOW, FAST, NOWHERE = [0.0, 0.0, 49.0, 49.0], [100.0, 0.0, 149.0, 49.0], [300.0, 300.0, 349.0, 349.0]
NEAR_SLOW, NEAR_FAST = [0.0, 30.0, 49.0, 79.0], [100.0, 30.0, 149.0, 79.0]


@pytest.mark.parametrize("flavour", ["voc", "ilsvrc"])
def test_false_alarms_by_hand(flavour: str) -> None:
    # Frame 0 shows a slow and a fast object, frame 1 a slow one, frame 2 nothing: 2/3 of the boxes are slow, 1/3 fast.
    # By score: .9 both found; then false alarms, .8 beside the slow object, .7 beside the fast one, .6 far from either,
    # .5 in the empty frame, .4 in frame 1 far from its slow object; .3 the slow object of frame 1.
    detections = [
        frame(SLOW, FAST, NEAR_SLOW, NEAR_FAST, NOWHERE, scores=[0.9, 0.9, 0.8, 0.7, 0.6]),
        frame(NOWHERE, SLOW, scores=[0.4, 0.3]),
        frame(SLOW, scores=[0.5]),
    ]
    targets = [frame(SLOW, FAST), frame(SLOW), frame()]
    values = [np.array([0.95, 0.5]), np.array([0.95]), np.zeros(0)]
    split = average_precision_by_speed(detections, targets, values, flavour)
    # Slow: right, 1, 0, 1/2 (half of the frame's boxes are not slow), 2/3, 1, right. Precision 2 / (2 + 19/6) = 12/31.
    assert split.map["slow"] == pytest.approx(1 / 2 + 1 / 2 * 12 / 31)
    # Fast: found before any false alarm.
    assert split.map["fast"] == pytest.approx(1)
    assert math.isnan(split.map["medium"])
    assert split.boxes == {"slow": 2, "medium": 0, "fast": 1, "unknown": 0}
    assert split.shares == pytest.approx({"slow": 2 / 3, "medium": 0, "fast": 1 / 3, "unknown": 0})
    # The fast object, found last: .8 costs 0, .7 1, .6 1/2, .5 1/3, and .4 nothing (all boxes of its frame are slow).
    detections[0]["scores"][1] = 0.1
    split = average_precision_by_speed(detections, targets, values, flavour)
    assert split.map["fast"] == pytest.approx(1 / (1 + 0 + 1 + 1 / 2 + 1 / 3 + 0))


@pytest.mark.parametrize("flavour", RULES)
def test_one_bin_with_every_box_is_plain_average_precision(flavour: str) -> None:
    detections = [frame(SLOW, NEAR_FAST, NOWHERE, scores=[0.5, 0.9, 0.7]), frame(NOWHERE, SLOW, scores=[0.6, 0.4])]
    targets = [frame(SLOW, FAST), frame(SLOW)]
    split = average_precision_by_speed(detections, targets, [np.full(2, 0.8), np.full(1, 0.8)], flavour)
    plain = average_precision(detections, targets, flavour)
    assert split.map["medium"] == plain.map < 1
    assert split.definition.startswith(f"{plain.definition.split(',')[0]}")


def test_limiting_cases() -> None:
    unknown = average_precision_by_speed([frame(SLOW, scores=[0.9])], [frame(SLOW)], [np.array([math.nan])])
    assert all(math.isnan(value) for value in unknown.map.values())
    assert unknown.boxes == {"slow": 0, "medium": 0, "fast": 0, "unknown": 1}
    nothing = average_precision_by_speed([frame(SLOW, scores=[0.9])], [frame()], [np.zeros(0)])
    assert all(math.isnan(value) for value in (*nothing.map.values(), *nothing.shares.values()))
    missed = average_precision_by_speed([frame(scores=[])], [frame(SLOW)], [np.array([0.95])])
    assert missed.map["slow"] == 0
    hidden = frame(SLOW) | {"iscrowd": torch.tensor([1])}
    crowd = average_precision_by_speed([frame(SLOW, scores=[0.9])], [hidden], [np.array([0.95])])
    assert math.isnan(crowd.map["slow"]) and crowd.boxes["slow"] == 0
    with pytest.raises(ValueError, match="AP by speed is defined for voc and ilsvrc, got 'coco'"):
        average_precision_by_speed([], [], [], "coco")
    with pytest.raises(ValueError, match="one motion IoU for each target box"):
        average_precision_by_speed([frame(SLOW, scores=[0.9])], [frame(SLOW)], [np.zeros(2)])
