"""The trajectory head: the cheap formulation gives the numbers of the plain one, at the cost it should have."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from location_anticipation import TrajectoryHead

FEATURES, T, HIDDEN = 60, 5, 48


@pytest.mark.parametrize("classes", [None, 3])
def test_the_shared_branches_give_the_same_numbers(classes: int | None) -> None:
    torch.manual_seed(0)
    head = TrajectoryHead(FEATURES, T, HIDDEN, classes).double()
    torch.nn.init.normal_(head.fc_out.weight)
    results = []
    for forward in (head.forward, head.forward_plain):
        features = torch.rand(7, FEATURES, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        features.requires_grad_()
        boxes = torch.rand(7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()
        out = forward(features, boxes)
        head.zero_grad()
        out.sin().sum().backward()
        grads = [parameter.grad.clone() for parameter in head.parameters() if parameter.grad is not None]
        results.append([out.detach(), features.grad, boxes.grad, *grads])
    assert results[0][0].shape == ((7, T, 4) if classes is None else (7, T, 3, 4))
    assert len(results[0]) == 3 + 10
    for fused, plain in zip(*results, strict=True):
        torch.testing.assert_close(fused, plain, atol=1e-12, rtol=1e-10)


def test_feature_maps_are_flattened_and_nothing_gives_nothing() -> None:
    head = TrajectoryHead(3 * 2 * 2, T, HIDDEN)
    maps, boxes = torch.rand(4, 3, 2, 2), torch.rand(4, 4)
    torch.testing.assert_close(head(maps, boxes), head(maps.flatten(1), boxes))
    assert head(maps[:0], boxes[:0]).shape == (0, T, 4)


def test_multiply_adds_are_what_they_can_be() -> None:
    """Box and feature branch once per box, time branch once per step, output once per box and step."""
    head, n = TrajectoryHead(FEATURES, T, HIDDEN), 9
    third = HIDDEN // 3
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        head(torch.rand(n, FEATURES), torch.rand(n, 4))
    per_box = FEATURES * (HIDDEN - 2 * third) + 4 * third + (HIDDEN - third) * HIDDEN
    per_step = 1 * third + third * HIDDEN
    assert counter.get_total_flops() / 2 == n * per_box + T * per_step + n * T * HIDDEN * 4


def test_the_branches_are_of_equal_size_and_the_middle_is_1024() -> None:
    head = TrajectoryHead(12544, 8)
    assert [layer.out_features for layer in (head.fc_time, head.fc_box, head.fc_feature)] == [341, 341, 342]
    assert (head.fc_middle.in_features, head.fc_middle.out_features) == (1024, 1024)


def test_an_untrained_head_anticipates_almost_no_motion() -> None:
    torch.manual_seed(0)
    assert TrajectoryHead(FEATURES, T)(torch.rand(20, FEATURES), torch.rand(20, 4)).abs().max() < 0.1


def test_a_horizon_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        TrajectoryHead(FEATURES, 0)
