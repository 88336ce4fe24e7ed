"""The layers that compute the class scores: the thesis does not align them (section 5.4.2)."""

import re

from torch import nn

from weight_align.method.filters import LAYERS

_HEAD = re.compile(r"(?:.*_)?(?:heads?|classifier|fc|logits)")
_HIDDEN = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish,
)  # fmt: skip
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def classifiers(model: nn.Module) -> set[str]:
    """Names of the layers that compute the class scores. A network with a method ``get_classifier()``, as timm's have,
    names its own. In any other network it is the last linear layer or convolution in the order of registration. If that
    layer is in a direct child named as a head (``head``, ``segmentation_head``, ``classifier``, ``fc``, ...), every such
    child has a classifier: its last layer. So has each auxiliary branch, a direct child whose name begins with ``aux``.

    A network without a head has none, nor has a single layer. A network has no head if that of its children is an
    ``nn.Identity``, or if its last layer is an inner one: a norm of its outputs is registered after it, an activation
    such as ReLU follows it in an ``nn.Sequential``, or another block of the same class has a layer with the same name
    and number of outputs. For a network with several outputs, a detector for example, name them yourself."""
    if isinstance(model, LAYERS):
        return set()
    ask = getattr(model, "get_classifier", None)
    if callable(ask):
        return _inside(model, ask())
    children = dict(model.named_children())
    if len(children) == 1 and not isinstance(child := next(iter(children.values())), LAYERS):  # a wrapper
        return {f"{next(iter(children))}.{found}" for found in classifiers(child)}
    layers = [name for name, layer in model.named_modules() if isinstance(layer, LAYERS)]
    lasts = {_top(name): name for name in layers}
    auxiliary = {name for name in children if name.lower().startswith("aux")}
    heads = {name for name in children if _HEAD.fullmatch(name.lower())} - auxiliary
    found = {lasts[name] for name in auxiliary & lasts.keys()}
    last = next((name for name in reversed(layers) if _top(name) not in auxiliary), None)
    if last is None:
        return found
    if _top(last) in heads or any(_is_identity(children[name]) for name in heads) or _is_inner(model, last):
        return found | {lasts[name] for name in heads & lasts.keys()}
    return found | {last}


def _top(name: str) -> str:
    return name.partition(".")[0]


def _inside(model: nn.Module, answer: object) -> set[str]:
    heads = answer if isinstance(answer, tuple | list) else (answer,)
    inside = {id(layer) for head in heads if isinstance(head, nn.Module) for layer in head.modules()}
    return {name for name, layer in model.named_modules() if isinstance(layer, LAYERS) and id(layer) in inside}


def _is_identity(head: nn.Module) -> bool:
    return all(isinstance(module, nn.Identity | nn.Sequential) for module in head.modules())


def _is_inner(model: nn.Module, name: str) -> bool:
    """Whether the last layer does not compute the output of the network (see :func:`classifiers`)."""
    modules = dict(model.named_modules())
    outputs, names = _outputs(modules[name]), list(modules)
    if any(outputs in _norm_sizes(modules[later]) for later in names[names.index(name) + 1 :]):
        return True
    parent = name.rpartition(".")[0]
    if isinstance(block := modules[parent], nn.Sequential):
        beside = list(block)
        after = beside.index(modules[name]) + 1
        if isinstance(next(iter(beside[after:]), None), _HIDDEN):
            return True
    while parent:
        kind = type(modules[parent])
        twins = [place for place, module in modules.items() if type(module) is kind and place not in ("", parent)]
        if kind not in _CONTAINERS and any(
            _outputs(modules.get(place + name[len(parent) :])) == outputs for place in twins
        ):
            return True
        parent = parent.rpartition(".")[0]
    return False


def _outputs(layer: nn.Module | None) -> object:
    return getattr(layer, "out_features", None) or getattr(layer, "out_channels", None)


def _norm_sizes(module: nn.Module) -> set[object]:
    """Numbers of channels that a norm may have; empty for other modules."""
    if "norm" not in type(module).__name__.lower():
        return set()
    own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    sizes = {value.numel() for value in own if value.dim()}
    return {*sizes, getattr(module, "num_features", None), getattr(module, "num_channels", None)} - {None}
