"""``weight_align`` aligns the layers of any network, in place; ``fold`` turns them back into plain ones."""

import logging
import warnings
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from weight_align.method.classifier import classifiers
from weight_align.method.filters import LAYERS, layout_of
from weight_align.method.functional import EPS, Gain
from weight_align.method.parametrization import Scale, WeightAlignment, alignment_of, attach, detach, left_out
from weight_align.method.together import install, uninstall

Model = TypeVar("Model", bound=nn.Module)
Keep = Literal["weights", "function"]
_log = logging.getLogger(__name__)


def weight_align(
    model: Model, *, exclude: str | Iterable[str] = (), classifier: bool = False, gain: Gain = "thesis",
    scale: Scale = "filter", centre: bool = True, variance: bool = True, eps: float = EPS, keep: Keep = "weights",
    together: bool = False,
) -> Model:  # fmt: skip
    """Align the weights of a network's convolutions and linear layers (thesis equation 5.10), in place. Parameters stay
    the same objects, under ``parametrizations.weight.original``. Edit them there: ``layer.weight`` is a new tensor each
    time, so ``nn.init`` has no effect on it. The scales are new parameters, so create the optimiser afterwards. The log
    (level INFO) names what stays plain, as :func:`left_out` does. After an error the network is unchanged. Returns
    ``model``. Raises ValueError if a pattern matches nothing, layers are aligned already or cannot be aligned (the
    weight has another parametrization, is shared, is lazy, or has one weight per filter), no layer is left to align, or
    a setting is invalid.

    Args:
        model: any network; ``model`` itself may be the layer.
        exclude: layers to leave out, by name or ``fnmatch`` pattern (``"stem.*"``). A pattern that matches the name of a
            module leaves out all layers in it.
        classifier: whether to align the classifier too, which the thesis does not;
            :func:`~weight_align.method.classifier.classifiers` finds it.
        gain: ``"thesis"``, ``"nf"`` or a number; see :func:`~weight_align.method.functional.align`.
        scale: a learnable scale for each ``"filter"``, one for each ``"layer"``, or ``"none"``.
        centre: whether filters get mean zero.
        variance: whether filters get variance 2/n.
        eps: under the root of equation 5.10.
        keep: ``"weights"``: scales start at one, so filters have the variance 2/n at once (for networks from scratch).
            ``"function"``: each scale starts at the standard deviation of its filter, so a trained network computes what it
            did before, except for the mean of its filters, which is subtracted (for fine-tuning). The outputs are the same
            where that mean is zero, as in a folded network, and with ``centre=False``.
        together: whether to align all weights in one step when ``model`` is called, which has less overhead where layers
            are small; see :mod:`weight_align.method.together`. The numbers are the same."""
    if keep not in ("weights", "function"):
        raise ValueError(f"keep must be 'weights' or 'function', got {keep!r}")
    if keep == "function" and variance and scale != "filter":
        raise ValueError(f"keep='function' needs a scale for each filter, got scale={scale!r}")
    layers = _chosen(model, (exclude,) if isinstance(exclude, str) else tuple(exclude), classifier)
    if not layers:
        raise ValueError(f"{torch.typename(model)} has no convolution or linear layer to align that is not left out")
    _check(model, layers)
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
            alignments[name].keep(_weight(layer))
        attach(layer, alignments[name])
    if together:
        install(model)
    _log.info("%d layers have WeightAlign; left out: %s", len(layers), ", ".join(left_out(model)) or "none")
    return model


def fold(model: Model) -> Model:
    """Turn every aligned layer back into a plain layer whose weight is the aligned weight, in place. The outputs do not
    change. The layers have their own class again, without parametrization or scale and without the cost of the
    alignment. The network can be exported, pickled, and loaded without this package. Parameters stay the same objects.
    Returns ``model``. Raises ValueError if no layer is aligned: the network was folded before, or never converted.
    ``model``: a network, or a single layer, that :func:`weight_align` aligned."""
    layers = [layer for layer in model.modules() if alignment_of(layer) is not None]
    if not layers:
        raise ValueError(f"{torch.typename(model)} has no aligned layer; was it folded before?")
    uninstall(model)
    for layer in layers:
        detach(layer)
    return model


