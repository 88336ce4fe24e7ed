"""Batch norm over the batches of all processes, on any device (``torch.nn.SyncBatchNorm`` needs GPUs)."""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as distributed
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def synchronise(model: nn.Module, device: torch.device) -> Callable[[], None]:
    """Make every batch norm of ``model`` take its statistics over the batches of all processes, in place.

    Parameters, buffers and the names in ``state_dict`` stay. On CUDA torch's own ``SyncBatchNorm`` is taken. A module of
    another class takes part if it has an attribute ``batch_norm``, a function with the arguments of
    ``torch.nn.functional.batch_norm``. The function returned undoes it.
    """
    before: list[tuple[nn.Module, str, Any]] = []
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            before.append((module, "__class__", type(module)))
            module.process_group = None  # type: ignore[assignment]  # all of them
            module.__class__ = nn.SyncBatchNorm if device.type == "cuda" else _SyncedBatchNorm  # type: ignore[assignment]
        elif callable(getattr(module, "batch_norm", None)):
            before.append((module, "batch_norm", module.batch_norm))
            module.batch_norm = synced_batch_norm  # type: ignore[assignment]

    def undo() -> None:
        for module, name, value in before:
            setattr(module, name, value)

    return undo


class _SyncedBatchNorm(_BatchNorm):
    def _check_input_dim(self, input: Tensor) -> None:
        pass

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        momentum = self.momentum
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            momentum = 1.0 / float(self.num_batches_tracked) if momentum is None else momentum
        return synced_batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, True, momentum or 0.0, self.eps
        )


def synced_batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """``torch.nn.functional.batch_norm`` with the mean and variance over the batches of all processes.

    The number of samples N of ``input``, (N, C, ...), may differ between processes and may be 0.
    """
    if not training:
        return nn.functional.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    channels = input.shape[1]
    axes = [axis for axis in range(input.dim()) if axis != 1]
    shape = [1, channels, *[1] * (input.dim() - 2)]
    values = input.float()
    size = values.new_full((1,), values.numel() / channels)
    first = summed(torch.cat([values.sum(axes), size]))
    count = first[-1].detach()
    mean = first[:-1] / count
    centred = values - mean.view(shape)
    variance = summed(centred.square().sum(axes)) / count  # of what is centred: no difference of large numbers
    with torch.no_grad():
        if running_mean is not None and running_var is not None:
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_((variance * (count / (count - 1))).to(running_var.dtype), momentum)
    result = centred * (variance + eps).rsqrt().view(shape)
    if weight is not None:
        result = result * weight.view(shape)
    if bias is not None:
        result = result + bias.view(shape)
    return result.to(input.dtype)


def summed(values: Tensor) -> Tensor:
    """The sum of a tensor over all processes, differentiable: its gradient is the sum of theirs."""
    total: Tensor = _Sum.apply(values)
    return total


class _Sum(torch.autograd.Function):  # torch.distributed.nn has it, and warns that it will go
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Sum.forward(ctx, gradient)
