"""Pretrained weights for the networks: torchvision's by name, or a file in torchvision's or TSM's names."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import get_model_weights

from full_video.errors import UsageError, WorkError

__all__ = ["load_weights", "torchvision_names"]


def load_weights(network: nn.Module, backbone: str, weights: str) -> None:
    """Load pretrained weights into ``network``; a classifier for another number of classes is left out.

    Args:
        network: the network; its parameters have torchvision's names.
        backbone: torchvision's name of it.
        weights: torchvision's name of its weights (such as ``IMAGENET1K_V1``, downloaded on first use), or a file that
            ``torch.save`` wrote: a state of torchvision's network, or a checkpoint of TSM's published code
            (``module.base_model.layer1.0.conv1.net.weight`` and so on). Only tensors and plain values are read.

    Raises:
        UsageError: if there are no such weights, or they do not fit the network.
        WorkError: if they cannot be downloaded.
    """
    state = _named(backbone, weights) if Path(weights).suffix == "" else _read(Path(weights))
    wanted = network.state_dict()
    known = {name: value for name, value in state.items() if name in wanted}
    classifier = [name for name in known if name.startswith("fc.") and known[name].shape != wanted[name].shape]
    for name in classifier:
        del known[name]
    gaps = [n for n in wanted if n not in known and not n.startswith("fc.") and not n.endswith("num_batches_tracked")]
    odd = [name for name, value in known.items() if value.shape != wanted[name].shape]
    if gaps or odd:
        problem = f"lacks {gaps[0]!r}" if gaps else f"has another shape of {odd[0]!r}: {tuple(known[odd[0]].shape)}"
        raise UsageError(f"{weights}: does not fit {backbone}; it {problem} ({len(gaps) + len(odd)} such entries)")
    network.load_state_dict(known, strict=False)


def torchvision_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The entries of a state under torchvision's names: without the wrappers of ``DataParallel`` and of TSM's code."""
    renamed = {}
    for name, value in state.items():
        parts = [part for part in name.split(".") if part not in ("module", "base_model", "net")]
        renamed[".".join("fc" if part == "new_fc" else part for part in parts)] = value
    return renamed


def _named(backbone: str, weights: str) -> Mapping[str, Tensor]:
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
    for key in ("state_dict", "model"):  # TSM's checkpoints; this package's own
        if isinstance(content, dict) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UsageError(f"{path}: expected a dictionary of tensors, got {type(content).__name__}")
    return torchvision_names(content)
