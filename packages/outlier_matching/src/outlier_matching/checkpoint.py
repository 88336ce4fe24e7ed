"""Trained networks as files: tensors and plain values only, loaded with ``weights_only=True``."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from outlier_matching.assignment import DECISIONS, Decision
from outlier_matching.errors import UsageError
from outlier_matching.files import atomic_path
from outlier_matching.networks import MatchingNetwork, NetworkConfig, build_network

__all__ = ["References", "SavedNetwork", "load_network", "read_tensors", "save_network", "write_tensors"]

_FORMAT = "outlier_matching.network/1"

References = tuple[Tensor, Tensor, Tensor]
"""Embeddings (K, d) of source images, pseudo inliers and pseudo outliers: the classes of eq. 4.7, in this order. Their length is
the training's ``sharpness``, so that the inner product with a query's embedding, of length one, is the one trained with."""


@dataclass(frozen=True)
class SavedNetwork:
    """What a checkpoint holds: a network, and what it judges outliers by."""

    network: MatchingNetwork
    """The network, in eval mode on the CPU."""
    method: str
    """How it was trained: one of :data:`~outlier_matching.training.METHODS`."""
    references: References | None
    """What a query is compared with to tell whether it is an outlier; None where the training looked for none."""
    decision: Decision = "largest"
    """When it is one: :func:`~outlier_matching.assignment.is_outlier`."""


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
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"{path}: no such file; expected a checkpoint of outlier_matching")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # torch's advice, to load it with code and all, is not repeated here
        raise UsageError(f"{path}: not a readable checkpoint (not a file of tensors)") from error
    except Exception as error:  # a damaged pickle can raise almost anything: KeyError, IndexError, struct.error, ...
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].partition(". ")[0]
        raise UsageError(f"{path}: not a readable checkpoint ({reason})") from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != expected_format:
        raise UsageError(f"{path}: a checkpoint of another kind (format {found!r}, expected {expected_format!r})")
    return dict(content)


def save_network(
    path: str | Path,
    network: MatchingNetwork,
    *,
    method: str,
    references: Sequence[Tensor] | None = None,
    decision: Decision = "largest",
) -> None:
    """Write a network, its configuration, how it was trained and, where there are any, its three reference sets and the
    rule that goes with them.

    Raises:
        ValueError: if the references are not three of (K, embedding), K at least 1.
        WorkError: if the file cannot be written.
    """
    if references is not None:
        _check_references(references, network.config)
    content = {
        "format": _FORMAT,
        "config": asdict(network.config),
        "method": method,
        "references": None if references is None else [part.detach().cpu().clone() for part in references],
        "decision": decision,
        "model": network.state_dict(),
    }
    write_tensors(path, content)


def load_network(path: str | Path) -> SavedNetwork:
    """The network stored in ``path``, in eval mode on the CPU.

    Raises:
        UsageError: if the file is missing, damaged, or a checkpoint of another model.
    """
    content = read_tensors(path, _FORMAT)
    missing = {"config", "method", "references", "decision", "model"} - set(content)
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
    references, decision = content["references"], content["decision"]
    if decision not in DECISIONS:
        raise UsageError(f"{path}: has no decision {', '.join(DECISIONS)} ({decision!r}); the file is damaged")
    try:
        with torch.random.fork_rng(devices=[]):  # the weights drawn here are replaced at once
            network = build_network(config)
        network.load_state_dict(content["model"])
        if references is not None:
            _check_references(references, config)
    except (ValueError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"{path}: its weights do not fit its own configuration ({reason}); the file is damaged"
        ) from error
    return SavedNetwork(
        network.eval(), str(content["method"]), None if references is None else tuple(references), decision
    )


def _check_references(references: Sequence[Tensor], config: NetworkConfig) -> None:
    shapes = [tuple(part.shape) for part in references]
    if len(shapes) != 3 or any(len(shape) != 2 or shape[0] < 1 or shape[1] != config.embedding for shape in shapes):
        raise ValueError(f"references must be three of (K, {config.embedding}), K at least 1, got {shapes}")
