"""Pretrained weights for the networks: torchvision's by name, a file in torchvision's or TSM's names, or a state dict."""

import pickle
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import get_model_weights


def load_weights(network: nn.Module, backbone: str, weights: str | Mapping[str, Tensor]) -> None:
    """Load pretrained weights into ``network``; a classifier for another number of classes is left out. Raises
    ValueError if there are no such weights, or they do not fit the network; ConnectionError if they cannot be
    downloaded.

    Args:
        network: its parameters have torchvision's names.
        backbone: torchvision's name of it.
        weights: torchvision's name of its weights (such as ``IMAGENET1K_V1``, downloaded on first use); a file that
            ``torch.save`` wrote (only tensors and plain values are read), with a state of torchvision's network or a
            checkpoint of TSM's published code (``module.base_model.layer1.0.conv1.net.weight``); or a state dict with such
            names. A state may lack the classifier."""
    if isinstance(weights, str):
        name, state = f"{weights}: ", _named(backbone, weights) if Path(weights).suffix == "" else _read(Path(weights))
    else:
        name, state = "the state ", torchvision_names(weights)
    wanted = network.state_dict()
    known = {entry: value for entry, value in state.items() if entry in wanted}
    known = {n: value for n, value in known.items() if not n.startswith("fc.") or value.shape == wanted[n].shape}
    gaps = [n for n in wanted if n not in known and not n.startswith("fc.") and not n.endswith("num_batches_tracked")]
    odd = [entry for entry, value in known.items() if value.shape != wanted[entry].shape]
    if gaps or odd:
        problem = f"lacks {gaps[0]!r}" if gaps else f"has another shape of {odd[0]!r}: {tuple(known[odd[0]].shape)}"
        raise ValueError(f"{name}does not fit {backbone}; it {problem} ({len(gaps) + len(odd)} such entries)")
    network.load_state_dict(known, strict=False)


def torchvision_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The entries of a state under torchvision's names, those of the classifier as ``fc``: without the wrappers of
    ``DataParallel`` and of TSM's code, and with the layers of TSM's MobileNetV2 in torchvision's groups."""
    renamed = {}
    for name, value in state.items():
        parts = [part for part in name.split(".") if part not in ("module", "base_model", "net")]
        renamed[re.sub(r"^(new_fc|classifier\.1)\.", "fc.", ".".join(parts))] = value
    if "features.1.conv.3.weight" in renamed:  # only where the layers of a block are in one row
        renamed = {re.sub(r"^(features\.\d+\.conv)\.(\d)", _grouped, name): value for name, value in renamed.items()}
    return renamed


def _grouped(place: re.Match[str]) -> str:
    """Place of a layer in a block of MobileNetV2. TSM numbers convolution, norm, ReLU6, convolution, ... from 0 on; in
    torchvision each ReLU6 and the two layers before it are a group, and the last two layers follow."""
    groups = 1 if place[1] == "features.1.conv" else 2  # the first block has no expansion
    group, layer = divmod(int(place[2]), 3)
    return f"{place[1]}.{group}.{layer}" if group < groups else f"{place[1]}.{group + layer}"


def _named(backbone: str, weights: str) -> Mapping[str, Tensor]:
    known = {entry.name: entry for entry in get_model_weights(backbone)}
    if weights not in known:
        raise ValueError(f"weights of {backbone} must be a file (x.pth) or one of {', '.join(known)}, got {weights!r}")
    try:
        return known[weights].get_state_dict(progress=sys.stderr.isatty(), check_hash=True)
    except (OSError, RuntimeError) as error:
        raise ConnectionError(f"weights {weights} of {backbone} cannot be downloaded ({error})") from error


def _read(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise ValueError(f"{path}: no such file; expected weights written by torch.save")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # torch's advice to load it with code is not repeated
        raise ValueError(f"{path}: not readable weights (not a file of tensors)") from error
    except Exception as error:  # a damaged pickle can raise almost anything: KeyError, IndexError, struct.error, ...
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path}: not readable weights ({reason})") from error
    for key in ("state_dict", "model"):  # in TSM's checkpoints; in those of many other programs
        if isinstance(content, dict) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(f"{path}: expected a dictionary of tensors, got {type(content).__name__}")
    return torchvision_names(content)
