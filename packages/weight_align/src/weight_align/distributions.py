"""How activations and weights are distributed, channel by channel and filter by filter (figures 5.2 and 5.4 to 5.12)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from weight_align.convert import weight_align
from weight_align.filters import LAYERS, layout_of
from weight_align.norms import Norm, make_norm

__all__ = [
    "ChannelStatistics",
    "Histogram",
    "activations",
    "channel_statistics",
    "example_network",
    "filters",
    "histogram",
]

_CONVOLUTIONS = 7


@dataclass(frozen=True)
class ChannelStatistics:
    """Of what a layer puts out, by channel, over a batch and all places."""

    mean: Tensor
    """(C,)."""
    variance: Tensor
    """(C,), biased."""


@dataclass(frozen=True)
class Histogram:
    """How often values fall between edges that lie at equal distances."""

    edges: Tensor
    """(bins + 1,)."""
    density: Tensor
    """(rows, bins); the area under each row is its share of values within the edges."""


@torch.no_grad()
def activations(model: nn.Module, inputs: Tensor, layers: tuple[str, ...] | None = None) -> dict[str, Tensor]:
    """What layers put out for ``inputs``, by name, in the order in which they ran; copies, on the inputs' device.

    The model is run once, in the mode it is in (in training mode, batch norm's running statistics move as in any step).

    Args:
        model: any network.
        inputs: what it takes.
        layers: names of modules to watch; None: all convolutions and linear layers. Before a norm, as figure 5.8 has
            it, is a convolution's name, after it the norm's.

    Returns:
        (B, C, ...) of each; of a layer that ran more than once, of the last time.

    Raises:
        ValueError: if there is no such module, or it did not run.
    """
    modules = dict(model.named_modules())
    names = layers or tuple(name for name, module in modules.items() if isinstance(module, LAYERS))
    unknown = [name for name in names if name not in modules]
    if unknown:
        raise ValueError(f"{torch.typename(model)} has no module {unknown[0]!r}")
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
        raise ValueError(f"{idle[0]} did not run")
    return seen


def channel_statistics(outputs: Mapping[str, Tensor]) -> dict[str, ChannelStatistics]:
    """Mean and biased variance of every channel of (B, C, ...), by layer; computed in float64."""
    found = {}
    for name, output in outputs.items():
        rows = output.transpose(0, 1).flatten(1).double()
        variance, mean = torch.var_mean(rows, 1, correction=0)
        found[name] = ChannelStatistics(mean, variance)
    return found


@torch.no_grad()
def filters(model: nn.Module) -> dict[str, Tensor]:
    """The filters of every convolution and linear layer as they are used (aligned where they are), by layer: (C_out, n)."""
    return {
        name: layout_of(layer).rows(layer.weight).clone()  # type: ignore[arg-type]
        for name, layer in model.named_modules()
        if isinstance(layer, LAYERS)
    }


def histogram(rows: Tensor, bins: int = 100, limits: tuple[float, float] | None = None) -> Histogram:
    """Densities of the values in each row.

    Args:
        rows: (rows, values).
        bins: 1 or more.
        limits: the first and the last edge; None: the smallest and the largest of all values.

    Raises:
        ValueError: if there is no bin, no value, or no distance between the limits.
    """
    if bins < 1 or rows.dim() != 2 or rows.numel() == 0:
        raise ValueError(f"expected rows of values and 1 bin or more, got {tuple(rows.shape)} and {bins} bins")
    rows = rows.detach().float().cpu()
    low, high = limits or (float(rows.min()), float(rows.max()))
    if not low < high:
        raise ValueError(f"limits must be apart, got {low} and {high}")
    counts = torch.stack([torch.histc(row, bins, low, high) for row in rows])
    return Histogram(torch.linspace(low, high, bins + 1), counts / rows.shape[1] / ((high - low) / bins))


def example_network(
    norm: Norm = "none",
    align: bool = False,
    *,
    gain: str = "thesis",
    width: int = 64,
    size: int = 16,
    classes: int = 10,
) -> nn.Sequential:
    """The network of section 5.3.4: seven convolutions 3x3 without bias, each with its norm and ReLU, and a linear classifier.

    Weights are Kaiming's, from torch's default generator. Width, input size and how the classifier sees the maps the
    thesis does not say; here it sees all places of them. Modules are called ``conv1``, ``norm1``, ``relu1``, ...,
    ``flatten``, ``classifier``.

    Args:
        norm: ``none``, ``bn``, ``gn``, ``ln`` or ``in``.
        align: whether the convolutions are aligned.
        gain: of the alignment.
        width: channels of each convolution.
        size: height and width of the inputs (B, 3, size, size).
        classes: outputs of the classifier.
    """
    network = nn.Sequential()
    for number in range(1, _CONVOLUTIONS + 1):
        network.add_module(f"conv{number}", nn.Conv2d(3 if number == 1 else width, width, 3, padding=1, bias=False))
        network.add_module(f"norm{number}", make_norm(norm, width))
        network.add_module(f"relu{number}", nn.ReLU())
    network.add_module("flatten", nn.Flatten())
    network.add_module("classifier", nn.Linear(width * size**2, classes, bias=False))
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return weight_align(network, gain=gain) if align else network  # type: ignore[arg-type]
