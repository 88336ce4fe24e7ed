"""Distributions of activations, channel by channel (figures 5.2, 5.5, 5.7 and 5.8)."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from weight_align.method.filters import LAYERS


@dataclass(frozen=True)
class ChannelStatistics:
    """Statistics of the outputs of a layer, by channel, over a batch and all positions."""

    mean: Tensor
    """(C,)."""
    variance: Tensor
    """(C,), biased."""


@torch.no_grad()
def activations(model: nn.Module, inputs: Tensor, layers: tuple[str, ...] | None = None) -> dict[str, Tensor]:
    """Outputs of layers for ``inputs``, by name, in the order in which the layers ran; copies, on the device of the
    inputs.

    The model runs once, in the mode it is in. In training mode, the running statistics of batch norm change as in any
    step. Returns (B, C, ...) of each layer; of a layer that ran more than once, the last outputs. Raises ValueError if
    there is no such module, or it did not run. ``layers``: names of the modules to watch; None: all convolutions and
    linear layers. The outputs before a norm (figure 5.8) are those of the convolution, the outputs after it those of
    the norm."""
    modules = dict(model.named_modules())
    names = layers or tuple(name for name, module in modules.items() if isinstance(module, LAYERS))
    unknown = [name for name in names if name not in modules]
    if unknown:
        raise ValueError(f"{torch.typename(model)} has no module {', '.join(map(repr, unknown))}")
    seen: dict[str, Tensor] = {}

    def watch(name: str) -> torch.utils.hooks.RemovableHandle:
        # Cloned, since a ReLU that follows may work in place.
        return modules[name].register_forward_hook(lambda _module, _inputs, output: seen.update({name: output.clone()}))

    handles = [watch(name) for name in names]
    try:
        model(inputs)
    finally:
        for handle in handles:
            handle.remove()
    idle = [name for name in names if name not in seen]
    if idle:
        raise ValueError(f"{', '.join(idle)} did not run")
    return seen


def channel_statistics(outputs: Mapping[str, Tensor]) -> dict[str, ChannelStatistics]:
    """Mean and biased variance of every channel of (B, C, ...), by layer, computed in float64."""
    found = {}
    for name, output in outputs.items():
        rows = output.transpose(0, 1).flatten(1).double()
        variance, mean = torch.var_mean(rows, 1, correction=0)
        found[name] = ChannelStatistics(mean, variance)
    return found
