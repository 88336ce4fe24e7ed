"""Outputs of layers and their statistics, against loops."""

import pytest
import torch
from torch import Tensor, nn

from weight_align.method import activations, channel_statistics


def test_outputs_are_those_before_relu_works_on_them_in_place() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(16, 2))
    x = torch.randn(2, 3, 4, 4)
    found = activations(model, x)
    assert list(found) == ["0", "3"]
    torch.testing.assert_close(found["0"], model[0](x))
    assert (found["0"] < 0).any()
    assert not any(module._forward_hooks for module in model.modules())


def test_layers_that_are_not_there_or_fail() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    model.add_module("idle", nn.ModuleList([nn.Linear(2, 2)]))
    x = torch.randn(1, 3, 4, 4)
    with pytest.raises(ValueError, match="has no module 'fc', 'out'"):
        activations(model, x, ("fc", "0", "out"))
    with pytest.raises(ValueError, match=r"1\.idle\.0, 1\.idle\.1 did not run"):
        activations(nn.Sequential(model[0], Aside()), x)
    assert not any(module._forward_hooks for module in model.modules())
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(5, 2))
    with pytest.raises(RuntimeError):
        activations(model, torch.randn(1, 3, 4, 4))
    assert not any(module._forward_hooks for module in model.modules())


class Backwards(nn.Module):
    """Runs its second layer first and its first one twice, the second time on zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.norm, self.first = nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.last(self.first(x)))
        return x + self.last(torch.zeros_like(x))  # type: ignore[no-any-return]


def test_the_run_that_is_watched() -> None:
    model = Backwards()
    found = activations(model, torch.randn(4, 3))
    assert list(found) == ["first", "last"]
    torch.testing.assert_close(found["last"], model.last.bias.detach().expand(4, 3))
    assert list(activations(model, torch.randn(4, 3), ("last", "norm", "first"))) == ["first", "last", "norm"]
    model = Backwards()
    for train, steps in ((True, 1), (False, 1)):
        found = activations(model.train(train), torch.randn(4, 3), ("norm",))
        assert model.norm.num_batches_tracked == steps and model.training is train
        assert not found["norm"].requires_grad
    (only,) = activations(model.first, torch.randn(4, 3)).items()
    assert only[0] == "" and only[1].shape == (4, 3)


class Aside(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.idle = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_statistics() -> None:
    output = torch.randn(3, 4, 5, 2, generator=torch.Generator().manual_seed(0)) * 2 + 1
    found = channel_statistics({"layer": output, "scores": output[:, :, 0, 0]})
    for channel in range(4):
        values = output[:, channel].flatten().tolist()
        mean = sum(values) / len(values)
        assert found["layer"].mean[channel].item() == pytest.approx(mean, abs=1e-6)
        variance = sum((value - mean) ** 2 for value in values) / len(values)
        assert found["layer"].variance[channel].item() == pytest.approx(variance, rel=1e-6)
    assert found["scores"].mean.shape == (4,)
    values = torch.tensor([[9992.0, 10008.0] * 500, [-8.0, 8.0] * 500]).T
    for dtype in (torch.float16, torch.float32):
        found = channel_statistics({"layer": values.to(dtype)})["layer"]
        assert found.mean.tolist() == pytest.approx([10000, 0], abs=1e-9)
        assert found.variance.tolist() == pytest.approx([64, 64], rel=1e-9)
        assert found.mean.dtype == found.variance.dtype == torch.float64
    tiny = torch.tensor([[1.0, 1.0 + 2**-40]], dtype=torch.float64).T
    assert channel_statistics({"layer": tiny})["layer"].variance.item() == 2.0**-82
