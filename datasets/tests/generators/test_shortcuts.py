"""The card's checks: what a place, or a sample of frames, tells."""

import numpy as np
import pytest

from synthetic_datasets.generators import shortcuts
from synthetic_datasets.generators.shortcuts import nearest_centroid_accuracy, seen_motion, told_by


def test_nearest_centroid_finds_what_is_there_and_nothing_where_nothing_is() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(2000) % 4
    noise = rng.normal(size=(2000, 3))
    assert nearest_centroid_accuracy(noise, labels) == pytest.approx(0.25, abs=0.04)
    assert nearest_centroid_accuracy(noise + 50 * labels[:, None], labels) == 1
    assert nearest_centroid_accuracy(np.zeros((2000, 2)), labels) == 0.25
    # Places uniform in a square of side W, shifted by h to one of four sides: 1/4 + h/W (the note in the card).
    rng = np.random.default_rng(1)
    labels = np.arange(40_000) % 4
    shift = np.array([[-1, 0], [1, 0], [0, -1], [0, 1]])[labels]
    places = 30 * rng.random((40_000, 2)) + 3 * shift
    assert nearest_centroid_accuracy(places, labels) == pytest.approx(0.25 + 3 / 30, abs=0.01)
    with pytest.raises(ValueError, match="at least two samples of every class"):
        nearest_centroid_accuracy(np.zeros((3, 1)), [0, 0, 1])


def test_told_by_is_of_each_feature_alone() -> None:
    labels = np.arange(300) % 3
    features = {"class": labels, "nothing": np.zeros((300, 2))}
    assert told_by(features, labels) == {"told_by_class": 1, "told_by_nothing": pytest.approx(1 / 3)}
    assert told_by(features, np.arange(300)) == {} == told_by({"nothing": []}, [])


def test_motion_frames_and_kinds_by_hand() -> None:
    row = shortcuts.kind_features(np.array([[0, 0, 1, 1, 0, 3]], np.uint8))[0].tolist()
    assert row == [3, 2, (0 + 1 + 4) / 3, 2, 1, 2.5, 0, 0, -1, 1, 1, 5]
    kind = np.array([[1, 0, 0, 2, 0], [3, 3, 0, 1, 1]], np.uint8)
    assert shortcuts.motion_frames(kind).tolist() == [[1, 2], [2, 2], [4, 2]]


def test_seen_motion_by_hand() -> None:
    kind = np.zeros((3, 8), np.uint8)
    kind[1, ::2] = 2  # of segment centres 1, 3, 5, 7, every one is motion
    kind[2] = [0, 1, 1, 1, 1, 0, 1, 1]  # of them, only frame 5 is
    boxes = np.zeros((3, 8, 4), np.float32)
    boxes[..., 0] = boxes[..., 2] = np.arange(8)
    counts, travel = seen_motion(kind, boxes, 4)
    assert counts.tolist() == [4, 4, 1] and travel.tolist() == [6, 6, 0]
    assert seen_motion(kind, boxes, 8)[0].tolist() == [8, 4, 2]
    one_each = 1 - np.eye(10, dtype=np.uint8)  # video n has its only motion in frame n
    seen = seen_motion(one_each, np.zeros((10, 10, 4), np.float32), 4)[0]
    assert np.flatnonzero(seen).tolist() == [1, 3, 6, 8]
