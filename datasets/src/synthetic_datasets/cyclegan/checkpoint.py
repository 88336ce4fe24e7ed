"""Trained networks and the state of a training as files: tensors and plain values only, loaded with ``weights_only=True``."""

import hashlib
import os
import pickle
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..errors import BuildError, InputError
from .networks import ResnetGenerator

_FORMAT = "synthetic_datasets.cyclegan/1"


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
    """SHA-256 of the weights of ``paint``."""


def write_tensors(path: Path, content: dict[str, Any]) -> None:
    """``torch.save`` under a temporary name, renamed when complete.

    Raises:
        BuildError: the file cannot be written; nothing is left behind and an older file stays as it was.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:  # into a file object: given a path, torch would store its name
                torch.save(content, file)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)
            os.replace(name, path)
        finally:
            Path(name).unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError):  # torch tells a full disk as a bad position in a file
            raise
        raise BuildError(f"{path}: cannot be written ({cause.strerror or cause})") from error


def read_tensors(path: Path, expected: str) -> dict[str, Any]:
    """Content of a file that ``write_tensors`` wrote.

    Raises:
        InputError: it is missing, damaged, or not of the format ``expected``.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; make it with synthdata train-cyclegan")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # torch's advice, to load it with code and all, is not repeated here
        raise InputError(f"{path}: not a readable checkpoint (not a file of tensors)") from error
    except Exception as error:  # a damaged pickle can raise almost anything: KeyError, IndexError, struct.error, ...
        why = (str(error).strip() or type(error).__name__).splitlines()[0].partition(". ")[0]
        raise InputError(f"{path}: not a readable checkpoint ({why})") from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != expected:
        raise InputError(f"{path}: a file of another kind (format {found!r}, expected {expected!r})")
    return dict(content)


def save_cyclegan(path: Path, paint: ResnetGenerator, photograph: ResnetGenerator, facts: dict[str, Any]) -> None:
    """Write both generators and ``facts`` about them; see ``SavedCycleGAN``."""
    networks = {"paint": paint.state_dict(), "photograph": photograph.state_dict()}
    write_tensors(path, {"format": _FORMAT, "facts": facts, **networks})


def load_cyclegan(path: Path) -> SavedCycleGAN:
    """The generators of a file.

    Raises:
        InputError: it is missing, damaged, or holds something else.
    """
    content = read_tensors(path, _FORMAT)
    try:
        facts = dict(content["facts"])
        paint, photograph = (ResnetGenerator(int(facts["ngf"]), int(facts["blocks"])).eval() for _ in range(2))
        paint.load_state_dict(content["paint"])
        photograph.load_state_dict(content["photograph"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        why = str(error).splitlines()[0]
        raise InputError(f"{path}: its weights do not fit its own settings ({why}); the file is damaged") from error
    return SavedCycleGAN(paint, photograph, facts, weights_digest(paint))


def weights_digest(network: torch.nn.Module) -> str:
    """SHA-256 over the names and values of a network's weights."""
    whole = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        whole.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return whole.hexdigest()
