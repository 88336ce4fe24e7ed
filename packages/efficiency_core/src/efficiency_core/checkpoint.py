"""Checkpoints of trainings: tensors and plain values, written whole or not at all and loaded with ``weights_only=True``."""

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from efficiency_core.errors import UsageError
from efficiency_core.files import atomic_path, why_no_file


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
            if isinstance(error.__context__, OSError):  # torch reports a full disk as a bad position in a file
                raise error.__context__ from error
            raise


def read_tensors(path: str | Path, expected_format: str | None) -> dict[str, Any]:
    """Content of a file of :func:`write_tensors`, with its tensors on the CPU.

    Raises:
        UsageError: if it is missing, damaged, or its entry ``format`` is not ``expected_format`` (``PACKAGE.KIND/VERSION``; None
            takes any).
    """
    if not Path(path).is_file():
        of = f" of {expected_format.partition('.')[0]}" if expected_format else ""
        raise UsageError(f"{path}: {why_no_file(path)}; expected a checkpoint{of}")
    try:
        with warnings.catch_warnings(action="ignore"):  # of pickles that torch did not write
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # torch's advice to load it with code is not repeated
        raise UsageError(f"{path}: not a readable checkpoint (not a file of tensors)") from error
    except Exception as error:  # a damaged pickle can raise almost anything: KeyError, IndexError, struct.error, ...
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].partition(". ")[0]
        raise UsageError(f"{path}: not a readable checkpoint ({reason})") from error
    found = content.get("format") if isinstance(content, dict) else None
    if found is None or found != (expected_format or found):
        raise UsageError(f"{path}: a checkpoint of another kind (format {found!r}, expected {expected_format!r})")
    return dict(content)


def load_optimizer(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """``optimizer.load_state_dict(state)``, with moments in the memory order that the weights have here.

    A fused step pairs numbers by their place in memory, and weights on another device may have had another order.
    """
    optimizer.load_state_dict(state)
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                moments[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
