"""Trained networks as files: tensors and plain values only, loaded with ``weights_only=True``."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from full_video.augmentation import Augmentation
from full_video.errors import UsageError
from full_video.files import atomic_path
from full_video.networks import NetworkConfig, VideoNetwork, build_network
from full_video.sampling import Sampling

if TYPE_CHECKING:
    from full_video.inputs import InputConfig

__all__ = ["SavedNetwork", "load_network", "read_tensors", "save_network", "write_tensors"]

_FORMAT = "full_video.network/1"
T = TypeVar("T")


@dataclass(frozen=True)
class SavedNetwork:
    """What a checkpoint holds: a network and how it wants to be shown videos."""

    network: VideoNetwork
    """The network, in eval mode on the CPU."""
    class_names: tuple[str, ...]
    """Names of its classes, in the order of its outputs."""
    sampling: Sampling
    """Which frames of a video it was trained on."""
    augmentation: Augmentation
    """Sizes of the frames it was trained on."""
    max_frames: int
    """The most frames of a video that it was trained on; 0 means no limit."""


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
        raise UsageError(f"{path}: no such file; expected a checkpoint of full_video")
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


def save_network(path: str | Path, network: VideoNetwork, class_names: Sequence[str], inputs: InputConfig) -> None:
    """Write a network, its configuration, the names of its classes (in the order of its outputs) and its inputs."""
    if len(class_names) != network.config.classes:
        raise ValueError(f"{network.config.classes} classes but {len(class_names)} names")
    content = {
        "format": _FORMAT,
        "config": asdict(network.config),
        "class_names": list(class_names),
        "sampling": asdict(inputs.sampling),
        "augmentation": asdict(inputs.augmentation),
        "max_frames": inputs.max_frames,
        "model": network.state_dict(),
    }
    write_tensors(path, content)


def load_network(path: str | Path) -> SavedNetwork:
    """The network stored in ``path``, in eval mode on the CPU, with its classes and inputs.

    Raises:
        UsageError: if the file is missing, damaged, or a checkpoint of another model.
    """
    content = read_tensors(path, _FORMAT)
    missing = {"config", "class_names", "sampling", "augmentation", "max_frames", "model"} - set(content)
    if missing:
        raise UsageError(f"{path}: not a whole checkpoint (without {', '.join(sorted(missing))})")
    config = _settings(path, NetworkConfig, content["config"])
    sampling = _settings(path, Sampling, content["sampling"])
    augmentation = _settings(path, Augmentation, content["augmentation"])
    names = tuple(str(name) for name in content["class_names"])
    if len(names) != config.classes:
        raise UsageError(f"{path}: {len(names)} class names for {config.classes} classes; the file is damaged")
    try:
        network = build_network(config)
        network.load_state_dict(content["model"])
    except (ValueError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"{path}: its weights do not fit its own configuration ({reason}); the file is damaged"
        ) from error
    return SavedNetwork(network.eval(), names, sampling, augmentation, int(content["max_frames"]))


def _settings(path: str | Path, kind: type[T], stored: dict[str, Any]) -> T:
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    if set(stored) != known:
        odd = sorted(set(stored) ^ known)
        raise UsageError(f"{path}: written by another version of this package (settings that differ: {odd})")
    try:
        return kind(**stored)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{path}: its settings make no sense ({error}); the file is damaged") from error
