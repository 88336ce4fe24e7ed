"""Trained weights for a network: a file, or torchvision's by name."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from weight_align.errors import UsageError, WorkError
from weight_align.network_config import NetworkConfig

__all__ = ["Weights", "read_state", "read_weights"]

_CLASSIFIERS = ("fc.", "classifier.6.", "classifier.")
_ALIGNMENT = ("centre", "variance", "gain", "scale_factor", "scale")


@dataclass(frozen=True)
class Weights:
    """A state that may fill a network."""

    name: str
    """Where it comes from, for errors."""
    state: Mapping[str, Tensor]

    @property
    def aligned(self) -> bool:
        """Whether it is of a network with WeightAlign, not folded."""
        return any(name.endswith("parametrizations.weight.original") for name in self.state)

    def load(self, network: nn.Module) -> None:
        """Fill ``network``; a classifier of another size keeps what it has.

        Raises:
            UsageError: if another entry is missing, left over, or of another shape.
        """
        wanted = network.state_dict()
        head = next(prefix for prefix in _CLASSIFIERS if any(name.startswith(prefix) for name in wanted))
        given = dict(self.state)
        if any(name.startswith(head) and name in given and given[name].shape != wanted[name].shape for name in wanted):
            given = {name: value for name, value in given.items() if not name.startswith(head)}
            given |= {name: value for name, value in wanted.items() if name.startswith(head)}
        missing = [name for name in wanted if name not in given and not name.endswith("num_batches_tracked")]
        extra = [name for name in given if name not in wanted]
        odd = [name for name in wanted if name in given and given[name].shape != wanted[name].shape]
        if missing or extra or odd:
            problem = (
                f"lacks {missing[0]!r}"
                if missing
                else f"has {extra[0]!r}, which the network has not"
                if extra
                else f"has another shape of {odd[0]!r}: {tuple(given[odd[0]].shape)}, not {tuple(wanted[odd[0]].shape)}"
            )
            count = len(missing) + len(extra) + len(odd)
            raise UsageError(f"{self.name}: does not fit the network; it {problem} ({count} such entries)")
        network.load_state_dict(given, strict=False)


def read_weights(weights: str | Path, config: NetworkConfig) -> Weights:
    """Weights for a network of ``config``.

    Args:
        weights: a ``network.pt`` of this package, a file with a state that ``torch.save`` wrote (only tensors and plain
            values are read), or torchvision's name of weights of the backbone.
        config: of the network they are for.

    Raises:
        UsageError: if there are no such weights, or they have WeightAlign and the network has none or another one.
        WorkError: if they cannot be downloaded.
    """
    stored: Mapping[str, Any] | None = None
    if Path(weights).suffix:
        state, stored = _read(Path(weights))
    elif config.stem != "imagenet" or config.width != 64 or config.norm not in ("bn", "none"):
        raise UsageError(
            f"torchvision's weights {weights!r} are for stem=imagenet, width=64 and norm=bn (or none, of vgg16), not for "
            f"stem={config.stem}, width={config.width}, norm={config.norm}; give a file (NAME.pt) for others"
        )
    else:
        backbone = "vgg16_bn" if config.backbone == "vgg16" and config.norm == "bn" else config.backbone
        state = _named(str(weights), backbone)
    found = Weights(str(weights), state)
    if found.aligned and not config.align:
        raise UsageError(f"{weights}: is of a network with WeightAlign; set align=true, or fold it first")
    if found.aligned and stored is not None:
        own = asdict(config)
        differs = [name for name in _ALIGNMENT if name in stored and stored[name] != own[name]]
        if differs:
            said = ", ".join(f"{name}={stored[name]} (asked for {own[name]})" for name in differs)
            raise UsageError(f"{weights}: its WeightAlign is another one: {said}; set the same, or fold it first")
    return found


def read_state(weights: str | Path, network: str) -> Mapping[str, Tensor]:
    """A state for a network of torchvision.

    Args:
        weights: a file with a state that ``torch.save`` wrote (only tensors and plain values are read), or torchvision's name
            of weights of the network.
        network: torchvision's name.

    Raises:
        UsageError: if there are no such weights.
        WorkError: if they cannot be downloaded.
    """
    return _read(Path(weights))[0] if Path(weights).suffix else _named(str(weights), network)


def _named(name: str, network: str) -> Mapping[str, Tensor]:
    from torchvision.models import get_model_weights

    try:
        known = {entry.name: entry for entry in get_model_weights(network)}
    except ValueError as error:
        raise UsageError(f"torchvision has no network {network!r}; it has resnet50, vgg16_bn, ...") from error
    if name not in known:
        names = ", ".join(known)
        raise UsageError(f"weights of {network} must be a file (NAME.pt) or one of {names}, got {name!r}")
    try:
        state: Mapping[str, Tensor] = known[name].get_state_dict(progress=sys.stderr.isatty(), check_hash=True)
    except (OSError, RuntimeError) as error:
        raise WorkError(f"weights {name} of {network} cannot be downloaded ({error})") from error
    return state


def _read(path: Path) -> tuple[Mapping[str, Tensor], Mapping[str, Any] | None]:
    if not path.is_file():
        raise UsageError(f"{path}: no such file; expected weights written by torch.save")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise almost anything: KeyError, IndexError, struct.error, ...
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UsageError(f"{path}: not readable weights ({reason})") from error
    stored = content.get("config") if isinstance(content, dict) else None
    for key in ("state_dict", "model"):  # what others' checkpoints and this package's own keep the weights under
        if isinstance(content, dict) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UsageError(f"{path}: expected a dictionary of tensors, got {type(content).__name__}")
    return content, stored if isinstance(stored, Mapping) else None
