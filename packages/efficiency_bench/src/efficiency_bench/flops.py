"""Multiply-adds of one forward pass, counted twice by two libraries and checked against each other.

One multiply-add counts as one, as the thesis counts FLOPs (Table 3.1) and as fvcore does; torch's own counter
says two. What is summed up is the arithmetic of convolutions, matrix products and attention. What a counter
met and has no formula for is listed beside the sum: `skipped` (it computes something) and `pointwise` (one
operation per element).

What the counters can and cannot see:

- "torch" runs the model under `torch.utils.flop_counter.FlopCounterMode`, on any control flow. Operators
  fused into one kernel may have no formula: the fast path of `nn.TransformerEncoder` and
  `nn.MultiheadAttention` in eval mode counts 0 and appears in `skipped` as
  `aten::_transformer_encoder_layer_fwd` or `aten::_native_multi_head_attention`
  (`torch.backends.mha.set_fastpath_enabled(False)` makes it countable).
- "fvcore" traces the model with `torch.jit` and reads the graph, so it sees the path this one input takes.
  Torchvision's detectors trace in eval mode; tracing calls their scripted box functions `prim::CallFunction`
  and does not look inside. fvcore also puts a price on normalisation, pooling and interpolation: that is kept
  apart in `elementwise`.
- Neither prices RoIAlign, NMS, sorting or softmax. A detector's count depends on how many boxes it keeps.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from textwrap import shorten
from typing import Any, Literal

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from .errors import UsageError, WorkError
from .operators import OperatorLog, is_move, is_pointwise, torch_name

# Operators by the kind of arithmetic, under the names the two counters use. Whatever else torch has a formula
# for is attention; whatever else fvcore has a handle for is elementwise.
_CONVOLUTION = frozenset({"convolution", "_convolution", "cudnn_convolution", "_slow_conv2d_forward"})
_CONVOLUTION |= {"convolution_overrideable", "convolution_backward", "conv"}
_MATMUL = frozenset({"mm", "addmm", "bmm", "baddbmm", "_scaled_mm", "matmul", "linear", "einsum"})


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

    A module is called as it is (put it in eval mode first) and without gradients. Any other callable is
    called with gradients as they are set, so that a whole training step can be counted, its backward pass
    included; only "torch" can do that. Give the plain model, not the result of `torch.compile`: the counters
    do not see inside that.

    Args:
        model: the module, or a callable.
        inputs: the arguments: a tuple, or one argument that is no tuple. A torchvision detector takes
            `([image],)`.
        counter: the library that counts.

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
    """Count `model(*inputs)` with both libraries and compare what both count.

    Convolutions and matrix products are compared each for itself, without what fvcore lists as skipped
    (`aten::baddbmm`).

    Args:
        model: the module.
        inputs: as for `count_macs`.
        tolerance: largest relative difference that is no disagreement.

    Raises:
        CountersDisagree: the difference is larger, or neither counter found any arithmetic.
        WorkError: fvcore could not trace the model.
    """
    ours = count_macs(model, inputs, counter="torch")
    theirs = count_macs(model, inputs, counter="fvcore")
    totals = [0, 0]
    for kind in ("convolution", "matmul"):
        left = ours.of_kind(kind, but=theirs.skipped)
        right = theirs.of_kind(kind)
        if abs(left - right) > tolerance * max(left, right):
            raise CountersDisagree(
                f"torch counts {left:,} multiply-adds of {kind}, fvcore {right:,}; "
                f"without a formula: torch {dict(ours.skipped)}, fvcore {dict(theirs.skipped)}"
            )
        totals[0] += left
        totals[1] += right
    if not totals[1]:
        raise CountersDisagree(
            "neither counter found a convolution or matrix product; "
            f"without a formula: torch {dict(ours.skipped)}, fvcore {dict(theirs.skipped)}"
        )
    return CrossCheck(ours, theirs, totals[0] / totals[1])


def _count_with_torch(model: Callable[..., Any], arguments: tuple[Any, ...]) -> MacCount:
    log = OperatorLog()
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
    by_operator = {torch_name(op): flops // 2 for op, flops in counter.get_flop_counts().get("Global", {}).items()}
    priced = {torch_name(op) for op in counter.flop_registry}
    unpriced = {name: calls for name, calls in log.calls.items() if name not in priced}
    return _assemble(by_operator, by_module, unpriced)


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
    by_operator: dict[str, int],
    by_module: dict[str, int],
    unpriced: Mapping[str, int],
    elementwise: Mapping[str, int] | None = None,
) -> MacCount:
    pointwise = Counter({name: calls for name, calls in unpriced.items() if is_pointwise(name)})
    skipped = Counter({name: calls for name, calls in unpriced.items() if name not in pointwise and not is_move(name)})
    return MacCount(
        macs=sum(by_operator.values()),
        by_operator=by_operator,
        by_module={name: macs for name, macs in by_module.items() if macs or not name},
        skipped=dict(skipped.most_common()),
        pointwise=dict(pointwise.most_common()),
        elementwise=dict(elementwise or {}),
    )


def _is_arithmetic(name: str) -> bool:
    return name in _CONVOLUTION or name in _MATMUL
