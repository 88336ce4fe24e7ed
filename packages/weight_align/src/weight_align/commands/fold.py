"""Folding of aligned networks, with a comparison of the outputs before and after."""

from typing import Any

import torch
from torch import Tensor

from efficiency_core.errors import UsageError, WorkError
from weight_align.checkpoint import SUFFIX, load_any, save_network, write_weights
from weight_align.commands.options import FoldOptions
from weight_align.method import alignment_of, fold
from weight_align.networks import DeepLab

_CLOSE = 1e-5


def run(options: FoldOptions) -> None:
    """Fold; print how far the outputs for random images differ."""
    saved = load_any(options.checkpoint)
    network = saved.network
    bare = options.state or saved.conversion is not None
    if not bare and options.out.suffix != SUFFIX:
        raise UsageError(f"{options.out}: a network is written as safetensors; name it NAME{SUFFIX}, or add --state")
    count = sum(alignment_of(layer) is not None for layer in network.modules())
    if not count:
        raise UsageError(f"{options.checkpoint}: has no aligned layer; was it folded before?")
    small = saved.conversion is None and not isinstance(network, DeepLab) and network.config.stem == "cifar"
    size = 32 if small else 64 if saved.conversion is None else 224
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = _scores(network(images))
        fold(network)
        after = _scores(network(images))
    change = float((after - before).abs().max() / before.abs().max().clamp(min=1e-30))
    if not change <= _CLOSE:
        raise WorkError(
            f"{options.checkpoint}: folding changed the outputs by {change:.1e} of the largest, not written"
        )
    if bare:
        write_weights(options.out, network.state_dict())
    else:
        save_network(options.out, network, saved.metadata)
    print(f"folded  {count} layers")
    print(f"change  {change:.1e} of the largest output")
    print(options.out)


def _scores(output: Any) -> Tensor:
    """The scores, or the main output of a segmentation network of torchvision."""
    return output["out"] if isinstance(output, dict) else output
