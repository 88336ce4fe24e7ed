"""Trained generators as a safetensors file."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from efficiency_core.errors import UsageError
from efficiency_core.network_file import load_network, restored, save_network
from synthetic_datasets.cyclegan.networks import ResnetGenerator

NETWORK = "cyclegan.safetensors"
"""File name of a training's generators."""
_FORMAT = "synthetic_datasets.cyclegan/2"


@dataclass(frozen=True)
class SavedCycleGAN:
    """Both generators of a finished training, in eval mode on the CPU."""

    paint: ResnetGenerator
    """Photos to paintings."""
    photograph: ResnetGenerator
    """Paintings to photos."""
    facts: dict[str, Any]
    """``size``, ``ngf``, ``blocks``, ``steps``, ``photos`` and ``paintings`` (their names), ``material`` (digest)."""
    digest: str
    """SHA-256 over the names and values of the weights of ``paint``."""


def save_cyclegan(path: Path, paint: ResnetGenerator, photograph: ResnetGenerator, facts: dict[str, Any]) -> None:
    """Write both generators and ``facts`` (see ``SavedCycleGAN``). Raises WorkError if the file cannot be written."""
    both = nn.ModuleDict({"paint": paint, "photograph": photograph})
    save_network(path, _FORMAT, {name: facts[name] for name in ("ngf", "blocks")}, facts, both.state_dict())


def load_cyclegan(path: Path) -> SavedCycleGAN:
    """The generators of a file. Raises UsageError if it is missing, damaged, or holds something else."""
    file = load_network(path, _FORMAT)
    if set(file.config) != {"ngf", "blocks"}:
        raise UsageError(f"{path}: written by another version of this package (settings {', '.join(file.config)})")
    names = ("paint", "photograph")
    both = restored(path, lambda: nn.ModuleDict({name: ResnetGenerator(**file.config) for name in names}), file.state)
    paint, photograph = both["paint"], both["photograph"]
    assert isinstance(paint, ResnetGenerator) and isinstance(photograph, ResnetGenerator)  # as made above
    weights = hashlib.sha256()
    for name, value in sorted(paint.state_dict().items()):
        weights.update(name.encode() + value.contiguous().numpy().tobytes())
    return SavedCycleGAN(paint, photograph, file.facts, weights.hexdigest())
