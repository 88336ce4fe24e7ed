"""Settings that every training has, checks that configurations share, and fingerprints: what makes two starts of a
training the same training. Imports neither torch nor numpy, so that ``--help`` is fast."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from efficiency_core.errors import UsageError
from efficiency_core.settings import flatten, to_json

Precision = Literal["32-true", "bf16-mixed", "16-mixed", "auto"]
_CHANGE_NO_NUMBER = ("workers", "checkpoint_every", "validate_every", "log_every")


@dataclass(frozen=True)
class LoopConfig:
    """How a training runs, whatever it trains. The length of the training is a setting of the method."""

    seed: int = 0
    """Seed of the initial weights, of the order of the data and of everything else that is random."""
    precision: Precision = "32-true"
    """Arithmetic: ``32-true`` is float32, ``bf16-mixed`` is bfloat16 where autocast allows it, ``16-mixed`` is float16 with a
    gradient scaler and needs a GPU; ``auto`` is ``bf16-mixed`` where the device computes in bfloat16, else ``32-true``."""
    devices: int = 1
    """Number of GPUs, or of processes on the CPU. Each computes its share of a batch; batch sizes are those of all together."""
    workers: int = 4
    """Threads or processes that read batches ahead; 0 reads between the steps. Changes no number."""
    clip_norm: float = 0.0
    """Largest norm of the gradients, which are scaled down to it; 0 leaves them as they are."""
    checkpoint_every: int = 500
    """Steps between checkpoints; there is one after the last step too. Changes no number."""
    validate_every: int = 0
    """Steps between validations, where there is a validation set; 0 validates after every epoch. Changes no number."""
    log_every: int = 10
    """Steps per row of ``metrics.csv`` and TensorBoard; a row holds the means over them. Changes no number."""

    def __post_init__(self) -> None:
        check_choice(self, "precision", ("32-true", "bf16-mixed", "16-mixed", "auto"))
        check_least(self, 0, "seed", "workers", "clip_norm", "validate_every")
        check_least(self, 1, "devices", "checkpoint_every", "log_every")


def recipe(config: LoopConfig, *free: str) -> dict[str, Any]:
    """The settings that a training cannot change between two starts, as JSON values: the part of a fingerprint.

    ``free`` names further settings that may change: those of its length, and those that change no number.
    """
    return {name: value for name, value in to_json(config).items() if name not in (*_CHANGE_NO_NUMBER, *free)}


def fingerprint_text(fingerprint: Mapping[str, Any]) -> str:
    """A fingerprint of plain values, numpy numbers and paths as JSON text; equal ones give equal text."""
    import numpy as np

    def plain(value: Any) -> Any:
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, Path):
            return str(value)
        raise TypeError(f"a fingerprint holds plain values, not {type(value).__name__}")

    return json.dumps(fingerprint, sort_keys=True, default=plain)


def check_same(path: Path, before: str, after: str) -> None:
    """Refuse to continue the training of the checkpoint ``path``, of the fingerprint ``before``, as one of ``after``.

    Raises:
        UsageError: if they differ. It names the settings; those that only one has are of another version.
    """
    if before == after:
        return
    was, now = flatten(json.loads(before)), flatten(json.loads(after))
    odd = []
    for name in now:
        if name in was and was[name] != now[name]:
            texts = [json.dumps(value) for value in (was[name], now[name])]
            odd.append(f"{name} ({texts[0]}, now {texts[1]})" if max(map(len, texts)) <= 30 else name)
    if single := sorted(was.keys() ^ now.keys()):
        odd.append(f"another version or kind, settings that only one has: {', '.join(single)}")
    raise UsageError(
        f"{path}: belongs to a run with other settings ({', '.join(odd)}); choose another folder or delete it"
    )


def check_choice(config: Any, name: str, choices: Iterable[Any]) -> None:
    """Raise ``ValueError`` unless the setting is one of the choices."""
    known = tuple(choices)
    if getattr(config, name) not in known:
        raise ValueError(f"{name} must be one of {', '.join(map(str, known))}, got {getattr(config, name)!r}")


def check_least(config: Any, least: float, *names: str) -> None:
    """Raise ``ValueError`` unless every setting is ``least`` or more."""
    for name in names:
        if not getattr(config, name) >= least:
            raise ValueError(f"{name} must be {least} or more, got {getattr(config, name)}")


def check_positive(config: Any, *names: str) -> None:
    """Raise ``ValueError`` unless every setting is above 0."""
    for name in names:
        if not getattr(config, name) > 0:
            raise ValueError(f"{name} must be positive, got {getattr(config, name)}")
