"""Which device a command works on, and in which memory layout convolutions train there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from efficiency_core.errors import UsageError

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.optim import Optimizer

_LANES = 16
"""Float32 numbers in the widest registers of a CPU (AVX-512)."""


def resolve_device(name: str) -> str:
    """``cpu`` or ``cuda`` from ``auto``, ``cpu`` or ``cuda``.

    Raises:
        UsageError: for another name, or for ``cuda`` where torch finds no CUDA device.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device must be auto, cpu or cuda, got {name!r}")
    if name != "cpu":
        import torch

        if torch.cuda.is_available():
            return "cuda"
        if name == "cuda":
            raise UsageError("--device cuda, but torch finds no CUDA device; use --device cpu or auto")
    return "cpu"


def convolution_layout(network: nn.Module, device: str) -> torch.memory_format:
    """``torch.channels_last``, in which convolutions train faster, or ``torch.contiguous_format`` where that is not safe.

    On the CPU, torch 2.14 (oneDNN) writes outside its memory when it computes the weight gradient of a 1x1 convolution with a
    stride, in ``channels_last``, with fewer input channels than a register holds numbers: 8 with AVX2, 16 with AVX-512. Networks
    of usual width have no such layer; a ResNet of an eighth of the width has one.
    """
    import torch
    from torch import nn

    unsafe = device.startswith("cpu") and any(
        isinstance(layer, nn.Conv2d)
        and set(layer.kernel_size) == {1}
        and max(layer.stride) > 1
        and layer.groups == 1
        and layer.in_channels < _LANES
        for layer in network.modules()
    )
    return torch.contiguous_format if unsafe else torch.channels_last


@contextmanager
def in_memory_order(optimizer: Optimizer) -> Iterator[None]:
    """Inside, weights in ``channels_last`` are seen with the axes in the order of their memory, (out, height, width, in).

    Torch's fused optimisers on the CPU copy every weight, gradient and state that is not contiguous, and back: half of the time
    of a step. They compute each number by itself, so that the order changes no bit.
    """
    import torch

    layout = torch.channels_last
    turned = [
        parameter
        for group in optimizer.param_groups
        for parameter in group["params"]
        if parameter.dim() == 4 and parameter.grad is not None
        if not parameter.is_contiguous() and parameter.is_contiguous(memory_format=layout)
    ]

    def turn(*axes: int) -> None:
        for parameter in turned:
            for tensor in (parameter, parameter.grad):
                tensor.data = tensor.data.permute(axes)
            state = optimizer.state.get(parameter, {})
            for name, value in state.items():
                if isinstance(value, torch.Tensor) and value.dim() == 4:
                    state[name] = value.permute(axes)

    turn(0, 2, 3, 1)
    try:
        yield
    finally:
        turn(0, 3, 1, 2)
