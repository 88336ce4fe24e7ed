"""What an experiment is to the bench: settings, a function, and what it reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from efficiency_bench.records.data_files import split_files
from efficiency_bench.records.run_record import Metric
from efficiency_bench.records.set_index import load_index, open_fold
from efficiency_core.settings import to_json

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


ADDED: Mapping[str, bool] = {"added": True}
"""Metadata of a field of an experiment's settings that was added after runs of it were kept: records leave it out where it has
its default, so that earlier runs keep their ids."""


def recorded(settings: Any) -> dict[str, Any]:
    """Every setting as records keep it, nested, as plain JSON values; see :data:`ADDED`."""
    return _without_added(settings, to_json(settings))


def _without_added(settings: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in fields(settings):
        value = getattr(settings, one.name)
        if not (one.metadata.get("added") and value == one.default):
            found[one.name] = _without_added(value, values[one.name]) if is_dataclass(value) else values[one.name]
    return found


@dataclass(frozen=True)
class Context:
    """Where and on what a run works."""

    data: Mapping[str, Path]
    """Data set -> its folder; `files` says what lies there."""
    device: torch.device
    seed: int
    folder: Path
    """Where the run keeps what it needs to continue after a stop."""
    images: Mapping[str, Path] = field(default_factory=dict)
    """`NAME` or `NAME/STEM` (all files of a data set, or `STEM.json` or `STEM.index.json` alone) -> folder of its images or
    videos."""
    start: Path | None = None
    """The network of the run that this one starts from, where its experiment says it does (`Experiment.start`)."""
    start_absent: str = ""
    """Why that run left no network: its training diverged."""

    def files(self, name: str, split: str) -> list[Path]:
        """The files of a data set's split: `train.h5`, or `train.json` and further `train_*.json`, or `train.index.json`."""
        return split_files(self.data[name], split)

    def image_folder(self, name: str, file: Path) -> Path | None:
        """Directory against which relative paths in ``file`` are resolved; None: the file's own."""
        return self.images.get(f"{name}/{file.name.partition('.')[0]}", self.images.get(name))

    def open_file(self, name: str, split: str, generated: Callable[[Path], Any], fold: int | None = None) -> Any:
        """The videos or images of a split that is one file: a generated one, which `generated` opens, or the index of a
        set in its own layout, of which fold `fold` (None: the seed), modulo their number, is read. A `UsageError` if
        there is no such file, or the set is another than that of the index."""
        (file,) = self.files(name, split)
        if file.suffix == ".h5":
            return generated(file)
        root = self.image_folder(name, file) or file.parent
        return open_fold(load_index(file), root, self.seed if fold is None else fold)


@dataclass(frozen=True)
class Outcome:
    """What a run found."""

    metrics: Mapping[str, Metric]
    """Name -> number with its unit."""
    protocol: Mapping[str, Any] = field(default_factory=dict)
    """How it was measured, for the record."""
    artifacts: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """Arrays for figures, by name; kept beside the record (see `efficiency_bench.records.artifacts`)."""
    absent: Mapping[str, str] = field(default_factory=dict)
    """Metrics without a number, each with the reason, for example a training that diverged. Tables show it."""


@dataclass(frozen=True)
class Start:
    """The run whose network another one starts from; it has the same seed."""

    experiment: str
    """Its name; of kind "train", and its network lies in its folder as `network.safetensors`."""
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
    """From settings to the run that one with these settings starts from; None: from nothing, or from given weights."""
