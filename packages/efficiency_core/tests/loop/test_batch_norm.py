"""Batch norm over all processes, tested with one process: there it must be torch's."""

from collections.abc import Iterator

import pytest
import torch
import torch.distributed as distributed
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from efficiency_core.loop.batch_norm import summed, synced_batch_norm, synchronise


@pytest.fixture
def group() -> Iterator[None]:
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.parametrize("shape", [(8, 3), (5, 3, 4), (4, 3, 5, 6)])
def test_synced_batch_norm_is_torchs(shape: tuple[int, ...], group: None) -> None:
    random = torch.Generator().manual_seed(0)
    inputs = torch.randn(shape, generator=random) * 3 + 100
    sides = []
    for function in (batch_norm, synced_batch_norm):
        values, weight = inputs.clone().requires_grad_(), torch.tensor([1.0, 2.0, 0.5], requires_grad=True)
        mean, variance, bias = torch.zeros(3), torch.ones(3), torch.tensor([0.0, 1.0, 2.0], requires_grad=True)
        result = function(values, mean, variance, weight, bias, True, 0.3, 1e-5)
        (result * torch.randn(shape, generator=torch.Generator().manual_seed(1))).sum().backward()
        still = function(values, mean, variance, weight, bias, False, 0.3, 1e-5)
        sides.append((result, mean, variance, values.grad, weight.grad, bias.grad, still))
    for ours, theirs in zip(*sides, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-5, atol=2e-5)


def test_synchronise_and_back(group: None) -> None:
    class Own(nn.Module):
        batch_norm = staticmethod(batch_norm)

        def forward(self, values: Tensor) -> Tensor:
            return self.batch_norm(values, None, None, None, None, True)

    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), Own(), nn.BatchNorm2d(4, momentum=None, affine=False))
    state, names = {name: value.clone() for name, value in model.state_dict().items()}, list(model.state_dict())
    inputs = torch.randn(6, 3, 2, 2)
    expected, after = model(inputs), {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(state)
    undo = synchronise(model, torch.device("cpu"))
    assert type(model[1]) is not nn.BatchNorm2d and model[2].batch_norm is synced_batch_norm
    assert torch.allclose(model(inputs), expected, atol=1e-5)
    assert list(model.state_dict()) == names
    assert all(torch.allclose(value, after[name], atol=1e-6) for name, value in model.state_dict().items())
    undo()
    assert type(model[1]) is nn.BatchNorm2d and model[2].batch_norm is batch_norm
    assert torch.equal(model.eval()(inputs), model(inputs))


def test_sum_is_differentiable(group: None) -> None:
    assert torch.autograd.gradcheck(summed, torch.randn(3, dtype=torch.float64, requires_grad=True))