def _chosen(model: nn.Module, patterns: tuple[str, ...], classifier: bool) -> dict[str, nn.Module]:
    """The layers to align, by name."""
    names = [name for name, _ in model.named_modules()]
    unknown = [repr(each) for each in patterns if not any(fnmatchcase(name, each) for name in names if name)]
    if unknown:
        verb = "matches" if len(unknown) == 1 else "match"
        raise ValueError(f"exclude: {', '.join(unknown)} {verb} no module of {torch.typename(model)}")
    out = set() if classifier else classifiers(model)
    return {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, LAYERS)
        and name not in out
        and not any(fnmatchcase(place, pattern) for place in _places(name) for pattern in patterns)
    }


def _places(name: str) -> list[str]:
    """The name of a module and of every module that contains it: ``a.b.c``, ``a.b``, ``a``."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(len(parts), 0, -1)]


def _check(model: nn.Module, layers: dict[str, nn.Module]) -> None:
    """Refuse the layers that cannot be aligned, all in one message."""
    problems: dict[str, list[str]] = {}
    sound = {}
    for name, layer in layers.items():
        if reason := _problem(layer):
            problems.setdefault(reason, []).append(name or torch.typename(layer))
        else:
            sound[name] = layer
    problems |= _shared(model, sound)
    if problems:
        raise ValueError(
            ". ".join(
                f"{first} cannot be aligned: {reason}" + (f"; the same holds for {', '.join(rest)}" if rest else "")
                for reason, (first, *rest) in problems.items()
            )
        )


def _problem(layer: nn.Module) -> str:
    """Why a layer cannot be aligned; empty if it can."""
    mend = "; name it in exclude"
    if alignment_of(layer) is not None:
        return "it is aligned already; fold the network first, or name it in exclude"
    if parametrize.is_parametrized(layer, "weight"):
        found = type(layer.parametrizations["weight"][0]).__name__  # type: ignore[index, union-attr]
        return f"its weight is parametrized by {found}; take that off first, or name it in exclude"
    weight = layer._parameters.get("weight")
    if weight is None:
        return f"its weight is not a parameter (weight_norm or spectral_norm?){mend}"
    if is_lazy(weight):
        return "it is lazy and has no weight yet; show the network an input first"
    layout = layout_of(layer)
    try:
        layout.check(weight)
    except ValueError as error:
        return f"{error}{mend}"
    return "" if layout.length(weight) > 1 else f"its filters have one weight each, which has no variance{mend}"


def _shared(model: nn.Module, layers: dict[str, nn.Module]) -> dict[str, list[str]]:
    """Layers with a weight that other modules hold too, by reason: it cannot be aligned in one of them alone, nor
    folded."""
    holders: dict[int, dict[int, str]] = {}
    for path, module in model.named_modules():  # each module once, also where it has two names
        for parameter in module.parameters(recurse=False):
            holders.setdefault(id(parameter), {})[id(module)] = path or torch.typename(model)
    found: dict[str, list[str]] = {}
    for name, layer in layers.items():
        others = [path for module, path in holders.pop(id(layer.weight), {}).items() if module != id(layer)]
        if others:
            hold, all_ = ("holds", "both") if len(others) == 1 else ("hold", "all")
            found[f"{', '.join(others)} {hold} the same weight; name {all_} in exclude"] = [name]
    return found


def _has_constant(layer: nn.Module) -> bool:
    weight = _weight(layer).detach()
    if weight.is_meta:
        return False
    rows = layout_of(layer).rows(weight)
    return bool((rows.amax(1) == rows.amin(1)).any())


def _weight(layer: nn.Module) -> Tensor:
    weight: Tensor = layer.weight  # type: ignore[assignment]
    return weight
