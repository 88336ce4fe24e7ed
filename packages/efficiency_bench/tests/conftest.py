"""An experiment that needs neither torch nor time, in place of those of the bench."""

import gc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from efficiency_bench import experiments
from efficiency_bench.experiments import Context, Experiment, Outcome, Start
from efficiency_bench.records.artifacts import write_artifacts
from efficiency_bench.records.json_file import write_json
from efficiency_bench.records.run_record import Metric, RunRecord
from efficiency_bench.workflow.plan import RunSpec


@dataclass(frozen=True)
class Training:
    epochs: int = 2
    gamma: float = 0.5


@dataclass(frozen=True)
class Settings:
    training: Training = field(default_factory=Training)
    pretrained: bool = False

    def __post_init__(self) -> None:
        if self.training.epochs < 1:
            raise ValueError(f"epochs must be at least 1, got {self.training.epochs}")


def run(settings: Settings, context: Context) -> Outcome:
    """Count the epochs of this and of earlier starts; the network is a file that says what it started from."""
    context.folder.mkdir(parents=True, exist_ok=True)
    epochs = context.folder / "epochs.txt"
    with epochs.open("a") as file:
        file.write("x" * settings.training.epochs)
    (context.folder / "network.safetensors").write_text(context.start.read_text() if context.start else "scratch")
    metrics = {"epochs": Metric(len(epochs.read_text()), "1"), "error": Metric(settings.training.gamma, "%")}
    return Outcome(metrics, {"batch": 4}, {"curve": np.arange(3.0)}, {"top5": "not measured"})


def start(settings: Settings) -> Start | None:
    return Start("toy", {"training": {"epochs": 3}}) if settings.pretrained else None


EXPERIMENTS = {
    "toy": Experiment("toy", "train", "Counts epochs.", Settings, ("shape",), run, start),
    "clock": Experiment("clock", "measure", "Measures nothing.", Settings, (), run),
}


@pytest.fixture(autouse=True)
def little_garbage() -> Iterator[None]:
    """Timing collects garbage before every call; what other tests left in memory is not looked through each time."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> dict[str, Experiment]:
    """The experiments `toy` (trains, reads `shape`) and `clock` (measures, reads nothing)."""
    monkeypatch.setattr(experiments, "names", lambda: tuple(EXPERIMENTS))
    monkeypatch.setattr(experiments, "get", lambda name: EXPERIMENTS[name])
    monkeypatch.setattr(experiments, "module_of", lambda name: "synthetic_datasets.seeding")
    return EXPERIMENTS


@pytest.fixture
def shape(tmp_path: Path) -> Path:
    """The folder of a data set called shape."""
    import h5py

    folder = tmp_path / "shape-drawn"
    folder.mkdir()
    for split in ("train", "test"):
        with h5py.File(folder / f"{split}.h5", "w") as file:
            values: dict[str, Any] = {"name": "Shape", "source": "drawn", "content_digest": f"{split}-1"}
            file.attrs.update(values)
    return folder


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts experiments in place of those of the bench: `register(NAME=(kind, type of settings, data sets))`."""

    def put(**known: tuple[Any, type[Any], tuple[str, ...]]) -> None:
        made = {name: Experiment(name, kind, "", settings, data, run) for name, (kind, settings, data) in known.items()}
        monkeypatch.setattr(experiments, "names", lambda: tuple(made))
        monkeypatch.setattr(experiments, "get", lambda name: made[name])

    return put


@dataclass(frozen=True)
class Detection:
    motion: Literal["annotated", "none"] = "annotated"
    horizon: int = 8
    iterations: int = 1000
    steps: tuple[int, ...] = (4, 8)


@dataclass(frozen=True)
class Speed:
    rounds: int = 3


@pytest.fixture
def detection_and_speed(register: Callable[..., None]) -> None:
    """An experiment that trains and reads `digits`, and one that measures."""
    register(detection=("train", Detection, ("digits",)), speed=("measure", Speed, ()))


@pytest.fixture
def store() -> Callable[..., None]:
    """Writes the record of a planned run: `store(folder, run, {metric: (value, unit)}, arrays, digest of its data, **other
    fields)`."""

    def write(
        folder: Path, run: RunSpec, metrics: Mapping[str, tuple[float, str]], arrays: Any = None,
        contents: str = "a" * 64, **changes: Any,
    ) -> None:  # fmt: skip
        path = folder / f"{changes.get('run_id', run.run_id)}.json"
        facts = {"name": "MovingDigits", "source": "sklearn-digits", "digest": contents}
        fields: dict[str, Any] = {
            "run_id": run.run_id, "experiment": run.experiment, "kind": run.kind, "preset": "quick",
            "settings": run.settings, "seed": run.seed,
            "metrics": {name: Metric(*value) for name, value in metrics.items()},
            "protocol": write_artifacts(path, arrays or {}),
            "data": {name: {**facts, "folder": where} for name, where in run.data.items()},
            "packages": {}, "sources": {}, "git": {"commit": None, "dirty": None},
            "device": {"type": "cpu", "name": "Epic CPU", "threads": 2, "clock_mhz": None},
            "started": "2026-11-22T17:20:00Z", "duration_s": 1.0,
        }  # fmt: skip
        write_json(path, RunRecord(**{**fields, **changes}).to_json())

    return write
