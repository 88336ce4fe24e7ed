"""The device a command works on, and the layout of convolutions there."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, Optimizer

from efficiency_core.devices import convolution_layout, in_memory_order, resolve_device
from efficiency_core.errors import UsageError


@pytest.mark.parametrize("there", [True, False])
def test_auto_is_cuda_where_there_is_a_device(there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert resolve_device("auto") == ("cuda" if there else "cpu")
    assert resolve_device("cpu") == "cpu"


def test_what_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name, message in (("cuda", "torch finds no CUDA device"), ("gpu", "must be auto, cpu or cuda, got 'gpu'")):
        with pytest.raises(UsageError, match=message):
            resolve_device(name)


@pytest.mark.parametrize(
    ("layer", "safe"),
    [
        (nn.Conv2d(8, 16, 1, stride=2), False),
        (nn.Conv2d(15, 16, 1, stride=(1, 2)), False),
        (nn.Conv2d(16, 32, 1, stride=2), True),
        (nn.Conv2d(8, 16, 1), True),
        (nn.Conv2d(8, 16, 3, stride=2), True),
        (nn.Conv2d(8, 16, 1, stride=2, groups=8), True),
    ],
)
def test_narrow_strided_1x1_convolutions_stay_contiguous_on_the_cpu(layer: nn.Conv2d, safe: bool) -> None:
    network = nn.Sequential(nn.Conv2d(3, layer.in_channels, 3), nn.ReLU(), layer)
    assert (convolution_layout(network, "cpu") is torch.channels_last) == safe
    assert convolution_layout(network, "cuda") is torch.channels_last


@pytest.mark.parametrize(
    "make", [lambda p: SGD(p, 0.1, 0.9, weight_decay=0.1, fused=True), lambda p: Adam(p, fused=True)]
)
def test_a_step_in_memory_order_is_the_same_step(make: Callable[[Any], Optimizer]) -> None:
    found = []
    for ordered in (False, True):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(5, 7, 3), nn.Conv2d(7, 3, 1), nn.Flatten(), nn.Linear(3, 2))
        network.to(memory_format=torch.channels_last)
        optimizer, unused = make(network.parameters()), network[1].weight
        for _ in range(3):
            for parameter in network.parameters():
                parameter.grad = None if parameter is unused else torch.randn_like(parameter)
            if ordered:
                with in_memory_order(optimizer):
                    assert network[0].weight.shape == (7, 3, 3, 5) and network[0].weight.is_contiguous()
                    optimizer.step()
            else:
                optimizer.step()
        state = [value for entry in optimizer.state.values() for value in entry.values()]
        found.append([*network.state_dict().values(), *state])
        for parameter in (network[0].weight, network[0].weight.grad):
            assert parameter.shape == (7, 5, 3, 3) and parameter.is_contiguous(memory_format=torch.channels_last)
    for plain, ordered in zip(*found, strict=True):
        assert plain.stride() == ordered.stride() and torch.equal(plain, ordered)


def test_a_failed_step_leaves_the_order_of_the_axes() -> None:
    network = nn.Conv2d(5, 7, 3).to(memory_format=torch.channels_last)
    network.weight.grad = torch.ones_like(network.weight)
    with pytest.raises(ZeroDivisionError), in_memory_order(SGD([network.weight])):
        raise ZeroDivisionError
    assert network.weight.shape == network.weight.grad.shape == (7, 5, 3, 3)
