"""Parts of a detector run by OpenVINO on the CPU, in place of torch. Needs ``openvino``."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

Shapes = tuple[tuple[int, ...], ...]


class OpenVinoPart:
    """The ``forward`` of a part of a network, compiled by OpenVINO for every shape of its inputs when it first comes.

    Args:
        part: module from a tensor, or a list of tensors, to a tensor or a mapping, list or tuple of them, which may be nested.
        precision: ``32``, or ``bf16`` for bfloat16 inside; inputs and outputs are float32.
        rows: whether the first axis of the input is a number of rows that changes from call to call: one compiled network
            for all of them.

    Raises:
        ModuleNotFoundError: if OpenVINO is not installed.
    """

    def __init__(self, part: nn.Module, precision: str, rows: bool = False) -> None:
        self._openvino: Any = import_module("openvino")
        self._part, self._rows = part, rows
        self._plain = part.forward
        self._options = {
            "INFERENCE_PRECISION_HINT": {"32": "f32", "bf16": "bf16"}[precision],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        self._compiled: dict[Shapes, tuple[Any, Any]] = {}

    def __call__(self, inputs: Any) -> Any:
        """The outputs of the part for inputs on the CPU, in the part's own nesting; torch's where a gradient is asked for."""
        tensors = _leaves(inputs)
        if torch.is_grad_enabled() and any(one.requires_grad for one in (*tensors, *self._part.parameters())):
            return self._plain(inputs)
        if any(one.device.type != "cpu" for one in tensors):
            raise ValueError("the runtime openvino runs on the CPU; set the device to cpu, or the runtime to torch")
        shapes = tuple(tuple(one.shape)[int(self._rows) :] for one in tensors)
        if shapes not in self._compiled:
            self._compiled[shapes] = self._compile(inputs, tensors)
        compiled, nesting = self._compiled[shapes]
        with torch.autocast("cpu", enabled=False):
            arrays = [one.detach().float().contiguous().numpy() for one in tensors]
            found = compiled(arrays)
        outputs = iter([torch.from_numpy(found[at]) for at in range(len(compiled.outputs))])
        return _nested(nesting, outputs)

    def _compile(self, inputs: Any, tensors: Sequence[Tensor]) -> tuple[Any, Any]:
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            nesting = self._plain(inputs)
            network = _Flat(self._plain, self._part, isinstance(inputs, Tensor)).eval()
            examples = tuple(one.detach().float().clone() for one in tensors)
            sizes = [[-1, *one.shape[1:]] if self._rows else list(one.shape) for one in examples]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # OpenVINO traces the network by a function that torch deprecates
                model = self._openvino.convert_model(network, example_input=examples, input=sizes)
        return self._openvino.Core().compile_model(model, "CPU", self._options), nesting


class _Flat(nn.Module):
    """A part with tensors as arguments, and a tuple of tensors as outputs."""

    def __init__(self, forward: Any, part: nn.Module, single: bool) -> None:
        super().__init__()
        self.part, self._plain, self._single = part, forward, single

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(_leaves(self._plain(tensors[0] if self._single else list(tensors))))


def run_by_openvino(model: nn.Module, names: Mapping[str, bool], precision: str) -> None:
    """Let OpenVINO run the modules of ``model`` that ``names`` lists, each with whether its input has a changing number of rows.
    Names and values of the weights stay as they are; the networks are compiled at the first image of every size.

    Raises:
        ModuleNotFoundError: if OpenVINO is not installed.
        ValueError: if the model has none of these modules.
    """
    modules = dict(model.named_modules())
    found = [name for name in names if name in modules]
    if not found:
        raise ValueError(f"the runtime openvino takes detectors with {' or '.join(names)}; this one has none of them")
    for name in found:
        part = modules[name]
        if not isinstance(part.forward, OpenVinoPart):
            part.forward = OpenVinoPart(part, precision, names[name])  # type: ignore[method-assign]


def _leaves(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    values = value.values() if isinstance(value, Mapping) else value
    return [leaf for one in values for leaf in _leaves(one)]


def _nested(nesting: Any, leaves: Any) -> Any:
    """The next of ``leaves`` in place of every tensor of ``nesting``."""
    if isinstance(nesting, Tensor):
        return next(leaves)
    if isinstance(nesting, Mapping):
        return type(nesting)((name, _nested(one, leaves)) for name, one in nesting.items())  # type: ignore[call-arg]
    return type(nesting)(_nested(one, leaves) for one in nesting)  # type: ignore[call-arg]
