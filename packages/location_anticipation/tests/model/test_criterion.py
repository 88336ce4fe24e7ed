"""The trajectory criterion: a loss by name and the decoding that goes with it."""

from typing import get_args

import pytest
import torch
from torch import Tensor

from location_anticipation.model.config import Loss
from location_anticipation.model.criterion import TrajectoryCriterion
from location_anticipation.model.losses import (
    bag_of_boxes_loss,
    bag_of_offsets_loss,
    cumulative_offset_loss,
    trajectory_loss,
)
from location_anticipation.model.offsets import offset_space

N, T = 3, 4
LOSS = pytest.mark.parametrize("loss", get_args(Loss))
SPACES = pytest.mark.parametrize("space", ["image", "coder"])


def samples() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """True boxes (N, T+1, 4), keyframe boxes (N, 4), raw outputs (N, T, 4), validity (N, T+1)."""
    generator = torch.Generator().manual_seed(0)
    corner = 40 * torch.rand(N, T + 1, 2, generator=generator)
    true = torch.cat((corner, corner + 10 + 10 * torch.rand(N, T + 1, 2, generator=generator)), dim=-1)
    valid = torch.ones(N, T + 1, dtype=torch.bool)
    valid[0, 3:] = False
    return true, true[:, 0] + 0.5, torch.randn(N, T, 4, generator=generator), valid


def unit(space: str, key: Tensor, horizon: int = T) -> Tensor:
    """What an output of 1 is: a tenth of the keyframe box spread over T steps, or a T-th box-coder delta. (N, 1, 4)"""
    size = key[:, 2:] - key[:, :2] if space == "image" else torch.full((len(key), 2), 10.0)
    return 0.1 * torch.cat((size, size), dim=1)[:, None] / horizon


@SPACES
@LOSS
def test_what_makes_the_loss_zero_decodes_to_the_true_boxes(loss: str, space: str) -> None:
    true, _, _, valid = samples()
    criterion, offsets = TrajectoryCriterion(loss, space), offset_space(space)
    key = true[:, 0]
    raw = (offsets.displacement(key, true[:, 1:]) if loss == "bag" else offsets.pairwise(true)) / unit(space, key)
    torch.testing.assert_close(criterion(true, key, raw, valid), torch.zeros(N), atol=1e-5, rtol=0)
    torch.testing.assert_close(criterion.decode(key, raw), true[:, 1:], atol=1e-3, rtol=0)


@SPACES
def test_names_are_the_equations(space: str) -> None:
    true, key, raw, valid = samples()
    options = {"space": offset_space(space), "beta": 0.7}
    delta = raw * unit(space, key)
    expected = {
        "bag": bag_of_boxes_loss(true, key, delta, valid, **options),
        "sigma": cumulative_offset_loss(true, key, delta, valid, **options),
        "bag_delta": bag_of_offsets_loss(true, delta, valid, **options),
        "traj": trajectory_loss(true, key, delta, valid, **options),
    }
    assert set(expected) == set(get_args(Loss))
    for name, value in expected.items():
        torch.testing.assert_close(TrajectoryCriterion(name, space, beta=0.7)(true, key, raw, valid), value)


@LOSS
def test_boxes_of_a_constant_output(loss: str) -> None:
    key = torch.tensor([[10.0, 10, 30, 40]])
    boxes = TrajectoryCriterion(loss).decode(key, torch.tensor([[[3.0, 0, 0, 0]] * 3]))
    moved = [2, 2, 2] if loss == "bag" else [2, 4, 6]  # boxes on their own, or offsets that add up
    assert boxes[0, :, 0].tolist() == pytest.approx([10 + x for x in moved])


@SPACES
@LOSS
def test_an_output_of_zero_is_no_motion(loss: str, space: str) -> None:
    key = samples()[1]
    still = TrajectoryCriterion(loss, space).decode(key, torch.zeros(N, T, 4))
    torch.testing.assert_close(still, key[:, None].expand(N, T, 4))


