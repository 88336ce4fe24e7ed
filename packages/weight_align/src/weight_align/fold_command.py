"""Turn an aligned network into one of plain layers with the same outputs; says how far they differ."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from weight_align.errors import UsageError, WorkError

__all__ = ["INTERRUPTED", "add_arguments", "run"]

INTERRUPTED = "nothing was written"
_CLOSE = 1e-5
_SEGMENTATION = "weight_align.segmentation/1"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of the command, without ``--device`` and ``--debug``."""
    command.add_argument("checkpoint", metavar="CHECKPOINT", type=Path, help="network.pt of a training or of convert")
    command.add_argument("--out", type=Path, required=True, metavar="FILE.pt", help="where the folded network goes")
    command.add_argument(
        "--state",
        action="store_true",
        help="write the bare state_dict, for code that knows nothing of this package (of torchvision's networks, always)",
    )


def run(options: argparse.Namespace, device: str) -> int:
    """Fold; outputs for random images are compared before and after."""
    from weight_align.checkpoint import write_tensors
    from weight_align.folding import fold
    from weight_align.parametrization import alignment_of

    opened = _open(options.checkpoint)
    count = sum(alignment_of(layer) is not None for layer in opened.network.modules())
    if not count:
        raise UsageError(f"{options.checkpoint}: has no aligned layer; was it folded before?")
    images = torch.randn(2, 3, opened.size, opened.size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = _scores(opened.network(images))
        fold(opened.network)
        after = _scores(opened.network(images))
    change = float((after - before).abs().max() / before.abs().max().clamp(min=1e-30))
    if not change <= _CLOSE:
        raise WorkError(
            f"{options.checkpoint}: folding changed the outputs by {change:.1e} of the largest, not written"
        )
    if options.state or opened.write is None:
        write_tensors(options.out, dict(opened.network.state_dict()))
    else:
        opened.write(options.out)
    print(f"folded  {count} layers")
    print(f"change  {change:.1e} of the largest output")
    print(options.out)
    return 0


class _Opened(NamedTuple):
    network: nn.Module
    size: int
    """Side of images that it takes."""
    write: Callable[[Path], None] | None
    """Writes the folded network with what was saved beside it; None where that is nothing."""


def _open(path: Path) -> _Opened:
    from weight_align.checkpoint import load_network, read_format, save_network
    from weight_align.converted import FORMAT as CONVERTED
    from weight_align.converted import load_converted

    kind = read_format(path)
    if kind == CONVERTED:
        return _Opened(load_converted(path)[0], 224, None)
    if kind == _SEGMENTATION:
        from weight_align.deeplab import load_deeplab, save_deeplab

        deeplab, facts = load_deeplab(path)

        def write(out: Path) -> None:
            deeplab.config = replace(deeplab.config, align=False, fixup=deeplab.config.fixed_up)
            save_deeplab(out, deeplab, facts)

        return _Opened(deeplab, 64, write)
    saved = load_network(path)
    size = 32 if saved.network.config.stem == "cifar" else 64
    return _Opened(saved.network, size, lambda out: save_network(out, saved.network, saved.facts))


def _scores(output: Any) -> Tensor:
    """Of torchvision's networks for segmentation, the main output."""
    scores: Tensor = output["out"] if isinstance(output, dict) else output
    return scores
