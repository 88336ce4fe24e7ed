"""Trained networks as safetensors files, and weights from files of other programs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from efficiency_core import network_file
from efficiency_core.errors import UsageError
from outlier_matching.method.config import Decision, check_choice
from outlier_matching.networks.config import NetworkConfig
from outlier_matching.networks.network import MatchingNetwork

_FORMAT = "outlier_matching.network/2"

References = tuple[Tensor, Tensor, Tensor]
"""Embeddings (K, d) of source images, pseudo inliers and pseudo outliers: the classes of equation 4.7, in this order. They are
multiplied by the training's ``sharpness``, so that their inner product with an embedding of length one is that of the
training."""


@dataclass(frozen=True)
class SavedNetwork:
    """Content of a network file."""

    network: MatchingNetwork
    """The network, in eval mode on the CPU."""
    method: str
    """Method of its training, see :class:`~outlier_matching.training.config.TrainConfig`."""
    references: References | None
    """References for the detection of outliers; None if the method detects none."""
    decision: Decision = "largest"
    """When a query is an outlier, see :func:`~outlier_matching.method.assignment.is_outlier`."""


def save_network(
    path: str | Path, network: MatchingNetwork, *, method: str, references: Sequence[Tensor] | None = None,
    decision: Decision = "largest",
) -> None:  # fmt: skip
    """Write a network with its configuration, its method and, if there are any, its references and their decision.
    Raises ValueError if the references are not three of (K, embedding), K at least 1; WorkError if the file cannot be
    written."""
    if references is not None:
        _check_references(references, network.config)
    facts = {"method": method, "decision": decision, "references": None if references is None else list(references)}
    network_file.save_network(path, _FORMAT, asdict(network.config), facts, network.state_dict())


def load_network(path: str | Path) -> SavedNetwork:
    """The network in a file of :func:`save_network`. Raises UsageError if the file is missing, damaged, or of another
    kind."""
    stored = network_file.load_network(path, _FORMAT)
    config = network_file.config_from(NetworkConfig, stored.config, path)
    network = network_file.restored(path, lambda: MatchingNetwork(config), stored.state)
    references = stored.facts.get("references")
    decision: Any = stored.facts.get("decision")
    try:
        check_choice("decision", decision, Decision)
        if references is not None:
            _check_references(references, config)
    except (ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"{path}: {error}; the file is damaged") from error
    return SavedNetwork(network, str(stored.facts.get("method")), references and tuple(references), decision)


def _check_references(references: Sequence[Tensor], config: NetworkConfig) -> None:
    shapes = [tuple(part.shape) for part in references]
    if len(shapes) != 3 or any(len(shape) != 2 or shape[0] < 1 or shape[1] != config.embedding for shape in shapes):
        raise ValueError(f"references must be three of (K, {config.embedding}), K at least 1, got {shapes}")
