"""Multiply-adds of one forward pass, counted twice by two libraries and checked against each other.

One multiply-add counts as one, as the thesis counts FLOPs (Table 3.1) and as fvcore does; torch's own counter says two.
What is summed up is the arithmetic of convolutions, matrix products and attention.

- "torch" runs the model under `torch.utils.flop_counter.FlopCounterMode`, on any control flow. Fused operators have no
  formula: the fast path of `nn.MultiheadAttention` in eval mode counts 0 and appears in `skipped`
  (`torch.backends.mha.set_fastpath_enabled(False)` makes it countable).
- "fvcore" traces the model with `torch.jit`, so it sees the path this one input takes, and not inside the scripted box
  functions of torchvision's detectors. It also prices normalisation, pooling and interpolation: see `elementwise`.
- Neither prices RoIAlign, NMS, sorting or softmax. A detector's count depends on how many boxes it keeps.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import shorten
from typing import Any, Literal

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from efficiency_core.errors import UsageError, WorkError

# Operators by the kind of arithmetic, under the names the two counters use. Whatever else torch has a formula
# for is attention; whatever else fvcore has a handle for is elementwise.
_CONVOLUTION = frozenset({"convolution", "_convolution", "cudnn_convolution", "_slow_conv2d_forward"})
_CONVOLUTION |= {"convolution_overrideable", "convolution_backward", "conv"}
_MATMUL = frozenset({"mm", "addmm", "bmm", "baddbmm", "_scaled_mm", "matmul", "linear", "einsum"})

# Operators per element that torch does not tag as such.
_POINTWISE = frozenset({"hardswish", "hardswish_", "prelu", "_prelu_kernel", "dropout", "native_dropout", "max", "min"})

# Operators that make, copy, rearrange, select or describe tensors: no arithmetic on their values.
_MOVE_NAMES = """
Int ScalarImplicit TupleConstruct ListConstruct
_local_scalar_dense _reshape_alias _reshape_from_tensor _shape_as_tensor _to_copy _unsafe_view alias
arange argwhere as_strided broadcast_tensors cat channel_shuffle chunk clone constant_pad_nd contiguous
copy copy_ detach device diag diagonal empty empty_like empty_permuted empty_strided expand expand_as eye
fill fill_ flatten flip full full_like gather hstack im2col index index_copy index_copy_ index_fill
index_fill_ index_put index_put_ index_select is_pinned item lift lift_fresh linspace masked_select
meshgrid movedim narrow new_empty new_empty_strided new_full new_ones new_zeros nonzero numel one_hot ones
ones_like pad permute pin_memory pixel_shuffle pixel_unshuffle rand randint randn randperm
reflection_pad2d repeat replication_pad2d reshape resize_ roll scalar_tensor scatter scatter_ select
select_scatter size slice slice_scatter split split_with_sizes squeeze squeeze_ stack stride swapaxes t
take take_along_dim tile to transpose transpose_ triu_indices type_as unbind unfold unsafe_split unsqueeze
unsqueeze_ view view_as vstack zero_ zeros zeros_like
"""
_MOVES = frozenset(_MOVE_NAMES.split())


class CountersDisagree(WorkError):
    """The two counters do not agree on what both of them count."""


@dataclass(frozen=True)
class MacCount:
    """Multiply-adds of one call."""

    macs: int
    """Multiply-adds of convolutions, matrix products and attention."""
    by_operator: Mapping[str, int]
    """`macs` split by operator, under the counter's names."""
    by_module: Mapping[str, int]
    """Multiply-adds inside each module (its children included), by its dotted name; "" is the whole."""
    skipped: Mapping[str, int]
    """Calls of operators that compute something and have no formula here."""
    pointwise: Mapping[str, int]
    """Calls of operators that do one operation per element and have no formula here."""
    elementwise: Mapping[str, int] = field(default_factory=dict)
    """fvcore's price of normalisation, pooling and interpolation, by operator; not in `macs`."""

    def of_kind(self, kind: Literal["convolution", "matmul"], *, but: Collection[str] = ()) -> int:
        """Multiply-adds of the convolutions or of the matrix products, without the operators in `but`."""
        names = _CONVOLUTION if kind == "convolution" else _MATMUL
        return sum(
            macs for name, macs in self.by_operator.items() if name.rpartition("::")[2] in names and name not in but
        )


