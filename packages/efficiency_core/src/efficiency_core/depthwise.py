"""Gradients of depthwise convolutions in bfloat16 on the CPU, without the reference loops of torch's library."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d, pad


def quicken_depthwise(model: nn.Module) -> Callable[[], None]:
    """Let the depthwise convolutions of ``model`` compute their bfloat16 gradients on the CPU another way, in place.

    torch 2.14 (oneDNN) has no fast kernel for two of them and takes a loop: for the gradient of the input where the stride is
    above 1, which takes 30 to 300 times as long as at stride 1 (half of a training step of MobileNetV2 at 64x64 pixels), and
    for the gradient of the weight where the maps have very few rows, or the kernel is larger than 3x3, dilated or widely
    padded. The first is computed as a convolution at stride 1 of the gradient with zeros between its values; small maps get
    rows of zeros, and other kernels are computed in float32. Everything else, other dtypes and inference too, is as before;
    parameters and the names in ``state_dict`` stay. The function returned undoes it.
    """
    changed = [module for module in model.modules() if isinstance(module, nn.Conv2d) and _is_depthwise(module)]
    for module in changed:
        module.__dict__["_conv_forward"] = partial(_forward, module)

    def undo() -> None:
        for module in changed:
            module.__dict__.pop("_conv_forward", None)

    return undo


def _is_depthwise(layer: nn.Conv2d) -> bool:
    """Whether every channel has one kernel of its own, and each border is padded with fewer zeros than the kernel reaches."""
    if not 1 < layer.in_channels == layer.out_channels == layer.groups:
        return False
    if isinstance(layer.padding, str) or layer.padding_mode != "zeros" or "_conv_forward" in vars(layer):
        return False
    return type(layer)._conv_forward is nn.Conv2d._conv_forward and min(_reversed_padding(layer)) >= 0


def _reversed_padding(layer: nn.Conv2d) -> tuple[int, ...]:
    """Padding of the convolution, at stride 1, that gives the gradient of the input."""
    return tuple(reach - padding for reach, padding in zip(_reach(layer), _padding(layer), strict=True))


def _padding(layer: nn.Conv2d) -> tuple[int, ...]:
    assert not isinstance(layer.padding, str)
    return layer.padding


def _reach(layer: nn.Conv2d) -> tuple[int, ...]:
    """Pixels from the first to the last value that a kernel covers, along each axis."""
    return tuple(dilation * (size - 1) for size, dilation in zip(layer.kernel_size, layer.dilation, strict=True))


def _forward(layer: nn.Conv2d, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        input, weight, bias = input.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    if input.dtype is torch.bfloat16 and input.device.type == "cpu" and input.dim() == 4 and torch.is_grad_enabled():
        result: Tensor = _Depthwise.apply(input, weight, bias, layer)
        return result
    return nn.Conv2d._conv_forward(layer, input, weight, bias)


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None, layer: nn.Conv2d) -> Tensor:
        ctx.save_for_backward(input, weight)
        ctx.layer = layer
        return conv2d(input, weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        input, weight = ctx.saved_tensors
        layer: nn.Conv2d = ctx.layer
        of_input, of_weight, of_bias = ctx.needs_input_grad[:3]
        strided = of_input and max(layer.stride) > 1
        apart = of_weight and (_loops(layer) or _missing_rows(layer, input) > 0)
        found: list[Tensor | None] = [None, None]
        if strided:
            found[0] = _input_gradient(layer, gradient, input, weight)
        if apart:
            found[1] = _weight_gradient(layer, gradient, input, weight)
        if any(left := [of_input and not strided, of_weight and not apart]):
            plain = _plain(layer, gradient, input, weight, left)
            found = [one if one is not None else other for one, other in zip(found, plain, strict=True)]
        return found[0], found[1], gradient.sum((0, 2, 3)) if of_bias else None, None


def _loops(layer: nn.Conv2d) -> bool:
    """Whether the gradient of the weight would be computed in a plain loop over maps of any size."""
    wide = any(reach < 2 * padding for padding, reach in zip(_padding(layer), _reach(layer), strict=True))
    return wide or max(layer.kernel_size) > 3 or max(layer.dilation) > 1


def _missing_rows(layer: nn.Conv2d, input: Tensor) -> int:
    """Rows that ``input`` lacks for the fast kernel, in which no window may reach the border above and that below: the
    window of the second row of results has to end inside. With fewer torch 2.14 is also wrong, by values that it never set,
    for maps one column wide in the layout channels_last at stride 2."""
    padding = _padding(layer)[0]
    return max(0, layer.stride[0] - padding + layer.kernel_size[0] - input.shape[2]) if padding else 0


def _weight_gradient(layer: nn.Conv2d, gradient: Tensor, input: Tensor, weight: Tensor) -> Tensor:
    """By torch, in float32 or over maps with rows of zeros below, which add nothing."""
    if _loops(layer):
        gradient, input, weight = gradient.float(), input.float(), weight.float()
    else:
        input = pad(input, (0, 0, 0, _missing_rows(layer, input)))
        rows = (input.shape[2] + 2 * _padding(layer)[0] - layer.kernel_size[0]) // layer.stride[0] + 1
        gradient = pad(gradient, (0, 0, 0, rows - gradient.shape[2]))
    found = _plain(layer, gradient, input, weight, [False, True])[1]
    assert found is not None
    return found


def _input_gradient(layer: nn.Conv2d, gradient: Tensor, input: Tensor, weight: Tensor) -> Tensor:
    """(N, C, H, W) from the gradient of the result: spread over the places of stride 1, then correlated with the kernel."""
    border = _reversed_padding(layer)
    sides = zip(input.shape[2:], _reach(layer), border, strict=True)
    height, width = (size + reach - 2 * outside for size, reach, outside in sides)
    layout = torch.channels_last if input.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
    spread = torch.empty((*input.shape[:2], height, width), dtype=input.dtype, memory_format=layout).zero_()
    spread[:, :, :: layer.stride[0], :: layer.stride[1]] = gradient
    return conv2d(spread, weight.flip(2, 3), None, 1, border, layer.dilation, layer.groups)


def _plain(
    layer: nn.Conv2d, gradient: Tensor, input: Tensor, weight: Tensor, wanted: list[bool]
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of input and weight by torch, those that are wanted."""
    found = torch.ops.aten.convolution_backward(
        gradient, input, weight, None, layer.stride, layer.padding, layer.dilation, False, [0, 0], layer.groups,
        [*wanted, False],
    )  # fmt: skip
    return found[0], found[1]
