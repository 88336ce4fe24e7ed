"""Fixup's start (Zhang et al., ICLR 2019), and where it goes when the weight itself cannot be small: into a scale.

Of L residual branches with m convolutions each, Fixup multiplies the weights of the first m - 1 by L^(-1/(2m - 2)), and
starts the last and the classifier at zero. WeightAlign and weight norm divide whatever factor a weight has away again, and
make 0/0 of a weight of zeros. So the factor and the zero go into what multiplies the normalised weight: WA's gamma, or WN's
g; where WA has no scale, into the factor at the end of the branch. The aligned weights, and with them all outputs, are then
those of Fixup at the start, and every gradient is finite.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils import parametrize

from weight_align.parametrization import alignment_of
from weight_align.resnet import Block, ResNet

__all__ = ["scalars", "start"]


@torch.no_grad()
def start(network: ResNet) -> None:
    """Give a network with Fixup's scalars Fixup's start, in place; its convolutions must have He et al.'s weights.

    Raises:
        ValueError: if it has no such scalars.
    """
    if not network.config.fixed_up:
        raise ValueError("Fixup's start is for networks with Fixup's scalars (fixup=True)")
    blocks = network.blocks()
    for block in blocks:
        count = block.convolutions
        factor = len(blocks) ** (-1 / (2 * count - 2))
        for number in range(1, count):
            _multiply(block, block.get_submodule(f"conv{number}"), factor)
        _multiply(block, block.get_submodule(f"conv{count}"), 0.0)
    nn.init.zeros_(network.fc.weight)
    nn.init.zeros_(network.fc.bias)


def scalars(network: nn.Module) -> list[nn.Parameter]:
    """Fixup's scalar offsets and factors, which its authors train with a tenth of the learning rate; empty without Fixup."""
    found = []
    for module in network.modules():
        if isinstance(module, Block | ResNet):
            names = dict(module.named_parameters(recurse=False))
            found += [value for name, value in names.items() if name == "scale" or name.startswith("bias")]
    return found


def _multiply(block: Block, layer: nn.Module, factor: float) -> None:
    """Multiply what a layer's weight is, without touching what is divided by its own size."""
    alignment = alignment_of(layer)
    if alignment is not None and alignment.variance:
        (block.scale if alignment.scale is None else alignment.scale).mul_(factor)
    elif alignment is not None:
        layer.parametrizations["weight"].original.mul_(factor)  # type: ignore[index, union-attr, operator]
    elif parametrize.is_parametrized(layer, "weight"):  # weight norm's g
        layer.parametrizations["weight"].original0.mul_(factor)  # type: ignore[index, union-attr, operator]
    else:
        layer.weight.mul_(factor)  # type: ignore[operator, union-attr]
