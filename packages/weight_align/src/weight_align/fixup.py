"""Fixup's start (Zhang et al., ICLR 2019), and what becomes of it where the weight itself cannot be small.

Of L residual branches with m convolutions each, Fixup multiplies the weights of the first m - 1 by L^(-1/(2m - 2)), and
starts the last and the classifier at zero, so that the output of a deep network, and what a step changes of it, stay of
the size they have in a shallow one.

WeightAlign divides whatever factor a weight has away again, and makes 0/0 of a weight of zeros. Its filters have the
variance that Fixup's factors are to bring about, so that one factor is left to choose: each branch ends in L^(-1/2), in the
last convolution's gamma (where WA has no scale, in the factor at the end of the branch). The sum of L branches then has the
size of one, at any depth. A gamma of zero, the nearest thing to Fixup, has finite gradients too, but no weight of its branch
learns before gamma has grown, and on CIFAR-10 such networks stay behind those without WA.

Weight norm's g takes factors and zero as a weight does.
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
        for number in range(1, count + 1):
            layer, last = block.get_submodule(f"conv{number}"), number == count
            alignment = alignment_of(layer)
            if alignment is not None and alignment.variance:
                if last:
                    (block.scale if alignment.scale is None else alignment.scale).mul_(len(blocks) ** -0.5)
            else:
                _multiply(layer, 0.0 if last else factor)
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


def _multiply(layer: nn.Module, factor: float) -> None:
    """Multiply what a layer's weight is, without touching what is divided by its own size."""
    if alignment_of(layer) is not None:  # it takes the mean away and nothing else
        layer.parametrizations["weight"].original.mul_(factor)  # type: ignore[index, union-attr, operator]
    elif parametrize.is_parametrized(layer, "weight"):  # weight norm's g
        layer.parametrizations["weight"].original0.mul_(factor)  # type: ignore[index, union-attr, operator]
    else:
        layer.weight.mul_(factor)  # type: ignore[operator, union-attr]
