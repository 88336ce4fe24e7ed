"""Conversion of trained networks to WeightAlign."""

from dataclasses import fields, replace

from torch import nn

from efficiency_core.errors import UsageError, checking
from weight_align.checkpoint import SUFFIX, load_network, read_weights, save_converted, save_network
from weight_align.commands.options import ConvertOptions
from weight_align.method import alignment_of, left_out
from weight_align.networks import AlignmentConfig, align_network, convert, is_aligned_state, torchvision_network


def run(options: ConvertOptions) -> None:
    """Convert; print how many layers were aligned and which were not."""
    conversion = options.conversion
    if options.keep == "function" and conversion.variance and conversion.scale != "filter":
        raise UsageError(f"--scale {conversion.scale} cannot keep each filter's deviation; add --keep weights")
    if options.out.suffix != SUFFIX:
        raise UsageError(f"{options.out}: a network is written as safetensors; name the file NAME{SUFFIX}")
    if conversion.network:
        _convert_torchvision(options)
    else:
        _convert_own(options)
    print(options.out)


def _convert_own(options: ConvertOptions) -> None:
    conversion = options.conversion
    if conversion.exclude or conversion.classifier:
        raise UsageError("--exclude and --classifier are for networks of torchvision (--network NAME)")
    saved = load_network(options.weights)
    network = saved.network
    if network.config.align:
        raise UsageError(f"{options.weights}: is aligned already; fold it first")
    shared = {field.name: getattr(conversion, field.name) for field in fields(AlignmentConfig)}
    with checking(options.weights):
        network.config = replace(network.config, align=True, **shared)
        align_network(network, options.keep)
    _report(network)
    save_network(options.out, network, saved.metadata)


def _convert_torchvision(options: ConvertOptions) -> None:
    conversion = options.conversion
    state, _ = read_weights(options.weights, conversion.network)
    if is_aligned_state(state):
        raise UsageError(f"{options.weights}: is aligned already; fold it first")
    with checking():
        network = torchvision_network(conversion.network, conversion.classes, state)
        convert(network, conversion, options.keep)
    _report(network)
    save_converted(options.out, network, conversion)


def _report(network: nn.Module) -> None:
    print(f"aligned  {sum(alignment_of(layer) is not None for layer in network.modules())} layers")
    print(f"plain    {', '.join(left_out(network)) or 'none'}")
