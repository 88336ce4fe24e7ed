"""The checkpoint of a finished training that nobody will make longer, without what only a longer training needs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.optim import Optimizer

from efficiency_core.checkpoint import read_tensors, write_tensors
from efficiency_core.errors import UsageError
from efficiency_core.files import file_sha256

_THIN = "thin"
_MOMENTS = ("optimizers", "momenta")
"""Entries of a task's state that only further steps need, lists."""


def make_thin(path: Path) -> dict[str, int]:
    """Drop from the checkpoint ``path`` of a finished training the state of its optimisers, and the weights that network files
    in its folder hold too. The training can still be loaded and evaluated, but not be made longer.

    Returns the steps taken on each device (see :attr:`~efficiency_core.loop.LoopResult.device`). A checkpoint of a
    training that has not ended stays as it is. Raises :class:`UsageError` or :class:`WorkError` if it cannot be read or written.
    """
    content = read_tensors(path, None)
    if _THIN not in content and (content["ended"] or content["step"] == content["total"]):
        state, files = dict(content["task"]), {}
        for file in sorted(path.parent.glob("*.safetensors")):
            network, names = load_file(file), {}
            for key, weights in state.items():
                if isinstance(weights, dict):
                    names[key] = [name for name, value in weights.items() if _equal(value, network.get(name))]
                    state[key] = {name: value for name, value in weights.items() if name not in names[key]}
            if any(names.values()):
                files[file.name] = {"sha256": file_sha256(file), "names": names}
        state |= {key: [None] * len(state[key]) for key in _MOMENTS if key in state}
        write_tensors(path, {**content, "task": state, _THIN: files})
    return {device: steps for device, (steps, _) in content.get("pace", {}).items()}


def filled(path: Path, content: Mapping[str, Any], total: int, optimizers: Sequence[Optimizer]) -> dict[str, Any]:
    """The state of the task in the ``content`` of the checkpoint ``path``, with what :func:`make_thin` has dropped: the weights,
    and fresh ``optimizers``, since a training of ``total`` steps takes no more.

    Raises:
        UsageError: if a longer training is asked for, or a network file is not there or not that of the training.
    """
    state = dict(content["task"])
    if _THIN not in content:
        return state
    mend = f"delete {path.parent} to train anew"
    if content["total"] != total:
        raise UsageError(f"{path}: the training has ended and cannot be made longer; {mend}")
    for name, kept in content[_THIN].items():
        file = path.parent / name
        if not file.is_file() or file_sha256(file) != kept["sha256"]:
            raise UsageError(f"{file}: is not the network that this training has left; {mend}")
        network = load_file(file)
        for key, names in kept["names"].items():
            state[key] = state[key] | {name: network[name] for name in names}
    if "optimizers" in state:
        state["optimizers"] = [optimizer.state_dict() for optimizer in optimizers]
    return state


def _equal(one: Any, other: Tensor | None) -> bool:
    return isinstance(one, Tensor) and other is not None and one.dtype == other.dtype and torch.equal(one, other)
