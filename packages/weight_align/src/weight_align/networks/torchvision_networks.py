"""Networks and trained weights of torchvision by name, and their conversion to WeightAlign. Needs torchvision."""

import sys
from collections.abc import Mapping
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from weight_align.method.convert import Keep, weight_align
from weight_align.networks.config import Conversion
from weight_align.networks.network import align_options


def convert(network: nn.Module, conversion: Conversion, keep: Keep) -> nn.Module:
    """Align a network in place as ``conversion`` says; see :func:`~weight_align.method.convert.weight_align`. Raises
    ValueError if a layer cannot be aligned."""
    exclude, classifier = conversion.exclude, conversion.classifier
    return weight_align(network, exclude=exclude, classifier=classifier, keep=keep, **align_options(conversion))


def torchvision_weights(name: str, network: str) -> Mapping[str, Tensor]:
    """The weights that torchvision publishes; they are downloaded on first use. Raises ValueError if torchvision has no
    such network or weights; OSError, RuntimeError if the weights cannot be downloaded. ``name``: name of the weights,
    for example ``IMAGENET1K_V1``; ``network``: torchvision's name of the network, for example ``resnet50``."""
    from torchvision.models import get_model_weights

    try:
        known = {entry.name: entry for entry in get_model_weights(network)}
    except ValueError as error:
        raise ValueError(f"torchvision has no network {network!r}; it has resnet50, vgg16_bn, ...") from error
    if name not in known:
        raise ValueError(f"weights of {network} must be a file or one of {', '.join(known)}, got {name!r}")
    return known[name].get_state_dict(progress=sys.stderr.isatty(), check_hash=True)


def torchvision_network(
    name: str, classes: int, state: Mapping[str, Tensor] | None = None, auxiliary: bool | None = None
) -> nn.Module:
    """A network of torchvision on the CPU, in eval mode, with random weights or those of ``state``. Raises ValueError
    if there is no such network or the state does not fit. ``auxiliary``: whether networks with an optional auxiliary
    classifier (GoogLeNet, Inception, most for segmentation) have it; None: if ``state`` has it, and without a state
    torchvision's default."""
    from torchvision import models

    segments = name in models.list_models(module=models.segmentation)
    if not segments and name not in models.list_models(module=models):
        raise ValueError(
            f"torchvision has no network {name!r} that classifies images or their pixels; it has resnet50, vgg16_bn, "
            "mobilenet_v3_small, ..."
        )
    # Networks for segmentation would download weights of their backbone, which the state replaces.
    options: dict[str, Any] = {"weights_backbone": None} if segments else {}
    if auxiliary is None and state is not None:
        auxiliary = has_auxiliary(state)
    if auxiliary is not None and (option := _auxiliary_option(name)) is not None:
        options[option] = auxiliary
    try:
        with torch.random.fork_rng(devices=[]):
            network: nn.Module = models.get_model(name, weights=None, num_classes=classes, **options)
        if state is not None:
            network.load_state_dict(state)
    except (RuntimeError, TypeError, ValueError) as error:
        said = " ".join(str(error).split())
        raise ValueError(f"the weights do not fit {name} with {classes} classes ({said[:200]})") from error
    return network.eval()


def has_auxiliary(state: Mapping[str, Tensor]) -> bool:
    """Whether the ``state_dict`` of a network of torchvision has an auxiliary classifier."""
    return any(name.lower().startswith("aux") for name in state)


def _auxiliary_option(name: str) -> str | None:
    from torchvision import models

    if name in ("googlenet", "inception_v3"):
        return "aux_logits"
    return "aux_loss" if "aux_loss" in signature(models.get_model_builder(name)).parameters else None
