"""What a torch operator does: arithmetic, one operation per element, or moving data.

Used to list what a counter of multiply-adds has no formula for.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

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


class OperatorLog(TorchDispatchMode):
    """Counts the calls of every operator that runs inside it, by name ("aten::relu", "torchvision::nms")."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        self.calls[torch_name(func)] += 1
        return func(*args, **(kwargs or {}))


def torch_name(operator: Any) -> str:
    """ "namespace::name" of an operator or of one of its overloads, as `torch.jit` graphs spell it."""
    packet = getattr(operator, "overloadpacket", operator)
    return str(packet).replace(".", "::", 1)


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
    if name.partition("::")[2] in _POINTWISE:
        return True
    return any(torch.Tag.pointwise in overload.tags for overload in _overloads(name))


def _overloads(name: str) -> list[Any]:
    namespace, _, short = name.partition("::")
    try:
        packet = getattr(getattr(torch.ops, namespace), short)
    except AttributeError:  # known to torch.jit only
        return []
    return [getattr(packet, overload) for overload in packet.overloads()]
