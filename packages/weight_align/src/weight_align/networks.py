"""The networks of chapter 5 from one place: every backbone with every norm, each with and without WeightAlign."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from weight_align import fixup, together
from weight_align.align import gain_value
from weight_align.convert import Keep, weight_align
from weight_align.network_config import NetworkConfig
from weight_align.norms import weight_norm
from weight_align.resnet import ResNet
from weight_align.vgg import VGG
from weight_align.weights import read_weights

__all__ = ["Network", "NetworkConfig", "align_network", "build_network"]

Network = ResNet | VGG


def build_network(config: NetworkConfig, weights: str | Path | None = None) -> Network:
    """A network with random weights, or with those of a trained one.

    Random weights are drawn from torch's default generator. Of weights with another number of classes, the classifier
    is left out and starts from random.

    Args:
        config: its layers.
        weights: a ``network.pt`` of this package, a file with a state of torchvision's network, or torchvision's name of
            weights, such as ``IMAGENET1K_V1`` (needs torchvision; downloaded on first use). Weights of a network without
            WA may start one with it (thesis 5.4.3): scales then start at the deviations that its filters have, as
            ``weight_align(network, keep="function")`` does, where they are one a filter, else at one.

    Returns:
        A network that turns images (B, 3, H, W) of floating point into class scores (B, classes); ``.config`` is
        ``config``.

    Raises:
        UsageError: if there are no such weights or they do not fit.
        WorkError: if they cannot be downloaded.
    """
    network = VGG(config) if config.backbone == "vgg16" else ResNet(config)
    given = None if weights is None else read_weights(weights, config)
    if given is not None and config.align and not given.aligned:
        given.load(network)
        align_network(network, "function" if config.scale == "filter" or not config.variance else "weights")
        return network
    if config.norm == "wn":
        for name, layer in network.named_modules():
            if isinstance(layer, nn.Conv2d | nn.Linear) and name not in ("fc", "classifier", "classifier.6"):
                weight_norm(layer)
    if config.align:
        align_network(network, "weights")
    if isinstance(network, ResNet) and config.fixed_up:
        fixup.start(network)
    if given is not None:
        given.load(network)
    return network


def align_network(network: Network, keep: Keep) -> None:
    """Align a plain network in place as its configuration says; see :func:`~weight_align.convert.weight_align` for ``keep``.

    Raises:
        ValueError: if it is aligned already.
    """
    config = network.config
    weight_align(
        network,
        gain=gain_value(config.gain) / config.scale_factor,
        scale=config.scale,
        centre=config.centre,
        variance=config.variance,
        keep=keep,
    )
    if together.pays(network):
        together.install(network)
