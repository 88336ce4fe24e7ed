"""``weight_align``: WeightAlign for the layers of any network, in place."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from weight_align.align import EPS, Gain
from weight_align.classifier import classifiers
from weight_align.filters import LAYERS, layout_of
from weight_align.parametrization import Scale, WeightAlignment, alignment_of, attach
from weight_align.together import install

__all__ = ["Keep", "weight_align"]

Model = TypeVar("Model", bound=nn.Module)
Keep = Literal["weights", "function"]


def weight_align(
    model: Model,
    *,
    exclude: str | Iterable[str] = (),
    classifier: bool = False,
    gain: Gain = "thesis",
    scale: Scale = "filter",
    centre: bool = True,
    variance: bool = True,
    eps: float = EPS,
    keep: Keep = "weights",
    together: bool = False,
) -> Model:
    """Align the weights of a network's convolutions and linear layers (thesis equation 5.10), in place.

    Parameters stay the objects they were, under ``parametrizations.weight.original``; the scales are new, so make the
    optimiser afterwards. Nothing is changed where an error is raised.

    Args:
        model: any network; ``model`` itself may be the layer.
        exclude: layers to leave as they are, by name or pattern (``"stem.*"``, as of ``fnmatch``); a pattern that matches
            a module's name leaves out all that is in it.
        classifier: whether to align the classifier too, which the thesis does not; which layer that is says
            :func:`~weight_align.classifier.classifiers`.
        gain: ``"thesis"``, ``"nf"`` or a number; see :func:`~weight_align.align.align`.
        scale: a learnable scale for each ``"filter"``, one for each ``"layer"``, or ``"none"``.
        centre: whether filters get mean zero.
        variance: whether filters get variance 2/n.
        eps: under the root of equation 5.10.
        keep: ``"weights"``: scales start at one, so that filters have the variance 2/n at once, whatever they had (for
            networks from scratch). ``"function"``: each scale starts at its filter's own deviation, so that a trained
            network computes what it did, but for the mean of its filters, which is taken away (for networks to be
            fine-tuned); exactly what it did where that mean is zero, as in a folded network, and with ``centre=False``.
        together: whether to align all weights in one step when ``model`` is called, which saves overhead where layers are
            small; see :mod:`weight_align.together`. The numbers are the same.

    Returns:
        ``model``.

    Raises:
        ValueError: if a pattern matches nothing, a layer is aligned already or cannot be (its weight is parametrized
            otherwise, shared, not there yet, or has one weight a filter), nothing is left to align, or a setting makes no
            sense.
    """
    if keep not in ("weights", "function"):
        raise ValueError(f"keep must be 'weights' or 'function', got {keep!r}")
    if keep == "function" and variance and scale != "filter":
        raise ValueError(f"keep='function' needs a scale for each filter, got scale={scale!r}")
    layers = _chosen(model, (exclude,) if isinstance(exclude, str) else tuple(exclude), classifier)
    if not layers:
        raise ValueError(f"{torch.typename(model)} has no convolution or linear layer to align that is not left out")
    for name, layer in layers.items():
        _check(name, layer)
    _check_shared(model, layers)
    alignments = {
        name: WeightAlignment(
            _weight(layer), layout_of(layer), gain=gain, scale=scale, centre=centre, variance=variance, eps=eps
        )
        for name, layer in layers.items()
    }
    constant = [name for name, layer in layers.items() if variance and keep == "weights" and _has_constant(layer)]
    if constant:
        warnings.warn(
            f"{constant[0]} ({len(constant)} such layers) has filters of constant weights, where equation 5.10 is 0/0: they "
            "give zeros, and their first gradients are very large; draw them at random and let their scales start at 0",
            stacklevel=2,
        )
    for name, layer in layers.items():
        if keep == "function":
            _keep_function(_weight(layer), alignments[name])
        attach(layer, alignments[name])
    if together:
        install(model)
    return model


def _chosen(model: nn.Module, patterns: tuple[str, ...], classifier: bool) -> dict[str, nn.Module]:
    """Layers to align by name; those that patterns or the rule for classifiers leave out are not among them."""
    names = [name for name, _ in model.named_modules()]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names if name):
            raise ValueError(f"exclude: {pattern!r} matches no module of {torch.typename(model)}")
    out = set() if classifier else classifiers(model)
    return {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, LAYERS)
        and name not in out
        and not any(fnmatchcase(place, pattern) for place in _places(name) for pattern in patterns)
    }


def _places(name: str) -> list[str]:
    """A module's name and those of all it is in: ``a.b.c``, ``a.b``, ``a``."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(len(parts), 0, -1)]


def _check(name: str, layer: nn.Module) -> None:
    said = f"{name or torch.typename(layer)} cannot be aligned"
    mend = "; name it in exclude"
    if alignment_of(layer) is not None:
        raise ValueError(f"{said}: it is aligned already; fold the network first{mend.replace('; name', ', or name')}")
    if parametrize.is_parametrized(layer, "weight"):
        found = type(layer.parametrizations["weight"][0]).__name__  # type: ignore[index, union-attr]
        raise ValueError(f"{said}: its weight is parametrized by {found}; take that off first, or name it in exclude")
    weight = layer._parameters.get("weight")
    if weight is None:
        raise ValueError(f"{said}: its weight is not a parameter (weight_norm or spectral_norm?){mend}")
    if is_lazy(weight):
        raise ValueError(f"{said}: it is lazy and has no weight yet; show the network an input first")
    try:
        layout = layout_of(layer)
        layout.check(weight)
    except ValueError as error:
        raise ValueError(f"{said}: {error}{mend}") from error
    if layout.length(weight) < 2:
        raise ValueError(f"{said}: its filters have one weight each, which has no variance{mend}")


def _check_shared(model: nn.Module, layers: dict[str, nn.Module]) -> None:
    """A weight that two modules hold cannot be aligned in one of them alone, nor folded in either."""
    holders: dict[int, dict[int, str]] = {}
    for path, module in model.named_modules():  # each module once, also where it has two names
        for parameter in module.parameters(recurse=False):
            holders.setdefault(id(parameter), {})[id(module)] = path
    for name, layer in layers.items():
        others = [path for module, path in holders[id(layer.weight)].items() if module != id(layer)]
        if others:
            raise ValueError(f"{name} cannot be aligned: {others[0]} holds the same weight; name both in exclude")


def _has_constant(layer: nn.Module) -> bool:
    weight = _weight(layer).detach()
    if weight.is_meta:
        return False
    rows = layout_of(layer).rows(weight)
    return bool((rows.amax(1) == rows.amin(1)).any())


@torch.no_grad()
def _keep_function(weight: Tensor, alignment: WeightAlignment) -> None:
    """Let each scale make up for what the alignment divides by."""
    if alignment.scale is None or not alignment.variance:
        return
    recipe = alignment.recipe
    rows = recipe.layout.rows(weight)
    rows = rows.float() if rows.dtype in (torch.float16, torch.bfloat16) else rows
    divisor = torch.sqrt(rows.shape[1] / 2 * rows.var(1, correction=0) + recipe.eps)
    alignment.scale.copy_(divisor / recipe.gain)


def _weight(layer: nn.Module) -> Tensor:
    weight: Tensor = layer.weight  # type: ignore[assignment]
    return weight
