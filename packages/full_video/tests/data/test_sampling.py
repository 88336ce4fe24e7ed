"""Sampling rules against indices worked out by hand and plain loops."""

import numpy as np
import pytest
import torch

from full_video.data.sampling import Sampling, motion_indices, motion_scores


@pytest.mark.parametrize(("length", "frames", "expected"), [
    (32, 8, [2, 6, 10, 14, 18, 22, 26, 30]),
    (10, 4, [1, 3, 6, 8]),  # centres 1.25, 3.75, 6.25, 8.75
    (7, 3, [1, 3, 5]),  # 1.17, 3.5, 5.83
    (3, 6, [0, 0, 1, 1, 2, 2]),
    (1, 3, [0, 0, 0]),
    (9, 1, [4]),
])  # fmt: skip
def test_centres_of_segments(length, frames, expected):
    assert Sampling(frames).indices(length).tolist() == expected
    for rng in (None, np.random.default_rng(0)):
        assert Sampling(frames, "uniform").indices(length, rng).tolist() == expected


@pytest.mark.parametrize(("length", "frames"), [(32, 8), (10, 4), (100, 7)])
def test_one_random_frame_of_each_segment(length, frames):
    rng = np.random.default_rng(0)
    drawn = np.stack([Sampling(frames).indices(length, rng) for _ in range(2000)])
    assert drawn.dtype == np.int64
    for segment in range(frames):
        low, high = segment * length / frames, (segment + 1) * length / frames
        assert drawn[:, segment].min() == int(low)
        assert drawn[:, segment].max() == int(np.ceil(high)) - 1
    # Every frame is as likely as any other, the last ones too: the release never sees a remainder.
    counts = np.bincount(drawn.ravel(), minlength=length) / drawn.size
    assert np.abs(counts - 1 / length).max() < 4 * np.sqrt(1 / length / drawn.size)


def test_training_repeats_frames_of_short_videos_in_order():
    drawn = Sampling(8).indices(3, np.random.default_rng(0))
    assert len(drawn) == 8 and set(drawn.tolist()) == {0, 1, 2}
    assert (np.diff(drawn) >= 0).all()


def test_dense_runs():
    assert Sampling(4, "dense").indices(11).tolist() == [3, 4, 5, 6]  # 7 frames are left over, 3 before
    assert Sampling(3, "dense", stride=2).indices(9).tolist() == [2, 4, 6]
    assert Sampling(4, "dense", stride=2).indices(5).tolist() == [0, 2, 4, 4]
    rng = np.random.default_rng(0)
    drawn = np.stack([Sampling(4, "dense").indices(7, rng) for _ in range(200)])
    assert set(drawn[:, 0].tolist()) == {0, 1, 2, 3}
    assert (np.diff(drawn, axis=1) == 1).all()


@pytest.mark.parametrize("rule", ["segments", "uniform", "dense", "motion"])
def test_no_number_means_all_frames(rule):
    assert Sampling(0, rule).indices(5, np.random.default_rng(0)).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("options", [{"frames": -1}, {"rule": "random"}, {"stride": 0, "rule": "dense"}])
def test_what_cannot_be_sampled(options):
    with pytest.raises(ValueError, match="must be"):
        Sampling(**options)


@pytest.mark.parametrize(("rule", "length", "motion", "message"), [
    ("segments", 0, None, "at least 1 frame"),
    ("motion", 9, None, "needs 9 motion scores, got none"),
    ("motion", 3, np.ones(2), "needs 3 motion scores, got 2"),
])  # fmt: skip
def test_what_has_no_indices(rule, length, motion, message):
    with pytest.raises(ValueError, match=message):
        Sampling(4, rule).indices(length, motion=motion)
    with pytest.raises(ValueError, match="at least one score"):
        motion_indices(np.zeros(0), 3)


def plain_motion(video: torch.Tensor) -> list[float]:
    scores = [0.0]
    for before, after in zip(video[:-1].double(), video[1:].double(), strict=True):
        scores.append(float((after - before).abs().mean()))
    return scores


def plain_indices(scores: list[float], steps: list[float], power: float) -> list[int]:
    total = sum(score**power for score in scores)
    cumulative, running = [], 0.0
    for score in scores:
        running += score**power / total
        cumulative.append(running)
    return [min(range(len(cumulative)), key=lambda frame: abs(cumulative[frame] - step)) for step in steps]


def test_motion_sampling_against_a_plain_loop():
    generator = torch.Generator().manual_seed(0)
    for length in (2, 5, 17, 40):
        video = torch.randint(0, 256, (length, 3, 6, 5), dtype=torch.uint8, generator=generator)
        video[length // 2 :] = video[length // 2]  # nothing moves in the second half
        scores = motion_scores(video)
        np.testing.assert_allclose(scores, plain_motion(video), rtol=1e-12)
        for chunk in (1, 3, 100):
            np.testing.assert_array_equal(motion_scores(video, chunk), scores)
        for frames in (1, 4, 8):
            centres = [(2 * j + 1) / (2 * frames) for j in range(frames)]
            found = Sampling(frames, "motion").indices(length, motion=scores)
            assert found.tolist() == plain_indices(plain_motion(video), centres, 0.5)
            within = np.random.default_rng(3).random(frames)
            steps = [(j + within[j]) / frames for j in range(frames)]
            drawn = Sampling(frames, "motion").indices(length, np.random.default_rng(3), scores)
            assert drawn.tolist() == plain_indices(plain_motion(video), steps, 0.5)
            assert (np.diff(drawn) >= 0).all()


def test_motion_sampling_by_hand():
    # Shares of sqrt(0, 1, 9, 0, 16) are 0, 1/8, 3/8, 0, 4/8: cumulative 0, .125, .5, .5, 1.
    scores = np.array([0.0, 1.0, 9.0, 0.0, 16.0])
    assert motion_indices(scores, 2).tolist() == [1, 2]  # steps .25 and .75: of equals (.5, 1) the earlier
    assert motion_indices(scores, 4).tolist() == [1, 2, 2, 4]  # .125 .375 .625 .875
    assert motion_indices(scores, 2, mu=1.0).tolist() == [2, 4]  # 0, 1/26, 10/26, 10/26, 1: .25 and .75


def test_a_video_without_motion_is_sampled_evenly():
    still = torch.full((10, 3, 4, 4), 7, dtype=torch.uint8)
    assert Sampling(5, "motion").indices(10, motion=motion_scores(still)).tolist() == [0, 2, 4, 6, 8]
    assert motion_indices(np.zeros(1), 3).tolist() == [0, 0, 0]