@dataclass(frozen=True)
class CrossCheck:
    """Two counts of one forward pass."""

    torch: MacCount
    fvcore: MacCount
    ratio: float
    """torch / fvcore on the convolutions and matrix products that both count."""


def count_macs(model: Callable[..., Any], inputs: Any, *, counter: Literal["torch", "fvcore"] = "torch") -> MacCount:
    """Count the multiply-adds of `model(*inputs)`.

    A module is called as it is (put it in eval mode first) and without gradients. Any other callable is called with
    gradients as they are set, so that "torch" can count a whole training step. `inputs` is a tuple of arguments, or one
    argument that is no tuple; a torchvision detector takes `([image],)`. Counters do not see inside `torch.compile`.

    Raises:
        UsageError: an unknown counter, or "fvcore" for what is no `nn.Module`.
        WorkError: fvcore could not trace the model.
    """
    arguments = inputs if isinstance(inputs, tuple) else (inputs,)
    if counter == "torch":
        return _count_with_torch(model, arguments)
    if counter == "fvcore":
        if not isinstance(model, nn.Module):
            raise UsageError(f"fvcore counts an nn.Module, got {type(model).__name__}; use counter='torch'")
        return _count_with_fvcore(model, arguments)
    raise UsageError(f"counter {counter!r} is unknown: expected 'torch' or 'fvcore'")


def cross_check(model: nn.Module, inputs: Any, *, tolerance: float = 0.001) -> CrossCheck:
    """Count `model(*inputs)` as `count_macs` with both libraries and compare what both count.

    Convolutions and matrix products are compared each for itself, without what fvcore skips (`aten::baddbmm`).

    Raises:
        CountersDisagree: the relative difference is above `tolerance`, or neither counter found any arithmetic.
        WorkError: fvcore could not trace the model.
    """
    ours = count_macs(model, inputs, counter="torch")
    theirs = count_macs(model, inputs, counter="fvcore")
    unpriced = f"without a formula: torch {dict(ours.skipped)}, fvcore {dict(theirs.skipped)}"
    totals = [0, 0]
    for kind in ("convolution", "matmul"):
        left, right = ours.of_kind(kind, but=theirs.skipped), theirs.of_kind(kind)
        if abs(left - right) > tolerance * max(left, right):
            raise CountersDisagree(f"torch counts {left:,} multiply-adds of {kind}, fvcore {right:,}; {unpriced}")
        totals[0] += left
        totals[1] += right
    if not totals[1]:
        raise CountersDisagree(f"neither counter found a convolution or matrix product; {unpriced}")
    return CrossCheck(ours, theirs, totals[0] / totals[1])


