"""The example network of section 5.3.4: its layers, and the claims about its activations as numbers."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from weight_align import align
from weight_align.method import activations, alignment_of, channel_statistics
from weight_align.networks import example_network


def inputs(count: int = 128, size: int = 16) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def example(norm: Any = "none", align: bool = False, **options: Any) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return example_network(norm, align, **options)


def moments(network: nn.Module) -> list[tuple[float, float, float]]:
    """Of the outputs of each of the seven convolutions: mean variance of the channels, mean square, and standard deviation of
    their means over the root of the variance."""
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


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("norm", ["none", "bn", "gn", "ln", "in"])
def test_the_layers_of_the_example(norm: Any, align: bool) -> None:
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
    plain, aligned = example(width=32), example(align=True, gain="nf", width=32)
    for name, layer in plain.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            weight = aligned.get_submodule(name).weight
            assert layer.weight.var().item() * layer.weight[0].numel() / 2 == pytest.approx(1, abs=0.1)
            torch.testing.assert_close(weight, layer.weight if name == "classifier" else align(layer.weight, gain="nf"))


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
