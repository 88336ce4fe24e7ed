"""Trained detectors as files: tensors and plain values only, loaded with ``weights_only=True``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch

from location_anticipation.detector import AnticipationRCNN, DetectorConfig, build_detector
from location_anticipation.errors import UsageError
from location_anticipation.files import atomic_path
from location_anticipation.peers import ClipDetector, PeerConfig, build_peer

__all__ = ["load_any", "load_detector", "load_peer", "read_tensors", "save_detector", "write_tensors"]

_FORMAT = "location_anticipation.detector/1"
_PEER_FORMAT = "location_anticipation.peer/1"


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
        raise UsageError(f"{path}: no such file; expected a checkpoint of location_anticipation")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise almost anything: KeyError, IndexError, struct.error, ...
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UsageError(f"{path}: not a readable checkpoint ({reason})") from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != expected_format:
        raise UsageError(f"{path}: a checkpoint of another kind (format {found!r}, expected {expected_format!r})")
    return dict(content)


def save_detector(path: str | Path, model: AnticipationRCNN, class_names: Sequence[str]) -> None:
    """Write a detector, its configuration and the names of its classes (in the order of labels 1, 2, ...).

    The network of a peer is written as such, with its method.
    """
    if len(class_names) != model.config.num_classes:
        raise ValueError(f"{model.config.num_classes} classes but {len(class_names)} names")
    peer = isinstance(model, ClipDetector)
    content = {
        "format": _PEER_FORMAT if peer else _FORMAT,
        "config": asdict(model.peer if isinstance(model, ClipDetector) else model.config),
        "class_names": list(class_names),
        "model": model.state_dict(),
    }
    write_tensors(path, content)


def load_detector(path: str | Path) -> tuple[AnticipationRCNN, list[str]]:
    """The detector stored in ``path``, in eval mode on the CPU, and the names of its classes.

    Raises:
        UsageError: if the file is missing, damaged, or a checkpoint of another model.
    """
    content = _read(path, _FORMAT)
    config = _settings(path, DetectorConfig, content["config"])
    return _restore(path, content, lambda: build_detector(DetectorConfig(**config)))


def load_peer(path: str | Path) -> tuple[ClipDetector, list[str]]:
    """The network of a peer stored in ``path``, in eval mode on the CPU, and the names of its classes.

    Its ``peer`` says which method it is. Key box methods have plain detectors, which :func:`load_detector` reads.

    Raises:
        UsageError: if the file is missing, damaged, or a checkpoint of another model.
    """
    content = _read(path, _PEER_FORMAT)
    config = _settings(path, PeerConfig, content["config"])
    shape = _settings(path, DetectorConfig, config.pop("detector"))
    model, names = _restore(path, content, lambda: build_peer(PeerConfig(detector=DetectorConfig(**shape), **config)))
    if not isinstance(model, ClipDetector):
        raise UsageError(f"{path}: method {config['method']!r} has no network of its own; the file is damaged")
    return model, names


def load_any(path: str | Path) -> tuple[AnticipationRCNN, list[str]]:
    """Whichever of the two ``path`` holds, in eval mode on the CPU, and the names of its classes.

    Raises:
        UsageError: if the file is missing, damaged, or a checkpoint of another model.
    """
    try:
        read_tensors(path, _PEER_FORMAT)
    except UsageError:
        return load_detector(path)
    return load_peer(path)


def _read(path: str | Path, expected: str) -> dict[str, Any]:
    """Content of a checkpoint; one of the other kind is refused with the name of the function that reads it."""
    other, reader = (_PEER_FORMAT, "load_peer") if expected == _FORMAT else (_FORMAT, "load_detector")
    try:
        return read_tensors(path, expected)
    except UsageError as error:
        try:
            content = read_tensors(path, other)
        except UsageError:
            raise error from None
        method = f"the method {content['config'].get('method')!r}" if other == _PEER_FORMAT else "a plain detector"
        raise UsageError(f"{path}: a checkpoint of {method}, read by {reader}") from None


def _settings(path: str | Path, kind: type[Any], stored: dict[str, Any]) -> dict[str, Any]:
    known = {field.name for field in fields(kind)}
    if set(stored) != known:
        odd = sorted(set(stored) ^ known)
        raise UsageError(f"{path}: written by another version of this package (settings that differ: {odd})")
    return dict(stored)


def _restore(
    path: str | Path, content: dict[str, Any], build: Callable[[], AnticipationRCNN]
) -> tuple[AnticipationRCNN, list[str]]:
    try:
        model = build()
        model.load_state_dict(content["model"])
    except (ValueError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"{path}: its weights do not fit its own configuration ({reason}); the file is damaged"
        ) from error
    return model.eval(), [str(name) for name in content["class_names"]]
