"""What is said about activations and filters: against loops, and section 5.3.4's claims as numbers."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from weight_align import weight_align
from weight_align.distributions import activations, channel_statistics, example_network, filters, histogram
from weight_align.norms import Norm

pytestmark = pytest.mark.usefixtures("one_thread")


def inputs(count: int = 128, size: int = 16) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def example(norm: Norm = "none", align: bool = False, **options: Any) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return example_network(norm, align, **options)


def moments(network: nn.Module) -> list[tuple[float, float, float]]:
    """Of what each of the seven convolutions puts out: mean variance of the channels, mean square, and deviation of their means
    over the root of the variance."""
    outputs = activations(network, inputs(), tuple(f"conv{number}" for number in range(1, 8)))
    found = channel_statistics(outputs).values()
    return [
        (
            float(one.variance.mean()),
            float((one.variance + one.mean.square()).mean()),
            float(one.mean.std() / one.variance.mean().sqrt()),
        )
        for one in found
    ]


def test_outputs_are_those_before_relu_works_on_them_in_place() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(16, 2))
    x = torch.randn(2, 3, 4, 4)
    found = activations(model, x)
    assert list(found) == ["0", "3"]
    torch.testing.assert_close(found["0"], model[0](x))
    assert (found["0"] < 0).any()
    assert not any(module._forward_hooks for module in model.modules())


def test_layers_that_are_not_there_or_did_not_run() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    model.add_module("idle", nn.ModuleList([nn.Linear(2, 2)]))
    x = torch.randn(1, 3, 4, 4)
    with pytest.raises(ValueError, match="has no module 'fc'"):
        activations(model, x, ("fc",))
    with pytest.raises(ValueError, match=r"idle\.0 did not run"):
        activations(nn.Sequential(model[0], Aside()), x)
    assert not any(module._forward_hooks for module in model.modules())


class Aside(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.idle = nn.ModuleList([nn.Linear(2, 2)])

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_statistics_are_of_channels() -> None:
    output = torch.randn(3, 4, 5, 2, generator=torch.Generator().manual_seed(0)) * 2 + 1
    found = channel_statistics({"layer": output, "scores": output[:, :, 0, 0]})
    for channel in range(4):
        values = output[:, channel].flatten().tolist()
        mean = sum(values) / len(values)
        assert found["layer"].mean[channel].item() == pytest.approx(mean, abs=1e-6)
        variance = sum((value - mean) ** 2 for value in values) / len(values)
        assert found["layer"].variance[channel].item() == pytest.approx(variance, rel=1e-6)
    assert found["scores"].mean.shape == (4,)


def test_filters_are_the_aligned_ones() -> None:
    network = example(align=True, width=8)
    found = filters(network)
    assert list(found) == [*(f"conv{number}" for number in range(1, 8)), "classifier"]
    assert found["conv2"].shape == (8, 72)
    torch.testing.assert_close(found["conv2"].var(1, correction=0), torch.full((8,), 2 / 72))
    transposed = weight_align(nn.ConvTranspose2d(4, 6, 3, groups=2))
    assert filters(transposed)[""].shape == (6, 18)


def test_histograms() -> None:
    rows = torch.tensor([[0.0, 0.1, 0.9, 1.0], [0.5, 0.5, 0.5, 5.0]])
    found = histogram(rows, 2, (0.0, 1.0))
    assert found.edges.tolist() == [0.0, 0.5, 1.0]
    assert found.density.tolist() == [[1.0, 1.0], [0.0, 1.5]]  # the area is the share of values within the limits
    assert histogram(rows, 10).edges[-1] == 5
    for bad, message in (
        ((rows, 0), "1 bin or more"),
        ((rows[0], 3), "expected rows"),
        ((rows, 2, (1.0, 1.0)), "apart"),
    ):
        with pytest.raises(ValueError, match=message):
            histogram(*bad)  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_claims_of_the_empirical_analysis() -> None:
    """Means of channels drift apart in the baseline and stay near zero with WA. But WA's variance shrinks by 1 - 1/pi a layer,
    as of what comes in only Var[ReLU], not E[ReLU^2], passes filters of mean zero; the norm-free gain keeps it."""
    plain, aligned, free = moments(example()), moments(example(align=True)), moments(example(align=True, gain="nf"))
    assert plain[2][2] > 10 * aligned[2][2] and plain[6][2] > 10 * aligned[6][2]
    per_layer = (aligned[6][0] / aligned[0][0]) ** (1 / 6)
    assert abs(per_layer - (1 - 1 / math.pi)) < 0.04
    assert plain[6][1] / plain[0][1] > 3 * aligned[6][1] / aligned[0][1]
    assert 0.7 < free[6][0] / free[0][0] < 1.3