def _count_with_torch(model: Callable[..., Any], arguments: tuple[Any, ...]) -> MacCount:
    log = _OperatorLog()
    counter = FlopCounterMode(display=False)
    is_module = isinstance(model, nn.Module)
    # The counter is on top: it takes composite operators apart, the log below sees what really runs.
    with torch.set_grad_enabled(torch.is_grad_enabled() and not is_module), log, counter:
        model(*arguments)
    root = type(model).__name__ if is_module else ""
    by_module: dict[str, int] = {}
    for name, flops in counter.get_flop_counts().items():
        if name == "Global":
            name = ""
        elif is_module and (name == root or name.startswith(f"{root}.")):
            name = name[len(root) + 1 :]
            if not name:
                continue  # the whole model, already there as "Global"
        by_module[name] = sum(flops.values()) // 2
    by_operator = {_name(op): flops // 2 for op, flops in counter.get_flop_counts().get("Global", {}).items()}
    priced = {_name(op) for op in counter.flop_registry}
    unpriced = {name: calls for name, calls in log.calls.items() if name not in priced}
    return _assemble(by_operator, by_module, unpriced, {})


def _count_with_fvcore(model: nn.Module, arguments: tuple[Any, ...]) -> MacCount:
    with warnings.catch_warnings(), torch.no_grad():
        # fvcore uses torch.jit, which is deprecated but there, and a trace warns of each data-dependent
        # branch; that the count holds for this one input is said in the documentation.
        warnings.simplefilter("ignore")
        from fvcore.nn import FlopCountAnalysis  # type: ignore[import-untyped]

        analysis = FlopCountAnalysis(model, arguments)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        try:
            by_module_and_operator = analysis.by_module_and_operator()
            unsupported = dict(analysis.unsupported_ops())
        except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
            reason = shorten(f"{type(error).__name__}: {error}", 200)
            raise WorkError(f"fvcore could not trace {type(model).__name__}: {reason}; use counter='torch'") from error
    by_operator = {name: round(macs) for name, macs in by_module_and_operator[""].items()}
    by_module = {
        module: sum(round(macs) for name, macs in counts.items() if _is_arithmetic(name))
        for module, counts in by_module_and_operator.items()
    }
    elementwise = {name: macs for name, macs in by_operator.items() if not _is_arithmetic(name)}
    arithmetic = {name: macs for name, macs in by_operator.items() if _is_arithmetic(name)}
    return _assemble(arithmetic, by_module, unsupported, elementwise)


def _assemble(
    by_operator: dict[str, int], by_module: dict[str, int], unpriced: Mapping[str, int], elementwise: dict[str, int]
) -> MacCount:
    pointwise = Counter({name: calls for name, calls in unpriced.items() if is_pointwise(name)})
    skipped = Counter({name: calls for name, calls in unpriced.items() if name not in pointwise and not is_move(name)})
    return MacCount(
        macs=sum(by_operator.values()),
        by_operator=by_operator,
        by_module={name: macs for name, macs in by_module.items() if macs or not name},
        skipped=dict(skipped.most_common()),
        pointwise=dict(pointwise.most_common()),
        elementwise=elementwise,
    )


def _is_arithmetic(name: str) -> bool:
    return name in _CONVOLUTION or name in _MATMUL


class _OperatorLog(TorchDispatchMode):
    """Counts the calls of every operator that runs inside it, by name ("aten::relu", "torchvision::nms")."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.calls[_name(func)] += 1
        return func(*args, **(kwargs or {}))


def _name(operator: Any) -> str:
    """ "namespace::name" of an operator or of one of its overloads, as `torch.jit` graphs spell it."""
    return str(getattr(operator, "overloadpacket", operator)).replace(".", "::", 1)


def is_move(name: str) -> bool:
    """Does the operator only make, copy, rearrange or select elements? `name` is "namespace::name"."""
    namespace, _, short = name.partition("::")
    if namespace == "prim":
        return short != "CallFunction"  # a scripted function: what it does is not known
    return short in _MOVES or any(getattr(overload, "is_view", False) for overload in _overloads(name))


def is_pointwise(name: str) -> bool:
    """Does the operator do one operation per element? `name` is "namespace::name"."""
    if is_move(name):
        return False
    tagged = any(torch.Tag.pointwise in overload.tags for overload in _overloads(name))
    return tagged or name.partition("::")[2] in _POINTWISE


def _overloads(name: str) -> list[Any]:
    namespace, _, short = name.partition("::")
    packet = getattr(getattr(torch.ops, namespace), short, None)
    return [getattr(packet, overload) for overload in packet.overloads()] if packet else []  # none: torch.jit's own
