"""Fixup's initial weights (Zhang et al., ICLR 2019): of L branches of m convolutions, all but the last are scaled by L^(-1/(2m -
2)), the last and the classifier are zero. WeightAlign undoes factors of a weight and zeros give 0/0; there each branch ends in
L^(-1/2) instead, in gamma or in its last factor (a gamma of zero trains worse on CIFAR-10). Weight norm's g takes Fixup's."""

import torch
from torch import nn
from torch.nn.utils import parametrize

from weight_align.method.parametrization import alignment_of
from weight_align.networks.resnet import Block, ResNet


@torch.no_grad()
def start(network: ResNet) -> None:
    """Set Fixup's initial weights, in place; the convolutions must have He et al.'s initial weights. Raises ValueError
    if the network has no Fixup scalars."""
    if not network.config.fixed_up:
        raise ValueError("Fixup's initial weights are for networks with Fixup's scalars (fixup=True)")
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


def fixup_scalars(network: nn.Module) -> list[nn.Parameter]:
    """Fixup's scalar offsets and factors, which its authors train at a tenth of the learning rate; empty without Fixup."""
    found = []
    for module in network.modules():
        if isinstance(module, Block | ResNet):
            names = dict(module.named_parameters(recurse=False))
            found += [value for name, value in names.items() if name == "scale" or name.startswith("bias")]
    return found


def _multiply(layer: nn.Module, factor: float) -> None:
    if alignment_of(layer) is not None:  # it only subtracts the mean
        layer.parametrizations["weight"].original.mul_(factor)  # type: ignore[index, union-attr, operator]
    elif parametrize.is_parametrized(layer, "weight"):  # weight norm's g
        layer.parametrizations["weight"].original0.mul_(factor)  # type: ignore[index, union-attr, operator]
    else:
        layer.weight.mul_(factor)  # type: ignore[operator, union-attr]
