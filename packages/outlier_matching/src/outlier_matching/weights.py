"""Pretrained weights for a network: torchvision's by name, or a file."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torchvision.models import get_model_weights

from outlier_matching.errors import UsageError, WorkError

if TYPE_CHECKING:
    from outlier_matching.networks import MatchingNetwork

__all__ = ["load_weights", "own_names"]

_ALEXNET = {"classifier.1.": "fc6.", "classifier.4.": "fc7.", "classifier.6.": "fc8."}
_HEADS = ("fc6.", "fc7.", "fc8.")


def load_weights(network: MatchingNetwork, weights: str) -> None:
    """Load pretrained weights into ``network``: all that fit, or with ``start="random_heads"`` the frozen layers' alone.

    The backbone must be filled whole as far as it is to be; fc6 to fc8 are left as they are where the weights have
    another width or are of a network without them.

    Args:
        network: the network.
        weights: torchvision's name of weights of its backbone, or a file that ``torch.save`` wrote: a state of
            torchvision's network, or a checkpoint of this package. Only tensors and plain values are read.

    Raises:
        UsageError: if there are no such weights, they do not fit, or none of them is wanted.
        WorkError: if they cannot be downloaded.
    """
    config = network.config
    state = own_names(_read(Path(weights)) if Path(weights).suffix else _named(config.backbone, weights))
    wanted = network.state_dict()
    if config.start == "random_heads":
        wanted = {name: value for name, value in wanted.items() if not network.trains(name)}
        if not wanted:
            raise UsageError(
                f"start=random_heads with trained=all takes nothing from {weights}; choose start=pretrained"
            )
    needed = [name for name in wanted if not name.startswith(_HEADS) and not name.endswith("num_batches_tracked")]
    gaps = [name for name in needed if name not in state]
    odd = [name for name in needed if name in state and state[name].shape != wanted[name].shape]
    if gaps or odd:
        problem = f"lacks {gaps[0]!r}" if gaps else f"has another shape of {odd[0]!r}: {tuple(state[odd[0]].shape)}"
        raise UsageError(
            f"{weights}: does not fit {config.backbone}; it {problem} ({len(gaps) + len(odd)} such entries)"
        )
    fitting = {name: state[name] for name in wanted if name in state and state[name].shape == wanted[name].shape}
    network.load_state_dict(fitting, strict=False)


def own_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The entries of a state under this package's names, where they are AlexNet's or another torchvision network's."""
    if any(name.startswith("backbone.") for name in state):
        return dict(state)
    alexnet = "classifier.6.weight" in state and "features.0.weight" in state and "features.10.weight" in state
    renamed = {}
    for name, value in state.items():
        head = next((old for old in _ALEXNET if alexnet and name.startswith(old)), None)
        renamed[name.replace(head, _ALEXNET[head], 1) if head else f"backbone.{name}"] = value
    return renamed


def _named(backbone: str, weights: str) -> Mapping[str, Tensor]:
    if backbone.startswith("small"):
        raise UsageError(f"weights of {backbone} must be a file (NAME.pt), got {weights!r}")
    known = {entry.name: entry for entry in get_model_weights(backbone)}
    if weights not in known:
        names = ", ".join(known)
        raise UsageError(f"weights of {backbone} must be a file (NAME.pth) or one of {names}, got {weights!r}")
    try:
        state: Mapping[str, Tensor] = known[weights].get_state_dict(progress=sys.stderr.isatty(), check_hash=True)
    except (OSError, RuntimeError) as error:
        raise WorkError(f"weights {weights} of {backbone} cannot be downloaded ({error})") from error
    return state


def _read(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise UsageError(f"{path}: no such file; expected weights written by torch.save")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise almost anything: KeyError, IndexError, struct.error, ...
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UsageError(f"{path}: not readable weights ({reason})") from error
    for key in ("state_dict", "model"):  # what others' checkpoints and this package's own keep the weights under
        if isinstance(content, dict) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UsageError(f"{path}: expected a dictionary of tensors, got {type(content).__name__}")
    return content
