"""Changing the weight of an aligned layer: assignment and ``reset_parameters``."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from weight_align import fold, weight_align
from weight_align.method import alignment_of


def drawn(layer: Any) -> Tensor:
    """A weight for the layer, with filters of mean 0.3."""
    values = torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(1))
    return (values + 0.3).to(layer.weight.dtype)


@pytest.mark.parametrize("layer", [
    nn.Conv2d(4, 6, 3, groups=2), nn.ConvTranspose2d(4, 6, 3), nn.ConvTranspose1d(4, 6, 3, groups=2), nn.Linear(7, 5),
    nn.Linear(64, 5).double(), nn.Linear(64, 5).half(),
], ids=repr)  # fmt: skip
@pytest.mark.parametrize("kind", [torch.clone, nn.Parameter])
def test_a_weight_of_centred_filters_is_assigned(layer: Any, kind: Any) -> None:
    """The layer then has that weight, whatever it was before; the parameters are the same objects."""
    layer = weight_align(copy.deepcopy(layer), gain="nf")
    objects = [id(value) for value in layer.parameters()]
    other = copy.deepcopy(layer)
    other.parametrizations.weight.original.data.copy_(drawn(layer))
    wanted = fold(other).weight.detach() * 3
    given = kind(wanted)
    layer.weight = given
    close = 1e-2 if wanted.dtype == torch.float16 else 1e-5
    torch.testing.assert_close(layer.weight, wanted, rtol=close, atol=close)
    assert [id(value) for value in layer.parameters()] == objects and "weight" not in layer._parameters
    given.data.zero_()
    assert layer.weight.any(), "the values are copied"
    layer.weight = given
    assert not layer.weight.any()


@pytest.mark.parametrize(("options", "change", "message"), [
    ({}, lambda weight: weight, r"the mean of filter 0 is set by the alignment; change layer\.parametrizations\.weight\.orig"),
    ({"variance": False}, lambda weight: weight, "the mean of filter 0 "),
    ({"scale": "none"}, lambda weight: weight - weight.mean(1, keepdim=True), "the variance of filter 0 "),
    ({"scale": "layer"}, lambda weight: weight - weight.mean(1, keepdim=True), "the variance of filter 0 "),
    ({}, lambda weight: weight * torch.nan, "the variance of filter 0 "),
    ({}, lambda weight: weight[:1], r"expected a weight of shape \(5, 64\), got \(1, 64\)"),
])  # fmt: skip
def test_a_weight_that_the_alignment_cannot_produce(options: dict[str, Any], change: Any, message: str) -> None:
    layer: Any = weight_align(nn.Linear(64, 5), **options)
    before = copy.deepcopy(layer.state_dict())
    for kind in (torch.clone, nn.Parameter):
        with pytest.raises(ValueError, match=message):
            layer.weight = kind(change(drawn(layer)))
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


def test_a_change_in_place_that_python_assigns() -> None:
    layer: Any = weight_align(nn.Linear(64, 5))
    with pytest.raises(ValueError, match="the mean of filter 0"), torch.no_grad():
        layer.weight += 1
    before = layer.weight.detach()
    with torch.no_grad():
        layer.weight *= 2
    torch.testing.assert_close(layer.weight, before * 2)


@pytest.mark.parametrize("options", [
    {"centre": False}, {"variance": False}, {"scale": "none"}, {"scale": "layer", "gain": "nf"},
])  # fmt: skip
def test_weights_that_other_options_produce(options: dict[str, Any]) -> None:
    layer, other = (weight_align(nn.Linear(64, 5), **options) for _ in range(2))
    alignment = alignment_of(other)
    if alignment is not None and alignment.scale is not None:
        nn.init.constant_(alignment.scale, 2.5)
    wanted = other.weight.detach()
    layer.weight = wanted  # type: ignore[assignment]
    torch.testing.assert_close(layer.weight.detach(), wanted)


def test_training_and_other_attributes_after_an_assignment(small: Any, pixels: Tensor) -> None:
    hidden = weight_align(small, together=True).hidden
    optimizer = torch.optim.SGD(small.parameters(), lr=0.1)
    hidden.weight, hidden.bias, hidden.note = hidden.weight * 2, nn.Parameter(torch.ones(10)), "kept"
    before = hidden.weight.detach()
    small(pixels).square().sum().backward()
    optimizer.step()
    assert not torch.equal(hidden.weight, before) and hidden.bias.eq(1).all()
    assert fold(small).hidden.note == "kept"


def test_parameters_are_reset_as_in_a_plain_layer(small: Any) -> None:
    """With a scale of one, whatever it was; also in copies and beside another parametrization."""
    for layer in (small.stem[0], small.depthwise, small.up, small.hidden):
        nn.utils.parametrizations.weight_norm(layer, "bias", dim=None)
        aligned = weight_align(copy.deepcopy(layer), keep="function")
        for each in (copy.deepcopy(aligned), aligned):
            plain = copy.deepcopy(layer)
            for one in (each, plain):
                torch.manual_seed(3)
                one.reset_parameters()
            assert torch.equal(each.parametrizations.weight.original, plain.weight)
            assert torch.equal(each.weight, weight_align(plain).weight)
            assert torch.equal(fold(each).bias, layer.bias)


class Initialised(nn.Linear):
    def reset_parameters(self) -> None:
        nn.init.constant_(self.weight[:, 0], 0.5)


def test_a_folded_layer_has_its_own_methods_again() -> None:
    layer: Any = weight_align(Initialised(4, 3), centre=False)
    layer.reset_parameters()
    assert layer.parametrizations.weight.original[:, 0].eq(0.5).all() and not layer.weight[:, 0].eq(0.5).all()
    fold(layer).reset_parameters()
    assert type(layer) is Initialised and layer.weight[:, 0].eq(0.5).all()
    layer.weight = given = nn.Parameter(torch.ones(3, 4))
    assert layer.weight is given
