"""The trajectory subnetwork: the fast formulation equals the thesis's, and costs what it must."""

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from location_anticipation.model.trajectory_head import TrajectoryHead

F, T = 20, 5


def make_head(hidden: int = 24, num_classes: int | None = None, horizon: int = T) -> TrajectoryHead:
    """A head in float64 whose outputs are far from zero."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = TrajectoryHead(F, horizon, hidden, num_classes).double()
        torch.nn.init.normal_(head.fc_out.weight)
    return head


def inputs(n: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, F, generator=generator).double(), torch.rand(n, 4, generator=generator).double()


@pytest.mark.parametrize("num_classes", [None, 3], ids=["agnostic", "class-specific"])
@pytest.mark.parametrize("hidden", [24, 26, 3])  # 26 does not divide by three
@pytest.mark.parametrize("n", [0, 1, 6])
def test_forward_equals_the_formulation_of_the_thesis(num_classes: int | None, hidden: int, n: int) -> None:
    head = make_head(hidden, num_classes)
    results = []
    for function in (head.forward, head.forward_plain):
        features, boxes = (x.requires_grad_() for x in inputs(n))
        raw = function(features, boxes)
        assert raw.shape == ((n, T, 4) if num_classes is None else (n, T, num_classes, 4))
        weight = torch.arange(raw.numel(), dtype=raw.dtype).view_as(raw).sin()
        gradients = torch.autograd.grad((raw * weight).sum(), (features, boxes, *head.parameters()))
        results.append((raw, *gradients))
    for fast, plain in zip(*results, strict=True):
        torch.testing.assert_close(fast, plain)


def test_each_box_is_anticipated_on_its_own() -> None:
    head, (features, boxes) = make_head(), inputs(4)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(head(features[order], boxes[order]), head(features, boxes)[order])


def test_feature_maps_are_flattened() -> None:
    head, (features, boxes) = make_head(), inputs(3)
    assert torch.equal(head(features.view(3, 5, 2, 2), boxes), head(features, boxes))
    assert torch.equal(head.forward_plain(features.view(3, 5, 2, 2), boxes), head.forward_plain(features, boxes))


def test_gradcheck() -> None:
    assert torch.autograd.gradcheck(make_head(9), tuple(x.requires_grad_() for x in inputs(2)))


def test_time_indices_are_shares_of_the_horizon() -> None:
    assert make_head(horizon=4).time_indices().tolist() == [[0.25], [0.5], [0.75], [1.0]]


@pytest.mark.parametrize("num_classes", [None, 3])
@pytest.mark.parametrize("n", [1, 7])
def test_box_and_feature_branch_run_once_a_box_and_time_once_a_step(num_classes: int | None, n: int) -> None:
    hidden = 24
    head, third, out = make_head(hidden, num_classes), hidden // 3, 4 * (num_classes or 1)
    per_box = n * (4 * third + F * (hidden - 2 * third) + (hidden - third) * hidden)
    per_step = T * (1 * third + third * hidden)
    per_pair = n * T * hidden * out
    with FlopCounterMode(display=False) as fast:
        head(*inputs(n))
    assert fast.get_total_flops() == 2 * (per_box + per_step + per_pair)  # torch counts two for a multiply-add

    with FlopCounterMode(display=False) as plain:
        head.forward_plain(*inputs(n))
    branches = 4 * third + F * (hidden - 2 * third) + 1 * third
    assert plain.get_total_flops() == 2 * n * T * (branches + hidden * hidden + hidden * out)


def test_the_branches_are_of_equal_size_and_the_middle_layer_is_1024_wide() -> None:
    with torch.device("meta"):
        head = TrajectoryHead(12544, 8)
    assert [layer.out_features for layer in (head.fc_time, head.fc_box, head.fc_feature)] == [341, 341, 342]
    assert (head.fc_middle.in_features, head.fc_middle.out_features) == (1024, 1024)


def test_an_untrained_head_anticipates_no_motion() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = TrajectoryHead(F, T, 1024)
    raw = head(*(x.float() for x in inputs(8)))
    assert 0 < raw.abs().max() < 0.05


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision_is_close(dtype: torch.dtype) -> None:
    head, (features, boxes) = make_head().float(), (x.float() for x in inputs(3))
    expected = head(features, boxes).detach()
    with torch.autocast("cpu", dtype):
        raw = head(features, boxes)
    assert raw.dtype == dtype
    torch.testing.assert_close(raw.float(), expected, rtol=0.05, atol=0.05 * float(expected.abs().max()))


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(ValueError, match="horizon T must be at least 1, got 0"):
        TrajectoryHead(F, 0)
    with pytest.raises(ValueError, match="hidden must be at least 3, one for each branch, got 2"):
        TrajectoryHead(F, T, 2)
