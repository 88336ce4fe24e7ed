"""Depthwise convolutions in bfloat16: the gradients are torch's, and none of them is computed in a loop."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.utils._python_dispatch import TorchDispatchMode

from efficiency_core.depthwise import quicken_depthwise
from efficiency_core.loop import Accelerator, LoopConfig


def depthwise(channels: int = 4, kernel: int = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, kernel, groups=channels, **{"padding": 1} | options)


class Calls(TorchDispatchMode):
    """Gradients of convolutions that torch is asked for: dtype, stride, which of input and weight, and the input's height."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[torch.dtype, list[int], bool, bool, int]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.ops.aten.convolution_backward.default:
            self.found.append((args[0].dtype, list(args[4]), args[10][0], args[10][1], args[1].shape[2]))
        return function(*args, **(kwargs or {}))


@contextmanager
def quickened(model: nn.Module) -> Iterator[None]:
    undo = quicken_depthwise(model)
    yield
    undo()


def gradients(layer: nn.Module, inputs: Tensor, dtype: torch.dtype) -> list[Tensor]:
    """Result, gradient of the input and of the parameters, in float64."""
    layer.zero_grad()
    values = inputs.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
        result = layer(values)
    given = torch.randn(result.shape, generator=torch.Generator().manual_seed(1)).bfloat16()
    (result * given.to(result.dtype)).sum().backward()
    own = [parameter.grad for parameter in layer.parameters()]
    return [one.detach().double() for one in (result, values.grad, *own) if one is not None]


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("size", [(9, 8), (3, 2), (1, 4), (2, 1)])
@pytest.mark.parametrize(
    "layer",
    [
        depthwise(stride=2),
        depthwise(stride=2, bias=False),
        depthwise(stride=(1, 3)),
        depthwise(),
        depthwise(kernel=5, padding=2, stride=2),
        depthwise(stride=2, dilation=2, padding=2),
        depthwise(stride=2, padding=(2, 1)),
        depthwise(kernel=1, padding=0, stride=2),
        weight_norm(depthwise(stride=2)),
    ],
    ids=["stride 2", "no bias", "uneven", "stride 1", "5x5", "dilated", "wide border", "1x1", "parametrized"],
)
def test_gradients_are_torchs(layer: nn.Conv2d, size: tuple[int, int], layout: torch.memory_format) -> None:
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.rand(parameter.shape, generator=random).bfloat16())
    inputs = torch.randn(5, 4, *size, generator=random).bfloat16().float().contiguous(memory_format=layout)
    exact = gradients(layer, inputs, torch.float32)  # in bfloat16 torch's own are wrong at stride 2 over maps of 2 x 1
    with quickened(layer):
        found = gradients(layer, inputs, torch.bfloat16)
    for ours, theirs in zip(found, exact, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=2e-2, atol=1e-2 * float(theirs.abs().max()))


def test_strided_input_gradients_are_not_asked_of_torch() -> None:
    network = nn.Sequential(depthwise(stride=2), nn.Conv2d(4, 6, 1), depthwise(6))
    for changed in (False, True):
        with quickened(network) if changed else torch.enable_grad(), Calls() as calls:
            gradients(network, torch.randn(2, 4, 8, 8), torch.bfloat16)
        strided = [of_input for _, stride, of_input, *_ in calls.found if max(stride) > 1]
        assert strided == [not changed], "torch's way is slow: the test must see it"
        assert all(dtype is torch.bfloat16 for dtype, *_ in calls.found)


@pytest.mark.parametrize(
    ("layer", "size", "asked"),
    [
        (depthwise(), 2, (torch.bfloat16, 3)),
        (depthwise(), 3, (torch.bfloat16, 3)),
        (depthwise(stride=2), 1, (torch.bfloat16, 4)),
        (depthwise(stride=2), 3, (torch.bfloat16, 4)),
        (depthwise(padding=0), 3, (torch.bfloat16, 3)),
        (depthwise(kernel=5, padding=2), 8, (torch.float32, 8)),
        (depthwise(dilation=2, padding=2), 8, (torch.float32, 8)),
        (depthwise(padding=2), 8, (torch.float32, 8)),
    ],
    ids=["2 rows", "3 rows", "1 row, stride 2", "3 rows, stride 2", "no border", "5x5", "dilated", "wide border"],
)
def test_weight_gradients_are_asked_where_torch_is_fast(layer: nn.Conv2d, size: int, asked: Any) -> None:
    with quickened(layer), Calls() as calls:
        gradients(layer, torch.randn(2, 4, size, size), torch.bfloat16)
    assert [(dtype, height) for dtype, *_, of_weight, height in calls.found if of_weight] == [asked]


def test_what_needs_no_gradient_gets_none() -> None:
    layer = depthwise(stride=2)
    layer.weight.requires_grad_(False)
    with quickened(layer), Calls() as calls:
        assert len(gradients(layer, torch.randn(2, 4, 8, 8), torch.bfloat16)) == 3  # result, input and bias
    assert calls.found == []
    layer.requires_grad_()
    with quickened(layer), torch.autocast("cpu", torch.bfloat16):
        layer(torch.randn(2, 4, 8, 8)).sum().backward()
    assert layer.weight.grad is not None and layer.bias is not None and layer.bias.grad is not None


def test_other_arithmetic_and_other_layers_are_as_before() -> None:
    network = nn.Sequential(
        depthwise(stride=2), nn.Conv2d(4, 4, 3, groups=2, stride=2), nn.Conv2d(4, 8, 1, groups=4),
        depthwise(8, padding=3), depthwise(8, padding="same"), depthwise(8, padding_mode="reflect"),
    )  # fmt: skip
    names, inputs = list(network.state_dict()), torch.randn(2, 4, 9, 9)
    expected = gradients(network, inputs, torch.float32)
    with quickened(network):
        changed = [index for index, layer in enumerate(network) if "_conv_forward" in vars(layer)]
        assert changed == [0] and list(network.state_dict()) == names
        for ours, theirs in zip(gradients(network, inputs, torch.float32), expected, strict=True):
            assert torch.equal(ours, theirs)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            assert network(inputs).dtype is torch.bfloat16
    assert not any("_conv_forward" in vars(layer) for layer in network)


@pytest.mark.parametrize(("precision", "other"), [("bf16-mixed", True), ("32-true", False)])
def test_trainings_in_bfloat16_on_a_cpu_take_it(precision: Any, other: bool) -> None:
    network = nn.Sequential(depthwise())
    with Accelerator("cpu", LoopConfig(precision=precision)) as accelerator:
        accelerator.prepare(network)
        assert ("_conv_forward" in vars(network[0])) == other
    assert "_conv_forward" not in vars(network[0])
