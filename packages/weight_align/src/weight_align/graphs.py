"""A training step recorded once as a CUDA graph and replayed: one call to the device in place of some hundreds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from weight_align.errors import UsageError

__all__ = ["Recorded", "check_graphs"]

_WARM_UP = 3


def check_graphs(wanted: bool, device: str | torch.device) -> None:
    """Refuse CUDA graphs where there is no CUDA.

    Raises:
        UsageError: if so.
    """
    if wanted and torch.device(device).type != "cuda":
        raise UsageError(
            f"graphs=true records CUDA graphs, but the device is {device}; use --device cuda or graphs=false"
        )


class Recorded:
    """A function of tensors of fixed shapes, recorded the first time it is called with them.

    The function runs a few times before it is recorded, as libraries choose their algorithms then. What it changes is put
    back, so that the first replay is the first step.

    Args:
        function: what to record; it must neither wait for the device nor depend on anything but its arguments and tensors
            that stay where they are.
        changed: gives the tensors that ``function`` changes in place, once it has run.

    Raises:
        UsageError: if there is no CUDA.
    """

    def __init__(
        self, function: Callable[..., Tensor], changed: Callable[[], list[Tensor]], device: torch.device
    ) -> None:
        check_graphs(True, device)
        self._function, self._changed = function, changed
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: tuple[Tensor, ...] = ()
        self._output: Tensor | None = None

    def __call__(self, *inputs: Tensor) -> Tensor:
        """The function's result for these inputs; overwritten by the next call."""
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
        before.put_back(self._changed())
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._output = self._function(*self._inputs)
        self._graph = graph


class _Snapshot:
    """Values of some tensors, and zeros for those that appear later (momenta, which begin at zero)."""

    def __init__(self, tensors: list[Tensor]) -> None:
        self._kept = {id(tensor): (tensor, tensor.detach().clone()) for tensor in tensors}

    def put_back(self, tensors: list[Tensor]) -> None:
        with torch.no_grad():
            for tensor in tensors:
                known: tuple[Any, Tensor] | None = self._kept.get(id(tensor))
                if known is None:
                    tensor.zero_()
                else:
                    tensor.copy_(known[1])
