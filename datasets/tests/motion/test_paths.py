"""Border rules against plain loops and limiting cases."""

import math

import numpy as np
import pytest

from synthetic_datasets.motion.paths import Border, trajectory, velocity, whole_pixels

LIMIT = np.array([36.0, 20.0])


def starts_and_steps() -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [(LIMIT * rng.random(2), velocity(2 * math.pi * rng.random(), 5 * rng.random())) for _ in range(50)]


def test_velocity_and_rounding() -> None:
    assert velocity(0, 2).tolist() == [2, 0]
    assert velocity(math.pi / 2, 2).tolist() == [0, 2]
    assert velocity(math.pi, 2).tolist() == [-2, 0]
    assert velocity(math.radians(36), 2) == pytest.approx([1.618034, 1.175571], abs=1e-6)
    assert whole_pixels(np.array([0.5, 1.5, 2.49, -0.5, -0.51])).tolist() == [1, 2, 2, 0, -1]


def test_hold_equals_a_loop_that_clamps_every_step() -> None:
    for start, step in starts_and_steps():
        at, expected = start.copy(), []
        for _ in range(40):
            expected.append(at.copy())
            at = np.clip(at + step, 0, LIMIT)
        assert trajectory(start, step, 40, LIMIT, "hold") == pytest.approx(np.array(expected), abs=1e-9)


def test_bounce_equals_a_loop_that_turns_back() -> None:
    for start, step in starts_and_steps():
        at, way, expected = start.copy(), step.copy(), []
        for _ in range(60):
            expected.append(at.copy())
            at = at + way
            for axis in range(2):
                if at[axis] < 0:
                    at[axis], way[axis] = -at[axis], -way[axis]
                if at[axis] > LIMIT[axis]:
                    at[axis], way[axis] = 2 * LIMIT[axis] - at[axis], -way[axis]
        assert trajectory(start, step, 60, LIMIT, "bounce") == pytest.approx(np.array(expected), abs=1e-9)


def test_stop_ends_at_the_first_touch_and_on_the_line() -> None:
    for start, step in starts_and_steps():
        way = trajectory(start, step, 400, LIMIT, "stop")
        moved = way - start
        assert (way > -1e-9).all() and (way < LIMIT + 1e-9).all()
        assert moved[:, 0] * step[1] == pytest.approx(moved[:, 1] * step[0], abs=1e-6)
        if np.abs(step).max() > 0.2:
            assert min(abs(way[-1]).min(), abs(way[-1] - LIMIT).min()) < 1e-9


def test_leave_is_free_motion() -> None:
    way = trajectory(np.array([1.0, 2.0]), np.array([-2.0, 0.5]), 5, LIMIT, "leave")
    assert way.tolist() == [[1, 2], [-1, 2.5], [-3, 3], [-5, 3.5], [-7, 4]]


@pytest.mark.parametrize("border", ["hold", "stop", "bounce"])
def test_a_patch_as_large_as_the_frame_stays(border: Border) -> None:
    way = trajectory(np.zeros(2), np.array([1.5, -0.7]), 30, np.zeros(2), border)
    assert way == pytest.approx(np.zeros((30, 2)))


@pytest.mark.parametrize("border", ["hold", "stop", "bounce", "leave"])
def test_no_speed_no_motion(border: Border) -> None:
    way = trajectory(np.array([3.0, 4.0]), velocity(1.0, 0.0), 6, LIMIT, border)
    assert way == pytest.approx(np.tile([3.0, 4.0], (6, 1)))
