"""Keyframes of training: which frames are drawn, and the targets of a keyframe."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from efficiency_core.errors import UsageError
from location_anticipation.data import Keyframes, Sparse, Supervision, TrackVideos
from location_anticipation.data.motion_supervision import linear_boxes, parabola_boxes, random_boxes

Write = Callable[..., Path]
V, L, OBJECTS, SIZE = 2, 6, 3, 40


@pytest.fixture
def several(write_tracks: Write) -> TrackVideos:
    """Two videos of three object slots; in the second video slot 2 is padding."""
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 25, (V, L, OBJECTS, 2))
    boxes = np.concatenate((corner, corner + rng.uniform(3, 10, (V, L, OBJECTS, 2))), axis=-1).astype(np.float32)
    present = np.ones((V, L, OBJECTS), dtype=bool)
    present[0, 0] = False  # nothing in the first frame
    present[0, 3:, 1] = False  # object 1 leaves
    present[0, :2, 2] = False  # object 2 enters
    present[1, 2, 0] = False  # object 0 is hidden for a frame
    present[1, :, 2] = False
    boxes[~present] = np.nan
    labels = np.array([[4, 0, 2], [1, 1, -1]], dtype=np.int64)
    video = rng.integers(0, 256, (V, L, SIZE, SIZE, 3), dtype=np.uint8)
    arrays = {"video": video, "boxes": boxes, "present": present, "labels": labels}
    return TrackVideos(write_tracks(arrays=arrays, attributes={"class_names": json.dumps(["a", "b", "c", "d", "e"])}))


@pytest.mark.parametrize("horizon", [1, 3, 10])
@pytest.mark.parametrize("motion", ["annotated", "linear", "simulated", "random", "none"])
def test_targets_of_every_motion_equal_a_plain_loop(several: TrackVideos, motion: str, horizon: int) -> None:
    """Fully annotated videos: to the bit what keyframes t and t+T alone give; random boxes follow from seed and frame."""
    boxes, present = several.boxes, several.present
    data = Keyframes(several, horizon=horizon, supervision=Supervision(motion), seed=5)
    assert data.index == [(v, t) for v in range(V) for t in range(L)]
    for item, (v, t) in enumerate(data.index):
        image, target = data[item]
        assert torch.equal(image, several.frame(v, t))
        objects = [o for o in range(OBJECTS) if present[v, t, o]]
        assert target["labels"].tolist() == [several.labels[v, o] + 1 for o in objects]
        assert target["boxes"].tolist() == [boxes[v, t, o].tolist() for o in objects]
        assert target["trajectories"].shape == (len(objects), horizon, 4)
        end = min(t + horizon, L - 1)
        start_boxes, end_boxes = boxes[v, t, objects], boxes[v, end, objects]
        rng = np.random.default_rng(np.random.SeedSequence(5, spawn_key=(v, t)))
        expected = {
            "linear": lambda s, e: linear_boxes(s, e, horizon),
            "simulated": lambda s, e, t=t: parabola_boxes(s, e, horizon, 8.0 if t // horizon % 2 == 0 else -8.0),
            "random": lambda s, e, rng=rng: random_boxes(s, e, horizon, (SIZE, SIZE), rng),
        }
        if motion in expected:
            wanted = expected[motion](start_boxes, end_boxes)
            np.testing.assert_array_equal(target["trajectories"].numpy(), wanted)
        for i, o in enumerate(objects):
            there = [t + step < L and bool(present[v, t + step, o]) for step in range(1, horizon + 1)]
            valid = {"annotated": there, "none": [False] * horizon}.get(motion, [there[-1]] * horizon)
            assert target["trajectory_valid"][i].tolist() == valid
            for step in np.flatnonzero(valid) if motion == "annotated" else ():
                assert target["trajectories"][i, step].tolist() == boxes[v, t + step + 1, o].tolist()


def test_horizon_0_has_no_trajectories(write_tracks: Write) -> None:
    _, target = Keyframes(TrackVideos(write_tracks()), horizon=0)[3]
    assert set(target) == {"boxes", "labels"}


@pytest.mark.parametrize("step", [2, 3, 7])
def test_every_so_manieth_frame_is_a_keyframe(several: TrackVideos, step: int) -> None:
    everything = Keyframes(several, horizon=2)
    data = Keyframes(several, horizon=2, supervision=Supervision(keyframe_step=step))
    assert data.index == [(v, t) for v, t in everything.index if t in range(0, L, step)]
    several.present[1, 0] = False  # frame 0 of video 0 is empty too
    assert len(Keyframes(several, horizon=2)) == V * L
    with pytest.raises(UsageError, match=r"no frame holds an annotated object among every 7-th one"):
        Keyframes(several, horizon=2, supervision=Supervision(keyframe_step=7))


def test_annotated_motion_is_valid_where_it_is_annotated(write_tracks: Write) -> None:
    """Table 2.7's keyframe step 6 and label step 3: each keyframe has the labels 3 and 6 frames on."""
    whole = TrackVideos(write_tracks(videos=1, frames=10))
    data = Keyframes(Sparse(whole, 3), horizon=6, supervision=Supervision(keyframe_step=6))
    assert [t for _, t in data.index] == [0, 6]
    for item, steps in enumerate(([3, 6], [3])):
        target = data[item][1]
        assert (np.flatnonzero(target["trajectory_valid"][0]) + 1).tolist() == steps
        for step in steps:
            wanted = whole.boxes[0, 6 * item + step, 0]
            np.testing.assert_array_equal(target["trajectories"][0, step - 1].numpy(), wanted)


@pytest.mark.parametrize("motion", ["linear", "simulated", "random"])
def test_annotation_every_t_frames_gives_the_targets_of_a_full_one(write_tracks: Write, motion: str) -> None:
    whole = TrackVideos(write_tracks(videos=2, frames=13))
    dense = Keyframes(whole, horizon=3, supervision=Supervision(motion, 3))
    sparse = Keyframes(Sparse(whole, 3), horizon=3, supervision=Supervision(motion))
    assert dense.index == sparse.index and len(dense.index) == 10
    for item in range(10):
        one, other = dense[item][1], sparse[item][1]
        assert torch.equal(one["boxes"], other["boxes"]) and torch.equal(one["labels"], other["labels"])
        assert torch.equal(one["trajectory_valid"], other["trajectory_valid"])
        valid = one["trajectory_valid"]
        torch.testing.assert_close(one["trajectories"][valid], other["trajectories"][valid], atol=1e-4, rtol=0)


def test_settings_that_make_no_sense_are_refused(write_tracks: Write) -> None:
    with pytest.raises(ValueError, match="keyframe_step must be 1 or more, got 0"):
        Supervision(keyframe_step=0)
    with pytest.raises(ValueError, match=r"motion must be one of .*, got 'circular'"):
        Supervision("circular")
    with pytest.raises(ValueError, match="horizon T must be 0 or more, got -1"):
        Keyframes(TrackVideos(write_tracks()), horizon=-1)
