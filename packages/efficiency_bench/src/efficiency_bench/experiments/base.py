"""What an experiment is to the bench: settings, a function, and what it reads."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from ..records import Metric


@dataclass(frozen=True)
class Context:
    """Where and on what a run works."""

    data: Mapping[str, Path]
    """Data set -> its folder (`train.h5`, `test.h5`)."""
    device: torch.device
    """The device that works."""
    seed: int
    """Seed of the run."""
    folder: Path
    """Where the run keeps what it needs to continue after a stop."""


@dataclass(frozen=True)
class Outcome:
    """What a run found."""

    metrics: Mapping[str, Metric]
    """Name -> number with its unit."""
    protocol: Mapping[str, Any] = field(default_factory=dict)
    """How it was measured, for the record."""


@dataclass(frozen=True)
class Experiment:
    """One experiment of the bench."""

    name: str
    """Name in tables, presets, records and on the command line."""
    kind: Literal["train", "measure"]
    """`train`: may share the machine with other jobs. `measure`: must have it alone."""
    summary: str
    """What it does, in a sentence."""
    settings_type: type[Any]
    """Frozen dataclass of its settings."""
    data: tuple[str, ...]
    """Data sets it reads."""
    function: Callable[[Any, Context], Outcome]
    """From settings, data and device to metrics."""
