"""What is said about activations and filters: against loops, and section 5.3.4's claims as numbers."""

import math
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from weight_align import align, weight_align
from weight_align.distributions import activations, channel_statistics, example_network, filters, histogram
from weight_align.norms import Norm
from weight_align.parametrization import alignment_of

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


def test_a_model_that_fails_is_left_without_hooks() -> None:
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


def test_outputs_are_in_the_order_of_the_run_and_of_the_last_time() -> None:
    model = Backwards()
    found = activations(model, torch.randn(4, 3))
    assert list(found) == ["first", "last"]
    torch.testing.assert_close(found["last"], model.last.bias.detach().expand(4, 3))
    assert list(activations(model, torch.randn(4, 3), ("last", "norm", "first"))) == ["first", "last", "norm"]


def test_the_model_runs_once_in_its_mode_and_without_a_graph() -> None:
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


def test_statistics_of_half_precision_far_from_zero() -> None:
    """Float32 would lose the variance of values around 1e4, float16 their sum."""
    values = torch.tensor([[9992.0, 10008.0] * 500, [-8.0, 8.0] * 500]).T
    for dtype in (torch.float16, torch.float32):
        found = channel_statistics({"layer": values.to(dtype)})["layer"]
        assert found.mean.tolist() == pytest.approx([10000, 0], abs=1e-9)
        assert found.variance.tolist() == pytest.approx([64, 64], rel=1e-9)
        assert found.mean.dtype == found.variance.dtype == torch.float64
    tiny = torch.tensor([[1.0, 1.0 + 2**-40]], dtype=torch.float64).T
    assert channel_statistics({"layer": tiny})["layer"].variance.item() == 2.0**-82


def test_filters_are_the_aligned_ones() -> None:
    network = example(align=True, width=8)
    found = filters(network)
    assert list(found) == [*(f"conv{number}" for number in range(1, 8)), "classifier"]
    assert found["conv2"].shape == (8, 72)
    torch.testing.assert_close(found["conv2"].var(1, correction=0), torch.full((8,), 2 / 72))
    transposed = weight_align(nn.ConvTranspose2d(4, 6, 3, groups=2))
    found = filters(transposed)
    assert found[""].shape == (6, 18)
    weight = transposed.weight.detach()
    for group in range(2):
        for number in range(3):
            expected = weight[2 * group : 2 * group + 2, number].flatten()
            assert torch.equal(found[""][3 * group + number], expected)


def test_filters_are_copies() -> None:
    layer = nn.Linear(4, 3)
    (found,) = filters(layer).values()
    before = layer.weight.detach().clone()
    assert not found.requires_grad
    found.zero_()
    assert torch.equal(layer.weight, before)


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


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_histograms_of_all_values_have_area_one(dtype: torch.dtype) -> None:
    """Each row is one of its own, between the edges of all; the largest value counts."""
    rows = torch.randn(3, 1000, generator=torch.Generator().manual_seed(0)).to(dtype) * torch.tensor([[1], [2], [5]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = histogram(rows.clone().requires_grad_(), 7)
    assert found.edges[0] == rows.min().float() and found.edges[-1] == rows.max().float()
    width = float(found.edges[1] - found.edges[0])
    torch.testing.assert_close(found.density.sum(1) * width, torch.ones(3))
    edges = found.edges.tolist()
    inside = [value for value in rows[1].tolist() if edges[3] <= value < edges[4]]
    assert found.density[1, 3].item() == pytest.approx(len(inside) / 1000 / width, rel=1e-4)
    assert found.density[0, 0] == 0 < found.density[2, 0]


@pytest.mark.parametrize(
    "rows",
    [
        torch.empty(0, 3),
        torch.empty(3, 0),
        torch.full((2, 3), math.nan),
        torch.ones(2, 3),
        torch.tensor([[1, 1 + 1e-9]], dtype=torch.float64),  # the same number in single precision
    ],
)
def test_rows_that_have_no_histogram(rows: Tensor) -> None:
    with pytest.raises(ValueError, match="expected rows of values" if rows.numel() == 0 else "limits must be apart"):
        histogram(rows)


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("norm", ["none", "bn", "gn", "ln", "in"])
def test_the_layers_of_the_example(norm: Norm, align: bool) -> None:
    network = example(norm, align, width=32, size=4, classes=3)
    kinds = {"none": nn.Identity, "bn": nn.BatchNorm2d, "gn": nn.GroupNorm, "ln": nn.GroupNorm, "in": nn.InstanceNorm2d}
    names = [f"{part}{number}" for number in range(1, 8) for part in ("conv", "norm", "relu")]
    assert [name for name, _ in network.named_children()] == [*names, "flatten", "classifier"]
    for number in range(1, 8):
        assert isinstance(network.get_submodule(f"norm{number}"), kinds[norm])
        assert isinstance(network.get_submodule(f"relu{number}"), nn.ReLU)
        convolution = network.get_submodule(f"conv{number}")
        assert isinstance(convolution, nn.Conv2d) and convolution.bias is None
        assert (alignment_of(convolution) is not None) is align
    classifier = network.get_submodule("classifier")
    assert type(classifier) is nn.Linear and classifier.bias is None
    assert network(inputs(2, 4)).shape == (2, 3)
    maps = activations(network, inputs(2, 4))
    assert [tuple(output.shape) for output in maps.values()] == [(2, 32, 4, 4)] * 7 + [(2, 3)]


def test_the_example_starts_as_he_et_al() -> None:
    """The same draw with and without alignment, which takes it to variance 2/n exactly, times the gain."""
    plain, aligned = filters(example(width=32)), filters(example(align=True, gain="nf", width=32))
    for name, rows in plain.items():
        assert rows.var().item() * rows.shape[1] / 2 == pytest.approx(1, abs=0.1)
        if name == "classifier":
            assert torch.equal(aligned[name], rows)
        else:
            expected = align(rows, gain="nf")
            torch.testing.assert_close(aligned[name], expected)


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