@SPACES
@pytest.mark.parametrize("loss", ["bag", "sigma", "traj"])
def test_which_keyframe_box_the_loss_measures_from_and_moves(loss: str, space: str) -> None:
    true, key, raw, valid = samples()
    values = {}
    for keyframe, moves in (("predicted", True), ("detached", False), ("true", False)):
        k, r = key.clone().requires_grad_(), raw.clone().requires_grad_()
        value = TrajectoryCriterion(loss, space, keyframe=keyframe)(true, k, r, valid)
        value.sum().backward()
        assert (k.grad is not None and bool((k.grad != 0).any())) is moves
        assert r.grad is not None and bool((r.grad != 0).any())
        values[keyframe] = value.detach()
    assert torch.equal(values["predicted"], values["detached"])
    assert not torch.allclose(values["predicted"], values["true"])
    from_truth = TrajectoryCriterion(loss, space)(true, true[:, 0], raw, valid)
    assert torch.equal(values["true"], from_truth)


@SPACES
@LOSS
@pytest.mark.parametrize("absent", [(0, 2), (0, 0), (1, T)], ids=["between", "keyframe", "end"])
@pytest.mark.parametrize("content", [float("nan"), float("inf"), 1e6, 0.0])
def test_what_an_absent_step_holds_changes_nothing(
    loss: str, space: str, absent: tuple[int, int], content: float
) -> None:
    true, key, raw, valid = samples()
    valid[:] = True
    valid[absent] = False
    results = []
    for held in (true[absent].clone(), content):
        true[absent] = held
        k, r = key.clone().requires_grad_(), raw.clone().requires_grad_()
        value = TrajectoryCriterion(loss, space)(true, k, r, valid)
        results.append([value.detach(), *torch.autograd.grad(value.sum(), (k, r), allow_unused=True)])
    for before, after in zip(*results, strict=True):
        assert before is after is None or (after.isfinite().all() and torch.equal(before, after))


def end_of(raw: Tensor) -> int:
    """The last step that got a gradient."""
    assert raw.grad is not None
    return 1 + int(raw.grad.abs().sum(dim=(0, 2)).nonzero().max())


@pytest.mark.parametrize("loss", ["sigma", "traj"])
def test_random_end_is_one_cumulative_term_and_nothing_later(loss: str) -> None:
    true, key, raw, _ = samples()
    valid = torch.ones(N, T + 1, dtype=torch.bool)
    criterion = TrajectoryCriterion(loss, cumulative_end="random")
    ends = set()
    with torch.random.fork_rng():
        for seed in range(30):
            torch.manual_seed(seed)
            r = raw.clone().requires_grad_()
            value = criterion(true, key, r, valid)
            value.sum().backward()
            end = end_of(r)
            ends.add(end)
            delta = raw * unit("image", key)
            # The term of step `end` alone is the whole sum up to it less the sum up to the step before.
            whole = cumulative_offset_loss(true[:, : end + 1], key, delta[:, :end])
            expected = whole - cumulative_offset_loss(true[:, :end], key, delta[:, : end - 1])
            if loss == "traj":
                expected = expected + bag_of_offsets_loss(true[:, : end + 1], delta[:, :end])
            torch.testing.assert_close(value.detach(), expected)
    assert ends == set(range(1, T))  # 1..T-1, as the release draws it


def test_random_end_follows_the_seed_and_takes_the_only_step_there_is() -> None:
    true, key, raw, valid = samples()
    criterion = TrajectoryCriterion("sigma", cumulative_end="random")
    with torch.random.fork_rng():
        torch.manual_seed(5)
        first = criterion(true, key, raw, valid)
        torch.manual_seed(5)
        assert torch.equal(criterion(true, key, raw, valid), first)
    one = raw[:, :1].clone().requires_grad_()
    criterion(true[:, :2], key, one, valid[:, :2]).sum().backward()
    assert end_of(one) == 1


@SPACES
@LOSS
def test_no_objects(loss: str, space: str) -> None:
    criterion = TrajectoryCriterion(loss, space)
    value = criterion(torch.zeros(0, 3, 4), torch.zeros(0, 4), torch.zeros(0, 2, 4), torch.ones(0, 3, dtype=torch.bool))
    assert value.shape == (0,)
    assert criterion.decode(torch.zeros(0, 4), torch.zeros(0, 2, 4)).shape == (0, 2, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "l2"}, "loss must be one of .*, got 'l2'"),
        ({"space": "polar"}, "space must be one of image, coder, got 'polar'"),
        ({"loss": "bag", "cumulative_end": "random"}, "'random' needs a loss with the cumulative term, got loss 'bag'"),
    ],
)
def test_what_does_not_exist_is_refused(changes: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrajectoryCriterion(**changes)
