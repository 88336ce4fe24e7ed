"""A training step that is recorded once as a CUDA graph and replayed: one call to the device instead of hundreds."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_WARM_UP = 3


class Recorded:
    """A function of tensors of fixed shapes that is recorded at its first call. Before the recording the function runs
    a few times, in which libraries choose their algorithms. Tensors that it changes are then restored, so that the
    first replay is the first step.

    Args:
        function: the function to record. It must not wait for the device, and may depend only on its arguments and on tensors
            that stay at the same address.
        changed: returns the tensors that ``function`` changes in place, after a call of it."""

    def __init__(self, function: Callable[..., Tensor], changed: Callable[[], list[Tensor]]) -> None:
        self._function, self._changed = function, changed
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: tuple[Tensor, ...] = ()
        self._output: Tensor | None = None

    def __call__(self, *inputs: Tensor) -> Tensor:
        """The result of the function for these inputs; the next call overwrites it."""
        if self._graph is None:
            self._record(inputs)
        for kept, given in zip(self._inputs, inputs, strict=True):
            kept.copy_(given)
        assert self._graph is not None and self._output is not None
        self._graph.replay()
        return self._output

    def _record(self, inputs: tuple[Tensor, ...]) -> None:
        self._inputs = tuple(given.clone() for given in inputs)
        before = _Snapshot(self._changed())
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_UP):
                self._function(*self._inputs)
        torch.cuda.current_stream().wait_stream(side)
        before.restore(self._changed())
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._output = self._function(*self._inputs)
        self._graph = graph


class _Snapshot:
    """Values of some tensors, and zeros for those that appear later (momenta, which start at zero)."""

    def __init__(self, tensors: list[Tensor]) -> None:
        self._kept = {id(tensor): (tensor, tensor.detach().clone()) for tensor in tensors}

    def restore(self, tensors: list[Tensor]) -> None:
        with torch.no_grad():
            for tensor in tensors:
                known: tuple[Any, Tensor] | None = self._kept.get(id(tensor))
                if known is None:
                    tensor.zero_()
                else:
                    tensor.copy_(known[1])
