"""Trained networks as files (safetensors), with their classes and what they are shown of a video."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from efficiency_core import network_file
from efficiency_core.errors import UsageError, WorkError
from efficiency_core.settings import to_json
from full_video.data.clip_config import ClipConfig
from full_video.networks.config import NetworkConfig
from full_video.networks.network import VideoNetwork, build_network

NETWORK = "network.safetensors"
"""File name of a trained network."""
_FORMAT = "full_video.network/2"


@dataclass(frozen=True)
class SavedNetwork:
    """Content of a network file."""

    network: VideoNetwork
    """The network, in eval mode on the CPU."""
    class_names: tuple[str, ...]
    """Names of its classes, in the order of its outputs."""
    clips: ClipConfig
    """What it was shown of a video in its training."""


def save_network(path: str | Path, network: VideoNetwork, class_names: Sequence[str], clips: ClipConfig) -> None:
    """Write a network, its configuration, the names of its classes, and what it is shown of a video. Raises ValueError
    if there are not as many names as classes; WorkError if the file cannot be written."""
    if len(class_names) != network.config.classes:
        raise ValueError(f"{network.config.classes} classes but {len(class_names)} names")
    facts = {"class_names": list(class_names), "clips": to_json(clips)}
    network_file.save_network(path, _FORMAT, to_json(network.config), facts, network.state_dict())


def load_network(path: str | Path) -> SavedNetwork:
    """The network stored in ``path``. Raises UsageError if the file is missing, damaged, or of another kind."""
    file = network_file.load_network(path, _FORMAT)
    config = network_file.config_from(NetworkConfig, file.config, path)
    if missing := {"class_names", "clips"} - set(file.facts):
        raise UsageError(f"{path}: not a whole network file (without {', '.join(sorted(missing))})")
    clips = network_file.config_from(ClipConfig, file.facts["clips"], path)
    names = tuple(str(name) for name in file.facts["class_names"])
    if len(names) != config.classes:
        raise UsageError(f"{path}: {len(names)} class names for {config.classes} classes; the file is damaged")
    return SavedNetwork(network_file.restored(path, lambda: build_network(config), file.state), names, clips)


def starting_network(config: NetworkConfig, weights: str | None) -> VideoNetwork:
    """A network to train: as :func:`~full_video.networks.network.build_network`, or with the weights of a network file.
    Raises UsageError if the network cannot be built, or there are no such weights, or they do not fit; WorkError if
    they cannot be downloaded."""
    own = weights is not None and Path(weights).suffix == ".safetensors"
    try:
        return build_network(config, network_file.load_network(str(weights), _FORMAT).state if own else weights)
    except ValueError as error:
        raise UsageError(f"{weights}: {error}" if own else str(error)) from error
    except ConnectionError as error:
        raise WorkError(str(error)) from error
