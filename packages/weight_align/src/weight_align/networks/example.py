"""The example network of section 5.3.4, which shows how activations are distributed before any training."""

from typing import Literal

from torch import nn

from weight_align.method.convert import weight_align
from weight_align.networks.config import Norm
from weight_align.networks.norms import make_norm

_CONVOLUTIONS = 7


def example_network(
    norm: Norm = "none", align: bool = False, *, gain: Literal["thesis", "nf"] = "thesis", width: int = 64,
    size: int = 16, classes: int = 10,
) -> nn.Sequential:  # fmt: skip
    """Seven convolutions 3x3 without bias, each with its norm and ReLU, and a linear classifier without bias. Initial
    weights are those of He et al., from torch's default generator. The thesis does not give the width, the size of the
    inputs or how the classifier reads the maps; here the classifier reads all positions. Modules are called ``conv1``,
    ``norm1``, ``relu1``, ..., ``flatten``, ``classifier``.

    Args:
        norm: ``none``, ``bn``, ``gn``, ``ln`` or ``in``.
        align: whether the convolutions are aligned.
        width: channels of each convolution.
        size: height and width of the inputs (B, 3, size, size)."""
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
    return weight_align(network, gain=gain) if align else network
