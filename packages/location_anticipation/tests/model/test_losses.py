"""Equations 2.1 to 2.4 against plain loops, their limiting cases and the derivation of appendix 2.6.1."""

import math

import pytest
import torch
from torch import Tensor

from location_anticipation.model.losses import (
    bag_of_boxes_loss,
    bag_of_offsets_loss,
    cumulative_offset_loss,
    trajectory_loss,
)
from location_anticipation.model.offsets import offset_space

SPACES = pytest.mark.parametrize("name", ["image", "coder"])
N, T = 3, 4
Box = list[float]


def samples(name: str) -> tuple[Tensor, Tensor, Tensor]:
    """True boxes (N, T+1, 4), predicted keyframe boxes (N, 4) and predicted offsets (N, T, 4) in float64."""
    generator = torch.Generator().manual_seed(3)

    def rand(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    corner, size = 50 * rand(N, T + 1, 2), 8 + 20 * rand(N, T + 1, 2)
    true = torch.cat((corner, corner + size), dim=-1)
    key = true[:, 0] + rand(N, 4) - 0.5
    return true, key, (6 if name == "image" else 1) * (rand(N, T, 4) - 0.5)


# The reference: one number at a time, written from the equations with no use of the package.


def smooth_l1(x: float, beta: float) -> float:
    return 0.5 * x * x / beta if abs(x) < beta else abs(x) - 0.5 * beta


def offset(name: str, reference: Box, box: Box) -> list[float]:
    (a, b, c, d), (e, f, g, h) = reference, box
    if name == "image":
        return [e - a, f - b, (g - e) - (c - a), (h - f) - (d - b)]
    w, height = c - a, d - b
    return [
        10 * ((e + g) / 2 - (a + c) / 2) / w,
        10 * ((f + h) / 2 - (b + d) / 2) / height,
        5 * math.log((g - e) / w),
        5 * math.log((h - f) / height),
    ]


def move(name: str, box: Box, delta: list[float]) -> Box:
    """The next box along the trajectory."""
    a, b, c, d = box
    w, h = c - a, d - b
    if name == "image":
        x, y, w, h = a + delta[0], b + delta[1], w + delta[2], h + delta[3]
        return [x, y, x + w, y + h]
    cx, cy = (a + c) / 2 + delta[0] / 10 * w, (b + d) / 2 + delta[1] / 10 * h
    w, h = w * math.exp(delta[2] / 5), h * math.exp(delta[3] / 5)
    return [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]


def loop_bag(name: str, true: list[Box], key: Box, displacements: list[Box], valid: list[bool], beta: float) -> float:
    total = 0.0
    for step in range(len(true)):  # l = 0..T
        predicted = displacements[step - 1] if step else [0.0] * 4
        if valid[step]:
            total += sum(smooth_l1(a - b, beta) for a, b in zip(offset(name, key, true[step]), predicted, strict=True))
    return total


def loop_sigma(name: str, true: list[Box], key: Box, offsets: list[Box], valid: list[bool], beta: float) -> float:
    total, box = 0.0, key
    for step in range(len(true)):
        box = move(name, box, offsets[step - 1]) if step else key
        if valid[step]:
            reached = offset(name, key, box)
            total += sum(smooth_l1(a - b, beta) for a, b in zip(offset(name, key, true[step]), reached, strict=True))
    return total


def loop_bag_delta(name: str, true: list[Box], _: Box, offsets: list[Box], valid: list[bool], beta: float) -> float:
    total = 0.0
    for step in range(1, len(true)):
        if valid[step] and valid[step - 1]:
            wanted = offset(name, true[step - 1], true[step])
            total += sum(smooth_l1(a - b, beta) for a, b in zip(wanted, offsets[step - 1], strict=True))
    return total


@SPACES
@pytest.mark.parametrize("beta", [1.0, 0.3])
@pytest.mark.parametrize("masked", [False, True])
def test_equations_equal_plain_loops(name: str, beta: float, masked: bool) -> None:
    true, key, offsets = samples(name)
    valid = torch.ones(N, T + 1, dtype=torch.bool)
    if masked:
        valid[0, 2] = valid[1, 3:] = valid[2, 0] = False
    mask = valid if masked else None
    objects = list(zip(true.tolist(), key.tolist(), offsets.tolist(), valid.tolist(), strict=True))
    loops = (loop_bag, loop_sigma, loop_bag_delta)
    bag, sigma, bag_delta = ([loop(name, *facts, beta) for facts in objects] for loop in loops)
    options = {"space": offset_space(name), "beta": beta}
    # Equation 2.1
    assert bag_of_boxes_loss(true, key, offsets, mask, **options).tolist() == pytest.approx(bag)
    # Equation 2.2
    assert cumulative_offset_loss(true, key, offsets, mask, **options).tolist() == pytest.approx(sigma)
    # Equation 2.3
    assert bag_of_offsets_loss(true, offsets, mask, **options).tolist() == pytest.approx(bag_delta)
    # Equation 2.4
    expected = [a + b for a, b in zip(sigma, bag_delta, strict=True)]
    assert trajectory_loss(true, key, offsets, mask, **options).tolist() == pytest.approx(expected)


def test_the_numbers_of_a_trajectory_that_is_thought_to_stand_still() -> None:
    # One pixel to the right every frame; predicted: no motion. Residuals 0, 1, 2 along the way, 1 from step to step.
    true = torch.tensor([[[4.0, 4, 14, 14], [5, 4, 15, 14], [6, 4, 16, 14]]])
    still = torch.zeros(1, 2, 4)
    assert bag_of_boxes_loss(true, true[:, 0], still).item() == 0 + 0.5 + 1.5
    assert cumulative_offset_loss(true, true[:, 0], still).item() == 0 + 0.5 + 1.5
    assert bag_of_offsets_loss(true, still).item() == 0.5 + 0.5
    assert trajectory_loss(true, true[:, 0], still).item() == 3.0


@SPACES
def test_predicting_boxes_reduces_equation_2_2_to_2_1(name: str) -> None:
    """Appendix 2.6.1: with delta_{t+k} = B_{t+k} - B_{t+k-1} the cumulative loss is the bag of boxes."""
    true, key, _ = samples(name)
    space = offset_space(name)
    predicted = (true[:, 1:] + 3 * torch.rand(N, T, 4, generator=torch.Generator().manual_seed(4))).requires_grad_()
    offsets = space.pairwise(torch.cat((key[:, None], predicted), dim=1))
    sigma = cumulative_offset_loss(true, key, offsets, space=space)
    bag = bag_of_boxes_loss(true, key, space.displacement(key, predicted), space=space)
    torch.testing.assert_close(sigma, bag)
    gradients = [torch.autograd.grad(loss.sum(), predicted)[0] for loss in (sigma, bag)]
    torch.testing.assert_close(*gradients)


def test_the_cumulative_loss_pulls_the_keyframe_box_once_per_step() -> None:
    # Exact offsets, keyframe box 0.1 px too far right: every one of the T+1 terms is 0.5 * 0.1^2, its slope 0.1.
    true = torch.tensor([[[4.0 + step, 4, 14 + step, 14] for step in range(T + 1)]], dtype=torch.float64)
    key = (true[:, 0] + torch.tensor([0.1, 0, 0.1, 0])).requires_grad_()
    offsets = torch.tensor([[[1.0, 0, 0, 0]] * T], dtype=torch.float64)
    loss = cumulative_offset_loss(true, key, offsets)
    assert loss.item() == pytest.approx((T + 1) * 0.005)
    loss.sum().backward()
    assert key.grad is not None
    assert key.grad[0, 0].item() == pytest.approx((T + 1) * 0.1)


@SPACES
def test_gradients(name: str) -> None:
    true, key, offsets = samples(name)
    space = offset_space(name)
    inputs = (key.requires_grad_(), offsets.requires_grad_())
    for function in (bag_of_boxes_loss, cumulative_offset_loss, trajectory_loss):
        assert torch.autograd.gradcheck(lambda k, o, f=function: f(true, k, o, space=space), inputs)
    assert torch.autograd.gradcheck(lambda o: bag_of_offsets_loss(true, o, space=space), inputs[1:])


@SPACES
def test_absent_at_the_end_is_a_shorter_trajectory(name: str) -> None:
    true, key, offsets = samples(name)
    valid = torch.ones(N, T + 1, dtype=torch.bool)
    valid[:, 3:] = False
    space = offset_space(name)
    torch.testing.assert_close(
        trajectory_loss(true, key, offsets, valid, space=space),
        trajectory_loss(true[:, :3], key, offsets[:, :2], space=space),
    )


def test_no_future_steps_leaves_the_keyframe_term() -> None:
    true, key, offsets = samples("image")
    true, offsets = true[:, :1], offsets[:, :0]
    alone = cumulative_offset_loss(true, key, offsets)
    wanted = [loop_sigma("image", true[i].tolist(), key[i].tolist(), [], [True], 1.0) for i in range(N)]
    assert alone.tolist() == pytest.approx(wanted)
    assert float(alone.min()) > 0
    assert torch.equal(bag_of_boxes_loss(true, key, offsets), alone)
    assert bag_of_offsets_loss(true, offsets).tolist() == [0.0] * N
    assert torch.equal(trajectory_loss(true, key, offsets), alone)


def test_what_does_not_fit_is_refused() -> None:
    true, key, offsets = samples("image")
    with pytest.raises(ValueError, match=r"true_boxes must be \(N, T\+1, 4\), got \(3, 4\)"):
        trajectory_loss(true[:, 0], key, offsets)
    with pytest.raises(ValueError, match=r"predictions for l = 1..T must be \(3, 4, 4\), got \(3, 3, 4\)"):
        bag_of_boxes_loss(true, key, offsets[:, 1:])
    with pytest.raises(ValueError, match=r"valid must be bool \(3, 5\), got torch.float32 \(3, 5\)"):
        cumulative_offset_loss(true, key, offsets, torch.ones(N, T + 1))
    with pytest.raises(ValueError, match=r"valid must be bool \(3, 5\), got torch.bool \(3, 4\)"):
        bag_of_offsets_loss(true, offsets, torch.ones(N, T, dtype=torch.bool))
