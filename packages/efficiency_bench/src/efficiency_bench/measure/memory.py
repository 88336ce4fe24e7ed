"""Memory of a computation, in ways that give the same number on every machine, and CUDA's own count.

Bytes are counted by storage: views of one tensor count once, and one that keeps a large storage alive counts it whole."""

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from efficiency_core.errors import UsageError


@dataclass(frozen=True)
class SavedBytes:
    """What autograd keeps for one backward pass."""

    total: int
    """Bytes of the distinct storages that are kept."""
    storages: int
    """How many distinct storages these are."""


@dataclass(frozen=True)
class CudaPeak:
    """CUDA memory of one call."""

    total: int
    """`max_memory_allocated` during the call: weights, data and what else was there before included."""
    added: int
    """`total` less what was allocated before the call."""


def saved_bytes(fn: Callable[[], object], *, exclude: nn.Module | Iterable[Tensor] = ()) -> SavedBytes:
    """Bytes that `fn`, a forward pass, leaves behind for the backward pass.

    Seen are the tensors operators save through autograd (`torch.autograd.graph.saved_tensors_hooks`), also those at the
    borders of `torch.utils.checkpoint`. Not seen is what a custom `autograd.Function` keeps as a plain attribute.

    Args:
        fn: the forward pass, up to and including the loss; it must not call backward.
        exclude: what is there anyway and does not count: a model (its parameters and buffers), or tensors.
    """
    given = [*exclude.parameters(), *exclude.buffers()] if isinstance(exclude, nn.Module) else list(exclude)
    known = {_identity(tensor.untyped_storage()) for tensor in given}
    # The storages themselves are held, so that the address of one that is freed cannot be taken for another.
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if _identity(storage) not in known:
            kept[_identity(storage)] = storage
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        fn()
    return SavedBytes(sum(storage.nbytes() for storage in kept.values()), len(kept))


def peak_live_bytes(fn: Callable[[], object]) -> int:
    """The most bytes that tensors made inside `fn` occupy at one time, on all devices together.

    What exists before the call (weights, inputs) is not counted; an operator writing in place adds nothing. Counted are the
    tensors that operators return, so the figure is below what a kernel with a workspace really takes.
    """
    meter = _LiveBytes()
    with meter:
        result = fn()
    del result
    return meter.peak


def cuda_peak(fn: Callable[[], object], device: torch.device) -> CudaPeak:
    """Peak of CUDA memory while `fn` runs, as torch's allocator counts it; a `UsageError` on any other device."""
    if device.type != "cuda":
        raise UsageError(f"cuda_peak needs a cuda device, got {str(device)!r}")
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    result = fn()
    torch.cuda.synchronize(device)
    del result
    total = torch.cuda.max_memory_allocated(device)
    return CudaPeak(total, total - before)


class _LiveBytes(TorchDispatchMode):
    """Adds the storages operators return to a sum and takes them off when they die."""

    def __init__(self) -> None:
        super().__init__()
        self.live = 0
        self.peak = 0
        # Storage to its bytes in the sum, None for one that was there before; entries leave with their storage.
        self._sizes: dict[int, int | None] = {}

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func.namespace == "prim":  # a question about a tensor without data, such as its device: nothing is made
            return func(*args, **kwargs)
        # In inference mode composite operators arrive whole; taken apart, what they make on the way is seen too.
        with self:
            parts = func.decompose(*args, **kwargs)
        if parts is not NotImplemented:
            return parts
        self._meet((args, kwargs), made_here=False)
        result = func(*args, **kwargs)
        self._meet(result, made_here=True)
        return result

    def _meet(self, values: Any, *, made_here: bool) -> None:
        for tensor in tree_leaves(values):
            if not isinstance(tensor, Tensor) or tensor.layout != torch.strided:
                continue
            storage = tensor.untyped_storage()
            key = _identity(storage)
            if key not in self._sizes:
                self._sizes[key] = 0 if made_here else None
                weakref.finalize(storage, self._forget, key).atexit = False
            size = self._sizes[key]
            if size is not None:  # again for one already met: an operator may have resized it
                self._sizes[key] = storage.nbytes()
                self.live += storage.nbytes() - size
                self.peak = max(self.peak, self.live)

    def _forget(self, key: int) -> None:
        self.live -= self._sizes.pop(key) or 0


def _identity(storage: torch.UntypedStorage) -> int:
    """What tells two storages apart while both live (data pointers do not: empty ones share one)."""
    return int(storage._cdata)
