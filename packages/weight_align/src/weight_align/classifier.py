"""Which layers of a network give the class scores: the thesis leaves them as they are (section 5.4.2)."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from weight_align.filters import LAYERS

__all__ = ["classifiers"]


def classifiers(model: nn.Module) -> set[str]:
    """Names of the layers that give the class scores.

    A network that names its own through ``get_classifier()``, as timm's do, is believed. Of any other it is the last linear
    layer or, where it has none, the last convolution, in the order the network registers them; and the same of each
    auxiliary branch, a direct child whose name begins with ``aux`` (torchvision's Inception, GoogLeNet and DeepLab).
    A single layer has no classifier. Where a network has several outputs, a detector for example, name them yourself.
    """
    if isinstance(model, LAYERS):
        return set()
    ask = getattr(model, "get_classifier", None)
    if callable(ask):
        return _inside(model, ask())
    branches = [name for name, _ in model.named_children() if name.lower().startswith("aux")]
    found = _last(model, lambda top: top not in branches)
    for name in branches:
        found |= _last(model, name.__eq__)
    return found


def _inside(model: nn.Module, answer: object) -> set[str]:
    heads = answer if isinstance(answer, tuple | list) else (answer,)
    inside = {id(layer) for head in heads if isinstance(head, nn.Module) for layer in head.modules()}
    return {name for name, layer in model.named_modules() if isinstance(layer, LAYERS) and id(layer) in inside}


def _last(model: nn.Module, within: Callable[[str], bool]) -> set[str]:
    layers = {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, LAYERS) and within(name.partition(".")[0])
    }
    linear = [name for name, layer in layers.items() if isinstance(layer, nn.Linear)]
    return set((linear or list(layers))[-1:])
