"""What an experiment is to the bench: settings, a function, and what it reads."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from numpy.typing import NDArray

from ..data_files import split_files
from ..errors import UsageError
from ..records import Metric


@contextmanager
def checking(what: str) -> Iterator[None]:
    """Tell a value that a method package's configuration refuses as wrong usage; ``what`` opens the message."""
    try:
        yield
    except ValueError as error:
        raise UsageError(f"{what}: {error}") from error


def check_step(name: str, step: int, horizon: int) -> None:
    """Refuse a keyframe step, set as ``name``, that is not 1 to horizon + 1; with horizon 0 boxes stand still for any time.

    Raises:
        ValueError: what was expected and what came.
    """
    if step < 1:
        raise ValueError(f"{name} must be at least 1, got {step}")
    if horizon and step - 1 > horizon:
        raise ValueError(f"{name} {step} needs {step - 1} anticipated steps, but horizon is {horizon}")


@dataclass(frozen=True)
class Context:
    """Where and on what a run works."""

    data: Mapping[str, Path]
    """Data set -> its folder; `files` says what lies there."""
    device: torch.device
    """The device that works."""
    seed: int
    """Seed of the run."""
    folder: Path
    """Where the run keeps what it needs to continue after a stop."""
    images: Mapping[str, Path] = field(default_factory=dict)
    """`NAME` or `NAME/STEM` (all files of a data set, or `STEM.json` or `STEM.index.json` alone) -> the folder of the images
    or videos."""
    start: Path | None = None
    """The network of the run that this one starts from, where its experiment says it does (`Experiment.start`)."""
    start_absent: str = ""
    """Why that run left no network: its training diverged."""

    def files(self, name: str, split: str) -> list[Path]:
        """The files of a data set's split: `train.h5`, or `train.json` and further `train_*.json`, or `train.index.json`."""
        return split_files(self.data[name], split)

    def image_folder(self, name: str, file: Path) -> Path | None:
        """The folder that what a file of the data set names is relative to; None: the file's own."""
        return self.images.get(f"{name}/{file.name.partition('.')[0]}", self.images.get(name))


@dataclass(frozen=True)
class Outcome:
    """What a run found."""

    metrics: Mapping[str, Metric]
    """Name -> number with its unit."""
    protocol: Mapping[str, Any] = field(default_factory=dict)
    """How it was measured, for the record."""
    artifacts: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """Arrays for figures, by name; kept beside the record (see `efficiency_bench.artifacts`)."""
    absent: Mapping[str, str] = field(default_factory=dict)
    """Metrics that the run has no number for, each with the reason: a training that diverged has no error rate. A table leaves
    the cell blank and says why."""


@dataclass(frozen=True)
class Start:
    """The run whose network another one starts from; it has the same seed."""

    experiment: str
    """Its name; of kind "train", and its network lies in its folder as `network.pt`."""
    settings: Mapping[str, Any]
    """All of its settings that differ from the experiment's defaults; presets have no say."""
    data: Mapping[str, str] = field(default_factory=dict)
    """Data set it reads -> the one to read in its place."""


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
    start: Callable[[Any], Start | None] = lambda settings: None
    """From settings to the run that one with these settings starts from; None where it starts from nothing, or from weights
    that are named in its settings."""
