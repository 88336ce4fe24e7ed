"""AutoStep: the rule by hand, and what it does with objects that rest, move as expected, surprise, appear."""

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch

from location_anticipation.inference.auto_step import AutoStep, StepChooser, anticipated_motion, surprise
from location_anticipation.inference.stream import FrameDetections, VideoDetector

Place = Callable[[int], float | None]
World = Any  # the class of conftest.py


def run(model: Any, rule: AutoStep | int, count: int) -> list[FrameDetections]:
    return list(VideoDetector(model, rule, to_tensor=model.frame)(range(count)))


def keyframes(model: Any, rule: AutoStep, count: int = 120) -> list[int]:
    results = run(model, rule, count)
    assert [result.index for result in results] == list(range(count))
    found = [result.index for result in results if result.keyframe]
    assert found == model.seen
    for before, result in zip([None, *results], results, strict=False):
        assert result.step == (0 if result.keyframe or before is None else before.step + 1)
    return found


def steps(found: list[int]) -> list[int]:
    return [after - before for before, after in pairwise(found)]


def wandering(seed: int, stride: float = 12.0) -> Place:
    """A walk whose every step goes either way."""
    rng = random.Random(seed)
    places = [2000.0]
    for _ in range(400):
        places.append(places[-1] + rng.choice((-stride, stride)))
    return lambda t: places[t]


def test_nothing_moves_longest_step(world: World) -> None:
    assert steps(keyframes(world([lambda t: 100.0]), AutoStep())) == [9] * 13
    assert steps(keyframes(world([lambda t: 100.0]), AutoStep(max_step=4)))[:20] == [4] * 20
    assert steps(keyframes(world([]), AutoStep())) == [9] * 13


def test_fast_motion_that_comes_out_as_anticipated_becomes_long_steps(world: World) -> None:
    found = steps(keyframes(world([lambda t: 100 + 20.0 * t]), AutoStep()))
    assert found[0] == 1  # at first, motion is not to be trusted
    assert found[-8:] == [9] * 8
    assert found == sorted(found)


def test_unpredictable_motion_short_steps(world: World) -> None:
    found = steps(keyframes(world([wandering(0)], [0.0]), AutoStep()))
    assert sum(found[2:]) / len(found[2:]) < 1.5


def test_new_object_shortens_the_step_at_once_and_for_a_moment(world: World) -> None:
    places: list[Place] = [lambda t: 100.0, lambda t: 300.0 if t >= 40 else None]
    found = keyframes(world(places), AutoStep())
    first = next(t for t in found if t >= 40)
    assert first == 45
    after = steps([t for t in found if t >= first])
    assert after[0] <= 3 and after[-4:] == [9] * 4
    gone: list[Place] = [lambda t: 100.0, lambda t: None if t >= 40 else 300.0]
    vanished = keyframes(world(gone), AutoStep())
    assert steps([t for t in vanished if t >= 45])[0] <= 3


def test_turning_round_is_noticed(world: World) -> None:
    """Right at 12 pixels a frame, then left from frame 60 on, as the dog of figure 2.6 (b)."""

    def place(t: int) -> float:
        return 100 + 12.0 * (t if t < 60 else 120 - t)

    found = keyframes(world([place]), AutoStep())
    noticed = next(t for t in found if t > 60)
    assert steps([t for t in found if t <= 60])[-1] >= 7
    assert steps([t for t in found if t >= noticed])[0] <= 3


