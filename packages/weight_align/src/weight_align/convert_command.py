"""Align the weights of a trained network, as a start for fine-tuning it (thesis 5.4.3); no training is done."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from torch import nn

from weight_align.errors import UsageError

__all__ = ["INTERRUPTED", "add_arguments", "run"]

INTERRUPTED = "nothing was written"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of the command, without ``--device`` and ``--debug``."""
    command.add_argument(
        "weights",
        metavar="WEIGHTS",
        help="network.pt of a training without WeightAlign; with --network a state of that network, or torchvision's name of "
        "its weights, for example IMAGENET1K_V1",
    )
    command.add_argument("--out", type=Path, required=True, metavar="FILE.pt", help="where the aligned network goes")
    command.add_argument("--network", metavar="NAME", help="a network of torchvision, for example resnet50")
    command.add_argument("--classes", type=int, default=1000, metavar="N", help="its outputs (default: 1000)")
    command.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="PATTERN",
        help="with --network: leave out layers, or all that is in a module, by name (layer4.*); may be repeated",
    )
    command.add_argument("--classifier", action="store_true", help="with --network: align the classifier too")
    command.add_argument(
        "--keep",
        choices=("function", "weights"),
        default="function",
        help="function: scales start at the deviations of the filters (default); weights: at one",
    )
    command.add_argument("--gain", choices=("thesis", "nf"), default="thesis", help="(default: thesis)")
    command.add_argument(
        "--scale", choices=("filter", "layer", "none"), default="filter", help="learnable scales (default: filter)"
    )
    command.add_argument("--no-centre", dest="centre", action="store_false", help="leave the filters' means")
    command.add_argument("--no-variance", dest="variance", action="store_false", help="leave the filters' variances")


def run(options: argparse.Namespace, device: str) -> int:
    """Convert; says how many layers were aligned and which were not."""
    if options.keep == "function" and options.variance and options.scale != "filter":
        raise UsageError(f"--scale {options.scale} cannot keep each filter's deviation; add --keep weights")
    if options.network is None:
        _convert_own(options)
    else:
        _convert_torchvision(options)
    print(options.out)
    return 0


def _convert_own(options: argparse.Namespace) -> None:
    from weight_align.checkpoint import load_network, save_network
    from weight_align.networks import align_network

    if options.exclude or options.classifier:
        raise UsageError("--exclude and --classifier are for networks of torchvision (--network NAME)")
    saved = load_network(options.weights)
    config = saved.network.config
    if config.align:
        raise UsageError(f"{options.weights}: is aligned already; fold it first")
    chosen = {name: getattr(options, name) for name in ("gain", "scale", "centre", "variance")}
    try:
        aligned = replace(config, align=True, **chosen)
    except ValueError as error:
        raise UsageError(f"{options.weights}: {error}") from error
    network = saved.network
    network.config = aligned
    try:
        align_network(network, options.keep)
    except ValueError as error:
        raise UsageError(f"{options.weights}: {error}") from error
    _tell(network)
    save_network(options.out, network, saved.facts)


def _convert_torchvision(options: argparse.Namespace) -> None:
    from weight_align.converted import Conversion, save_converted, torchvision_network
    from weight_align.weights import Weights, read_state

    if options.classes < 1:
        raise UsageError(f"--classes must be at least 1, got {options.classes}")
    state = read_state(options.weights, options.network)
    if Weights(options.weights, state).aligned:
        raise UsageError(f"{options.weights}: is aligned already; fold it first")
    network = torchvision_network(options.network, options.classes, state)
    conversion = Conversion(
        options.network,
        options.classes,
        tuple(options.exclude),
        options.classifier,
        options.gain,
        options.scale,
        options.centre,
        options.variance,
    )
    conversion.align(network, options.keep)
    _tell(network)
    save_converted(options.out, network, conversion)


def _tell(network: nn.Module) -> None:
    from weight_align.filters import LAYERS
    from weight_align.parametrization import alignment_of

    layers = {name: layer for name, layer in network.named_modules() if isinstance(layer, LAYERS)}
    plain = [name for name, layer in layers.items() if alignment_of(layer) is None]
    print(f"aligned  {len(layers) - len(plain)} layers")
    print(f"plain    {', '.join(plain) or 'none'}")
