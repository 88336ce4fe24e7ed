"""Kinds of frames: how many, in which runs, and that every arrangement can come."""

import numpy as np
import pytest

from synthetic_datasets.motion.insertions import BACKGROUND, KINDS, MOTION, fewest_motion_frames, frame_kinds, runs_of

SHARES = (0.1875, 0.1875, 0.1875)


def many(frames: int, shares: tuple[float, float, float], spread: float, runs: tuple[int, int]) -> np.ndarray:
    return np.stack([frame_kinds(frames, shares, spread, runs, np.random.default_rng(seed)) for seed in range(400)])


def test_counts_of_kinds_and_runs() -> None:
    assert KINDS == ("motion", "background", "black", "distractor") and KINDS[MOTION] == "motion"
    kinds = many(32, SHARES, 0.5, (1, 3))
    for kind in (1, 2, 3):
        counts = (kinds == kind).sum(axis=1)
        assert (counts.min(), counts.max()) == (3, 9)
        assert counts.mean() == pytest.approx(6, abs=0.3)
    assert (kinds == MOTION).sum(axis=1).min() >= fewest_motion_frames(32, SHARES, 0.5) == 5
    kinds = many(1000, (0.1, 0.2, 0.3), 0.0, (1, 4))
    assert [(kinds == kind).sum(axis=1).tolist() for kind in (1, 2, 3)] == [[n] * 400 for n in (100, 200, 300)]
    assert fewest_motion_frames(1000, (0.1, 0.2, 0.3), 0.0) == 400
    # Of a single kind no two runs of it are told apart where they meet, so there may be fewer, never more.
    for row in many(64, (0.2, 0.0, 0.0), 0.0, (2, 4)):
        runs = [run for run in runs_of(row) if run[0] == BACKGROUND]
        assert 1 <= len(runs) <= 4 and sum(length for _, _, length in runs) == 13
    counts = [len(runs_of(row)) for row in many(1000, (0.01, 0.0, 0.0), 0.0, (3, 3))]
    assert np.mean([count in (6, 7) for count in counts]) > 0.95, "three runs, seldom meeting, among a thousand frames"
    assert (many(10, (0.2, 0.0, 0.0), 0.0, (5, 9)) == BACKGROUND).sum(axis=1).tolist() == [2] * 400


def test_every_arrangement_is_as_likely() -> None:
    rows = [tuple(frame_kinds(3, (1 / 3, 0, 0), 0, (1, 1), np.random.default_rng(s)).tolist()) for s in range(3000)]
    counts = [rows.count(row) for row in sorted(set(rows))]
    assert len(counts) == 3 and min(counts) > 900


def test_runs_of_is_a_plain_loop() -> None:
    for seed in range(50):
        kinds = np.random.default_rng(seed).integers(0, 3, 20).astype(np.uint8)
        expected: list[tuple[int, int, int]] = []
        for place, kind in enumerate(kinds.tolist()):
            if expected and expected[-1][0] == kind:
                expected[-1] = (kind, expected[-1][1], expected[-1][2] + 1)
            else:
                expected.append((kind, place, 1))
        assert runs_of(kinds) == expected
    assert runs_of(np.array([2], np.uint8)) == [(2, 0, 1)]
