"""Equations 2.1 to 2.4 against plain loops, and the offset spaces they are written in."""

import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck
from torchvision.models.detection._utils import BoxCoder

from location_anticipation.criterion import LOSSES, TrajectoryCriterion
from location_anticipation.losses import (
    bag_of_boxes_loss,
    bag_of_offsets_loss,
    cumulative_offset_loss,
    trajectory_loss,
)
from location_anticipation.offsets import CoderSpace, ImageSpace, OffsetSpace, offset_space

SPACES = [ImageSpace(), CoderSpace()]
N, T = 3, 4


def boxes(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(*shape, 2, generator=generator, dtype=torch.float64) * 50
    size = 10 + torch.rand(*shape, 2, generator=generator, dtype=torch.float64) * 20
    return torch.cat((corner, corner + size), dim=-1)


def offsets(seed: int = 1) -> Tensor:
    return torch.randn(N, T, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def smooth_l1(x: float) -> float:
    return 0.5 * x * x if abs(x) < 1 else abs(x) - 0.5


def xywh(box: Tensor) -> list[float]:
    x1, y1, x2, y2 = box.tolist()
    return [x1, y1, x2 - x1, y2 - y1]


def test_equations_2_1_to_2_4_in_pixels() -> None:
    true, key, delta = boxes(N, T + 1), boxes(N, seed=2), offsets()
    bag, sigma, bag_delta = [0.0] * N, [0.0] * N, [0.0] * N
    for i in range(N):
        for step in range(T + 1):
            for c in range(4):
                from_key = xywh(true[i, step])[c] - xywh(key[i])[c]
                summed = sum(delta[i, k - 1, c].item() for k in range(1, step + 1))
                alone = delta[i, step - 1, c].item() if step else 0.0
                sigma[i] += smooth_l1(from_key - summed)
                bag[i] += smooth_l1(from_key - alone)
                if step:
                    moved = xywh(true[i, step])[c] - xywh(true[i, step - 1])[c]
                    bag_delta[i] += smooth_l1(moved - alone)
    assert bag_of_boxes_loss(true, key, delta).tolist() == pytest.approx(bag)
    assert cumulative_offset_loss(true, key, delta).tolist() == pytest.approx(sigma)
    assert bag_of_offsets_loss(true, delta).tolist() == pytest.approx(bag_delta)
    both = [a + b for a, b in zip(sigma, bag_delta, strict=True)]
    assert trajectory_loss(true, key, delta).tolist() == pytest.approx(both)


@pytest.mark.parametrize("space", SPACES, ids=["image", "coder"])
def test_predicting_boxes_makes_the_cumulative_loss_the_bag_loss(space: OffsetSpace) -> None:
    """Appendix 2.6.1: with offsets that are differences of predicted boxes, (2.2) reduces to (2.1)."""
    true, predicted = boxes(N, T + 1), boxes(N, T + 1, seed=3)
    key = predicted[:, 0]
    from_boxes = bag_of_boxes_loss(true, key, space.displacement(key, predicted[:, 1:]), space=space)
    from_offsets = cumulative_offset_loss(true, key, space.pairwise(predicted), space=space)
    torch.testing.assert_close(from_boxes, from_offsets)


@pytest.mark.parametrize("space", SPACES, ids=["image", "coder"])
def test_the_truth_costs_nothing(space: OffsetSpace) -> None:
    true = boxes(N, T + 1)
    assert trajectory_loss(true, true[:, 0], space.pairwise(true), space=space).abs().max() < 1e-12
    torch.testing.assert_close(space.apply(true[:, 0], space.accumulate(space.pairwise(true))), true[:, 1:])


def test_coder_space_is_the_chain_of_torchvisions_box_coder() -> None:
    coder, space = BoxCoder((10.0, 10.0, 5.0, 5.0)), CoderSpace()
    key, delta = boxes(N), offsets() * 0.5
    box, chain = key, []
    for step in range(T):
        box = coder.decode_single(delta[:, step], box)
        chain.append(box)
    torch.testing.assert_close(space.apply(key, space.accumulate(delta)), torch.stack(chain, dim=1))
    true = boxes(N, T + 1)
    encoded = coder.encode_single(true[:, 1:].reshape(-1, 4), true[:, :-1].reshape(-1, 4))
    torch.testing.assert_close(space.pairwise(true), encoded.view(N, T, 4))


@pytest.mark.parametrize("space", SPACES, ids=["image", "coder"])
def test_gradients(space: OffsetSpace) -> None:
    true, key, delta = boxes(N, T + 1), boxes(N, seed=2).requires_grad_(), offsets().requires_grad_()
    assert gradcheck(lambda k, d: trajectory_loss(true, k, d, space=space), (key, delta))
    assert gradcheck(lambda k, d: bag_of_boxes_loss(true, k, d, space=space), (key, delta))


@pytest.mark.parametrize("space", SPACES, ids=["image", "coder"])
def test_absent_steps_cost_nothing_whatever_they_hold(space: OffsetSpace) -> None:
    true, key = boxes(N, T + 1), boxes(N, seed=2)
    valid = torch.ones(N, T + 1, dtype=torch.bool)
    valid[0, 2:], valid[1, 3] = False, False
    holes = true.clone()
    holes[~valid] = torch.nan
    results = []
    for truth in (true, holes):
        delta = offsets().requires_grad_()
        loss = trajectory_loss(truth, key, delta, valid, space=space)
        loss.sum().backward()
        results.append((loss.detach(), delta.grad))
    for a, b in zip(*results, strict=True):
        assert a is not None and b is not None and torch.isfinite(b).all()
        torch.testing.assert_close(a, b)
    grad = results[0][1]
    assert grad is not None
    assert grad[0, 2:].abs().max() == 0, "no annotated step depends on the last offsets of object 0"
    assert grad[1, 2].abs().max() > 0, "step 4 of object 1 is annotated and rests on offset 3"


def test_no_steps_and_no_objects() -> None:
    key = boxes(N, seed=2)
    true = boxes(N, 1)
    none = torch.zeros(N, 0, 4, dtype=torch.float64)
    plain = torch.nn.functional.smooth_l1_loss(
        ImageSpace().displacement(key, true)[:, 0], torch.zeros(N, 4, dtype=torch.float64), reduction="none"
    ).sum(1)
    torch.testing.assert_close(trajectory_loss(true, key, none), plain)
    assert trajectory_loss(boxes(0, T + 1), boxes(0), torch.zeros(0, T, 4, dtype=torch.float64)).shape == (0,)


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(ValueError, match=r"\(3, 4, 4\), got \(3, 5, 4\)"):
        trajectory_loss(boxes(N, T + 1), boxes(N), torch.zeros(N, T + 1, 4))
    with pytest.raises(ValueError, match="valid must be bool"):
        trajectory_loss(boxes(N, T + 1), boxes(N), offsets(), torch.ones(N, T + 1))
    with pytest.raises(ValueError, match="true_boxes must be"):
        trajectory_loss(boxes(N), boxes(N), offsets())
    with pytest.raises(ValueError, match="must be one of"):
        offset_space("polar")


@pytest.mark.parametrize("space", ["image", "coder"])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_criterion_at_zero_loss_decodes_to_the_truth(loss: str, space: str) -> None:
    """Loss and decoding agree on what the head's outputs mean, their unit included."""
    criterion = TrajectoryCriterion(loss=loss, space=space)
    true = boxes(N, T + 1)
    key, offset = true[:, 0], criterion.offsets
    unit = offset.from_raw(key, torch.ones(N, T, 4, dtype=torch.float64))
    wanted = offset.displacement(key, true[:, 1:]) if loss == "bag" else offset.pairwise(true)
    raw = wanted / unit
    assert criterion(true, key, raw, torch.ones(N, T + 1, dtype=torch.bool)).abs().max() < 1e-12
    torch.testing.assert_close(criterion.decode(key, raw), true[:, 1:])
    assert criterion(true, key, raw + 1, torch.ones(N, T + 1, dtype=torch.bool)).min() > 1e-3


def test_zero_output_is_no_motion() -> None:
    key = boxes(N)
    for loss in LOSSES:
        for space in ("image", "coder"):
            still = TrajectoryCriterion(loss=loss, space=space).decode(key, torch.zeros(N, T, 4, dtype=torch.float64))
            torch.testing.assert_close(still, key[:, None].expand(N, T, 4))


def test_which_keyframe_box_gets_a_gradient() -> None:
    true, valid, raw = boxes(N, T + 1), torch.ones(N, T + 1, dtype=torch.bool), offsets()
    for keyframe, moves in (("predicted", True), ("detached", False), ("true", False)):
        key = boxes(N, seed=2).requires_grad_()
        loss = TrajectoryCriterion(keyframe=keyframe)(true, key, raw.clone().requires_grad_(), valid).sum()
        (gradient,) = torch.autograd.grad(loss, key, allow_unused=True)
        assert (gradient is not None and bool(gradient.abs().max() > 0)) == moves, keyframe


def test_measuring_from_the_true_keyframe_ignores_the_predicted_one() -> None:
    true, valid = boxes(N, T + 1), torch.ones(N, T + 1, dtype=torch.bool)
    criterion = TrajectoryCriterion(keyframe="true")
    torch.testing.assert_close(
        criterion(true, boxes(N, seed=5), offsets(), valid), criterion(true, boxes(N, seed=6), offsets(), valid)
    )


def test_the_releases_random_end() -> None:
    """One cumulative term at an end step drawn from 1..T-1, offsets up to it, nothing after."""
    true, key, raw = boxes(N, T + 1), boxes(N, seed=2), offsets()
    valid = torch.ones(N, T + 1, dtype=torch.bool)
    space = CoderSpace()
    delta = space.from_raw(key, raw)
    expected = []
    for end in range(1, T):
        at_end = torch.zeros_like(valid)
        at_end[:, end] = True
        up_to = torch.arange(T + 1) <= end
        expected.append(
            cumulative_offset_loss(true, key, delta, at_end, space=space)
            + bag_of_offsets_loss(true, delta, up_to.expand(N, -1), space=space)
        )
    criterion = TrajectoryCriterion(space="coder", cumulative_end="random", keyframe="detached")
    torch.manual_seed(0)
    seen = {min(range(T - 1), key=lambda e: (criterion_value - expected[e]).abs().sum().item()) for criterion_value in
            (criterion(true, key, raw, valid) for _ in range(40))}  # fmt: skip
    assert seen == set(range(T - 1))
    value = criterion(true, key, raw, valid)
    assert min((value - e).abs().max().item() for e in expected) < 1e-9


@pytest.mark.parametrize(
    "wrong", [{"loss": "giou"}, {"space": "polar"}, {"cumulative_end": "last"}, {"keyframe": "next"}]
)
def test_names_that_do_not_exist(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong.values()))):
        TrajectoryCriterion(**wrong)


def test_the_unit_of_the_outputs_is_a_tenth_of_the_box_over_the_trajectory() -> None:
    key = torch.tensor([[10.0, 20.0, 38.0, 34.0]])
    last = TrajectoryCriterion().decode(key, torch.ones(1, T, 4))[0, -1]
    # x, y, w and h have each grown by a tenth of width or height
    assert last.tolist() == pytest.approx([12.8, 21.4, 12.8 + 30.8, 21.4 + 15.4])
    assert math.isclose(float(CoderSpace().from_raw(key, torch.ones(1, T, 4)).sum(1)[0, 0]), 1.0)
