"""Equation 5.10 as a parametrization of torch: ``layer.weight`` is the aligned weight of a parameter that is trained."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from weight_align.method.filters import Layout
from weight_align.method.functional import EPS, Gain, align, gain_value
from weight_align.method.fused import AlignSettings

Scale = Literal["filter", "layer", "none"]


class WeightAlignment(nn.Module):
    """:func:`~weight_align.method.functional.align` with its own scale, as a parametrization for
    ``torch.nn.utils.parametrize``. ``layer.parametrizations.weight.original`` is then w, the parameter that was the
    weight, and ``layer.parametrizations.weight[0].scale`` is gamma. Raises ValueError for an invalid weight or setting.

    Args:
        weight: weight of the layer; only its size, device and dtype are used.
        layout: positions of its filters.
        gain, centre, variance, eps: as in :func:`~weight_align.method.functional.align`.
        scale: a learnable gamma for each ``"filter"`` (C_out,), one for the ``"layer"`` (), or ``"none"``. It starts at one.
    """

    scale: nn.Parameter | None
    ready: Tensor | None
    """The aligned weight, from :mod:`weight_align.method.together` during a call of the network; otherwise None."""

    def __init__(
        self, weight: Tensor, layout: Layout | None = None, *, gain: Gain = "thesis", scale: Scale = "filter",
        centre: bool = True, variance: bool = True, eps: float = EPS,
    ) -> None:  # fmt: skip
        super().__init__()
        layout = layout or Layout()
        layout.check(weight)
        if scale not in ("filter", "layer", "none"):
            raise ValueError(f"scale must be one of ('filter', 'layer', 'none'), got {scale!r}")
        if not (centre or variance):
            raise ValueError("nothing to align: centre and variance are both False")
        if not eps > 0:
            raise ValueError(f"eps must be above 0, got {eps}")
        self.settings = AlignSettings(layout, gain_value(gain), eps)
        self.centre, self.variance, self.ready = centre, variance, None
        shape = {"filter": (layout.count(weight),), "layer": ()}
        start = torch.ones(shape[scale], device=weight.device, dtype=weight.dtype) if scale in shape else None
        self.register_parameter(
            "scale", None if start is None else nn.Parameter(start, requires_grad=weight.requires_grad)
        )

    def forward(self, weight: Tensor) -> Tensor:
        """w -> w_hat of the same shape."""
        if self.ready is not None:
            return self.ready
        return self.aligned(weight, self.scale)

    def aligned(self, weight: Tensor, scale: Tensor | None) -> Tensor:
        """w_hat of w at this scale."""
        layout = self.settings.layout
        return align(
            weight, scale, out_dim=layout.out_dim, groups=layout.groups, gain=self.settings.gain, centre=self.centre,
            variance=self.variance, eps=self.settings.eps,
        )  # fmt: skip

    def scale_of(self, weight: Tensor) -> Tensor | None:
        """The scale that gives the filters of w_hat the standard deviations they have in ``weight``, or the mean of them
        where there is one scale for the layer."""
        if self.scale is None or not self.variance:
            return None if self.scale is None else torch.ones_like(self.scale)
        rows = self.settings.layout.rows(weight)
        rows = rows.float() if rows.dtype in (torch.float16, torch.bfloat16) else rows
        found = torch.sqrt(rows.shape[1] / 2 * rows.var(1, correction=0) + self.settings.eps) / self.settings.gain
        return (found if self.scale.dim() else found.mean()).to(self.scale.dtype)

    @torch.no_grad()
    def keep(self, weight: Tensor) -> None:
        """Set the scale to :meth:`scale_of`."""
        if self.scale is not None:
            self.scale.copy_(self.scale_of(weight))  # type: ignore[arg-type]

    def extra_repr(self) -> str:
        """Settings for ``print``."""
        kind = "none" if self.scale is None else "layer" if self.scale.dim() == 0 else "filter"
        gain, eps = self.settings.gain, self.settings.eps
        return f"scale={kind}, gain={gain:.4g}, centre={self.centre}, variance={self.variance}, eps={eps:g}"


def alignment_of(layer: nn.Module) -> WeightAlignment | None:
    """The alignment of the weight of a layer, or None."""
    if not parametrize.is_parametrized(layer, "weight"):
        return None
    first = layer.parametrizations["weight"][0]  # type: ignore[index, union-attr]
    return first if isinstance(first, WeightAlignment) else None


def original_of(layer: nn.Module) -> nn.Parameter:
    """w of an aligned layer, the parameter that is trained."""
    original: nn.Parameter = layer.parametrizations["weight"].original  # type: ignore[index, union-attr, assignment]
    return original


def is_aligned(model: nn.Module) -> bool:
    """Whether ``model``, or a layer of it, is aligned."""
    return any(alignment_of(layer) is not None for layer in model.modules())


def left_out(model: nn.Module) -> list[str]:
    """Names of the layers that are not aligned, and of other weights of two dimensions or more that are not
    (``in_proj_weight`` of attention, those of an LSTM or of an embedding)."""
    aligned = {id(original_of(layer)) for layer in model.modules() if alignment_of(layer) is not None}
    found = []
    for name, value in model.named_parameters():
        owner, _, parametrized = name.partition(".parametrizations.")
        is_weight = "weight" in (parametrized or name.rpartition(".")[2])
        if is_weight and id(value) not in aligned and (is_lazy(value) or value.dim() > 1):
            found.append(owner.removesuffix(".weight"))
    return list(dict.fromkeys(found))


def attach(layer: nn.Module, alignment: WeightAlignment) -> None:
    """Make ``layer.weight`` the result of ``alignment``. A tensor or parameter that is assigned to ``layer.weight`` sets
    w and the scale (:func:`assign`). ``layer.reset_parameters()`` draws w anew. ``load_state_dict``, strict or not,
    refuses a state with a plain weight for the layer, a folded one for example."""
    _separate(layer)
    parametrize.register_parametrization(layer, "weight", alignment)
    for name, method in _METHODS.items():
        setattr(type(layer), name, method)
    layer.register_load_state_dict_pre_hook(_refuse_plain)


@torch.no_grad()
def detach(layer: nn.Module) -> None:
    """Reverse :func:`attach`: a plain layer whose weight is the aligned one, in the same parameter object and memory
    format."""
    aligned: Tensor = torch.empty_like(original_of(layer)).copy_(layer.weight)  # type: ignore[arg-type]
    _separate(layer)
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    layer._parameters["weight"].data = aligned  # type: ignore[union-attr]
    for name in [name for name in layer._parameters if name != "weight"]:  # the weight is the first again
        layer._parameters[name] = layer._parameters.pop(name)
    hooks = layer._load_state_dict_pre_hooks
    for key in [key for key, wrapped in hooks.items() if getattr(wrapped, "hook", None) is _refuse_plain]:
        del hooks[key]


@torch.no_grad()
def assign(layer: nn.Module, weight: Tensor) -> None:
    """Make ``weight`` the weight of an aligned layer: w is set to its values, and the scale to its standard deviations.
    Parameters stay the same objects. Raises ValueError if the shape differs, or no scale gives this weight: if the mean
    of a filter is not zero (with ``centre``), or its variance is not the one that the alignment gives it (without a
    scale per filter)."""
    alignment, original = alignment_of(layer), original_of(layer)
    assert alignment is not None
    if weight.shape != original.shape:
        raise ValueError(f"expected a weight of shape {tuple(original.shape)}, got {tuple(weight.shape)}")
    value = weight.detach().to(original)
    scale, rows = alignment.scale_of(value), alignment.settings.layout.rows
    sizes, gaps = (rows(each).abs().amax(1) for each in (value, alignment.aligned(value, scale) - value))
    allowed = 16 * torch.finfo(value.dtype).eps * sizes
    if bool((wrong := ~(gaps <= allowed)).any()):
        number = int(wrong.nonzero()[0])
        mean = rows(value)[number].mean().abs()
        uncentred = alignment.centre and bool(mean > allowed[number])
        raise ValueError(
            f"an aligned layer cannot have this weight: the {'mean' if uncentred else 'variance'} of filter {number} is set "
            "by the alignment; change layer.parametrizations.weight.original, from which the weight is computed, or fold "
            "the network first"
        )
    original.copy_(value)
    alignment.keep(value)


def _set_attribute(layer: nn.Module, name: str, value: Any) -> None:
    if name == "weight" and isinstance(value, Tensor):  # torch would register a parameter beside the parametrization
        assign(layer, value)
    else:
        super(type(layer), layer).__setattr__(name, value)  # type: ignore[misc]


def _reset_parameters(layer: nn.Module) -> None:
    """As the plain layer does, with w in place of the weight; the scale becomes one."""
    alignment = alignment_of(layer)
    assert alignment is not None
    alignment.ready = original_of(layer).detach()
    try:
        super(type(layer), layer).reset_parameters()  # type: ignore[misc]
    finally:
        alignment.ready = None
    if alignment.scale is not None:
        nn.init.ones_(alignment.scale)


_METHODS = {"__setattr__": _set_attribute, "reset_parameters": _reset_parameters}
"""Methods of the class that torch makes for a parametrized layer."""


def _separate(layer: nn.Module) -> None:
    """Give a parametrized layer a class of its own, without :data:`_METHODS`. Copies share the class that torch made for
    the layer, and torch changes that class when it adds or removes a parametrization."""
    if parametrize.is_parametrized(layer):
        shared = type(layer)
        own = {name: value for name, value in vars(shared).items() if name not in _METHODS}
        layer.__class__ = type(shared.__name__, shared.__bases__, own)


def _refuse_plain(
    layer: nn.Module, state_dict: Mapping[str, Any], prefix: str, local_metadata: Mapping[str, Any], strict: bool,
    missing_keys: list[str], unexpected_keys: list[str], error_msgs: list[str],
) -> None:  # fmt: skip
    if prefix + "weight" in state_dict:
        error_msgs.append(
            f"{prefix}weight is a plain weight (of a folded network, or one without WeightAlign), but this layer is "
            "aligned; load the state into the plain network and convert that: weight_align(model, keep='function')"
        )
