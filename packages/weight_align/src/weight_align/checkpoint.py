"""Trained networks as files: tensors and plain values only, loaded with ``weights_only=True``."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from weight_align.errors import UsageError
from weight_align.files import atomic_path
from weight_align.networks import Network, NetworkConfig, build_network
from weight_align.parametrization import is_aligned

__all__ = ["SavedNetwork", "load_network", "read_format", "read_tensors", "save_network", "write_tensors"]

_FORMAT = "weight_align.network/1"


@dataclass(frozen=True)
class SavedNetwork:
    """What a checkpoint holds."""

    network: Network
    """The network, in eval mode on the CPU."""
    facts: Mapping[str, Any]
    """What else was saved with it: plain values and tensors, such as class names."""


def write_tensors(path: str | Path, content: dict[str, Any]) -> None:
    """``torch.save`` under a temporary name, renamed when complete; equal content gives equal bytes.

    Raises:
        WorkError: if the file cannot be written; nothing is left behind and an older file stays as it was.
    """
    # Into a file object: given a path, torch would put the (temporary) name into the file.
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):  # a full disk, which torch tells as a bad position in a file
                raise error.__context__ from error
            raise


def read_tensors(path: str | Path, expected_format: str) -> dict[str, Any]:
    """Content of a file written by :func:`write_tensors`.

    Raises:
        UsageError: if it is missing, damaged, or holds something else than ``expected_format``.
    """
    content = _read(Path(path))
    found = content.get("format") if isinstance(content, dict) else None
    if found != expected_format:
        raise UsageError(f"{path}: a checkpoint of another kind (format {found!r}, expected {expected_format!r})")
    return dict(content)


def read_format(path: str | Path) -> str | None:
    """Which format a checkpoint says it has, or None.

    Raises:
        UsageError: if it is missing or damaged.
    """
    content = _read(Path(path))
    return content.get("format") if isinstance(content, dict) else None


def _read(path: Path) -> Any:
    if not path.is_file():
        raise UsageError(f"{path}: no such file; expected a checkpoint of weight_align")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # torch's advice, to load it with code and all, is not repeated here
        raise UsageError(f"{path}: not a readable checkpoint (not a file of tensors)") from error
    except Exception as error:  # a damaged pickle can raise almost anything: KeyError, IndexError, struct.error, ...
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].partition(". ")[0]
        raise UsageError(f"{path}: not a readable checkpoint ({reason})") from error


def save_network(path: str | Path, network: Network, facts: Mapping[str, Any] | None = None) -> None:
    """Write a network, its configuration, and facts about it.

    A folded network is written as what it is then: one of plain layers, ``align=False`` in its configuration.

    Args:
        path: the file.
        network: of :func:`~weight_align.networks.build_network`.
        facts: plain values and tensors.

    Raises:
        WorkError: if the file cannot be written.
    """
    config = replace(network.config, align=is_aligned(network), fixup=network.config.fixed_up)
    content = {"format": _FORMAT, "config": asdict(config), "facts": dict(facts or {}), "model": network.state_dict()}
    write_tensors(path, content)


def load_network(path: str | Path) -> SavedNetwork:
    """The network stored in ``path``, in eval mode on the CPU.

    Raises:
        UsageError: if the file is missing, damaged, or a checkpoint of another model.
    """
    content = read_tensors(path, _FORMAT)
    missing = {"config", "facts", "model"} - set(content)
    if missing:
        raise UsageError(f"{path}: not a whole checkpoint (without {', '.join(sorted(missing))})")
    stored, known = content["config"], {field.name for field in fields(NetworkConfig)}
    if set(stored) != known:
        odd = sorted(set(stored) ^ known)
        raise UsageError(f"{path}: written by another version of this package (settings that differ: {odd})")
    try:
        config = NetworkConfig(**stored)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{path}: its settings make no sense ({error}); the file is damaged") from error
    try:
        with torch.random.fork_rng(devices=[]):  # the weights drawn here are replaced at once
            network = build_network(config)
        network.load_state_dict(content["model"])
    except (ValueError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"{path}: its weights do not fit its own configuration ({reason}); the file is damaged"
        ) from error
    return SavedNetwork(network.eval(), content["facts"])
