"""Trained detectors as files: safetensors with the configuration and the names of the classes."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from efficiency_core.errors import UsageError
from efficiency_core.network_file import config_from, load_network, restored, save_network
from location_anticipation.model.config import DetectorConfig
from location_anticipation.model.detector import AnticipationRCNN
from location_anticipation.peers.base import ClipDetector
from location_anticipation.peers.build import build_peer
from location_anticipation.peers.config import PeerConfig

_FORMAT = "location_anticipation.detector/2"


@dataclass(frozen=True)
class _Stored:
    """Configuration in a file."""

    detector: DetectorConfig
    peer: PeerConfig


def save_detector(
    path: str | Path, model: AnticipationRCNN, class_names: Sequence[str], category_ids: Sequence[int] | None = None
) -> None:
    """Write a detector, or the network of a peer, with its configuration and the names of its classes.

    Args:
        path: the file, by convention ``detector.safetensors``.
        model: the detector.
        class_names: names of the labels 1, 2, ...
        category_ids: their ids in the annotations; the labels if None.

    Raises:
        ValueError: if there is another number of names or ids than of classes.
        WorkError: if the file cannot be written.
    """
    if len(class_names) != model.config.num_classes:
        raise ValueError(f"{model.config.num_classes} classes but {len(class_names)} names")
    ids = list(category_ids or range(1, len(class_names) + 1))
    if len(ids) != len(class_names):
        raise ValueError(f"{len(class_names)} classes but {len(ids)} ids")
    peer = model.peer if isinstance(model, ClipDetector) else PeerConfig()
    config = asdict(_Stored(model.config, peer))
    save_network(path, _FORMAT, config, {"class_names": list(class_names), "category_ids": ids}, model.state_dict())


def load_any(path: str | Path) -> tuple[AnticipationRCNN, list[str]]:
    """The network in ``path``, in eval mode on the CPU, and the names of its classes.

    Raises:
        UsageError: if the file is missing, damaged, or holds another network.
    """
    stored = load_network(path, _FORMAT)
    config = config_from(_Stored, stored.config, path)
    model = restored(path, lambda: build_peer(config.detector, config.peer), stored.state)
    return model, [str(name) for name in stored.facts["class_names"]]


def load_category_ids(path: str | Path) -> list[int]:
    """Ids of the labels 1, 2, ... in the annotations that the network was trained on. Errors as of :func:`load_any`."""
    facts = load_network(path, _FORMAT).facts
    return list(facts.get("category_ids") or range(1, len(facts["class_names"]) + 1))


def load_detector(path: str | Path) -> tuple[AnticipationRCNN, list[str]]:
    """The detector in ``path``, as of :func:`load_any`; UsageError also if it holds the network of a peer."""
    model, names = load_any(path)
    if isinstance(model, ClipDetector):
        raise UsageError(f"{path}: a network of the method {model.peer.method!r}, read by load_peer")
    return model, names


def load_peer(path: str | Path) -> tuple[ClipDetector, list[str]]:
    """The network of a peer in ``path``, as of :func:`load_any`; UsageError also if it holds a plain detector.

    Its ``peer`` says which method it is. Key box methods have plain detectors, which :func:`load_detector` reads.
    """
    model, names = load_any(path)
    if not isinstance(model, ClipDetector):
        raise UsageError(f"{path}: a plain detector, read by load_detector")
    return model, names