def test_share_of_keyframes_falls_with_the_tolerance(world: World) -> None:
    def scene() -> Any:
        places: list[Place] = [lambda t: 100.0, lambda t: 100 + 6.0 * t, wandering(1, 4.0), wandering(2, 8.0)]
        return world(places, [None, None, 0.0, 0.0])

    shares = [len(keyframes(scene(), AutoStep(tolerance=value), 300)) / 300 for value in (0, 0.02, 0.1, 0.2, 0.4, 1e9)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == 1 and shares[-1] == pytest.approx(1 / 9, abs=0.01)
    assert len(set(shares)) >= 5


def test_beats_a_fixed_step_where_motion_changes(world: World) -> None:
    """Half the time at rest, half wandering: at no more keyframes, boxes are closer."""
    walk = wandering(3, 6.0)

    def place(t: int) -> float:
        return walk(t) if t % 80 >= 40 else walk(40 + t // 80 * 80)

    def loss(rule: AutoStep | int) -> tuple[int, float]:
        model = world([place], [0.0])
        results = run(model, rule, 320)
        errors = [abs(float(result.boxes[0, 0]) - place(result.index)) for result in results]
        return len(model.seen), sum(errors) / len(errors)

    looks, error = loss(AutoStep())
    fixed = [loss(step) for step in range(1, 10)]
    rival = min(error for more_looks, error in fixed if more_looks < 320)  # step 2: every other frame
    assert looks < 160 and error < 0.8 * rival


def test_streams_are_independent_and_repeatable(world: World) -> None:
    detector = VideoDetector(world([wandering(4)], [0.0]), AutoStep(), to_tensor=world.frame)
    first = [result.step for result in detector(range(60))]
    together = [(a.step, b.step) for a, b in zip(detector(range(60)), detector(range(60)), strict=True)]
    assert together == [(step, step) for step in first]


def test_rule_by_hand() -> None:
    config = AutoStep(tolerance=0.1, prior=0.5, inertia=0.05, memory=0.5, drift=0.01)
    chooser = StepChooser(config)
    # One box of 10 x 10 that goes right by a pixel a frame: IoU with itself l later is (10 - l) / (10 + l).
    boxes = torch.tensor([[[float(x), 0, x + 10.0, 10] for x in range(5)]])
    label, score = torch.tensor([1]), torch.tensor([0.8])
    motion = [1 - (10 - x) / (10 + x) + 0.01 * x for x in range(5)]
    torch.testing.assert_close(anticipated_motion(boxes, score, 0.01), torch.tensor(motion))
    assert motion[1] == pytest.approx(2 / 11 + 0.01)
    # 0.5 m(1) = 0.096 is below the tolerance, 0.5 m(2) = 0.177 is not: frame 1 is skipped, frame 2 a keyframe.
    assert chooser.next_step(boxes, label, score) == 2
    # It is found at x = 4 where 2 was anticipated: IoU 8 / 12.
    found = torch.tensor([[[4.0, 0, 14, 10]] * 5])
    assert chooser.next_step(found, label, score) == 5
    assert chooser.surprise == pytest.approx(1 / 3)
    assert chooser.ratio == pytest.approx((0.025 + 1 / 3) / (0.05 + motion[2]), rel=1e-5)
    # rho is 0.89, and nothing is anticipated to move: 0.0089 a frame, below the tolerance on all four. Then it is found as
    # anticipated, but the memory of the surprise, halved, is worse than this keyframe alone.
    assert chooser.next_step(found, label, score) == 5
    assert chooser.surprise == 0
    assert chooser.ratio == pytest.approx((0.025 + 0.5 / 3) / (0.05 + 0.5 * motion[2] + 0.04), rel=1e-5)


def test_surprise_by_hand() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [100, 0, 110, 10]])
    labels, scores = torch.tensor([1, 2]), torch.tensor([0.9, 0.6])
    things, none = (boxes, labels, scores), (boxes[:0], labels[:0], scores[:0])
    assert surprise(none, none, 0.3) == 0
    assert surprise(things, things, 0.3) == 0
    assert surprise(things, none, 0.3) == surprise(none, things, 0.3) == 1
    # The first is found shifted by half (IoU 1/3), the second has another class: vanished, and one appeared.
    found = boxes + torch.tensor([[5.0, 0, 5, 0], [0, 0, 0, 0]])
    value = surprise(things, (found, torch.tensor([1, 1]), torch.tensor([0.7, 0.5])), 0.3)
    assert value == pytest.approx((0.9 * 2 / 3 + 0.6 + 0.5) / (0.9 + 0.6 + 0.5))
    assert surprise(things, (found, labels, scores), 0.4) == pytest.approx((0.9 + 0.9) / (0.9 + 0.6 + 0.9))


def test_weak_boxes_and_boxes_outside_do_not_count() -> None:
    still = torch.tensor([[[0.0, 0, 10, 10]] * 9])
    chooser = StepChooser(AutoStep())
    chooser.next_step(still, torch.tensor([1]), torch.tensor([0.4]))
    assert chooser.next_step(still[:0], torch.zeros(0, dtype=torch.int64), torch.zeros(0)) == 9
    assert chooser.surprise == 0
    leaving = torch.tensor([[[max(0.0, 8 - 2 * step), 0, max(0.0, 10 - 2 * step), 10] for step in range(9)]])
    chooser = StepChooser(AutoStep(tolerance=1e9))
    chooser.next_step(leaving, torch.tensor([1]), torch.tensor([0.9]))
    chooser.next_step(still[:0], torch.zeros(0, dtype=torch.int64), torch.zeros(0))
    assert chooser.surprise == 0  # it left the image as anticipated


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"max_step": 0}, "max_step must be at least 1"),
        ({"tolerance": -0.1}, "tolerance must be 0 or more"),
        ({"tolerance": float("nan")}, "tolerance must be 0 or more"),
        ({"drift": 0.0}, "drift must be above 0"),
        ({"inertia": 0.0}, "inertia must be above 0"),
        ({"confident": 1.5}, "confident must be in"),
        ({"memory": 1.0}, "memory must be in"),
    ],
)
def test_refuses_settings_out_of_range(setting: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AutoStep(**setting)


def test_a_plain_detector_looks_at_every_frame(world: World) -> None:
    model = world([lambda t: 100.0])
    model.horizon = 0
    assert keyframes(model, AutoStep(), 5) == [0, 1, 2, 3, 4]
