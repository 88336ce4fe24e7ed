"""`effbench run` and `effbench measure`: one run of one experiment."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from efficiency_bench.records.json_file import write_json
from efficiency_bench.run import RunContext, check_kind, run_experiment
from efficiency_core.command import OutputFile, Pairs, Positional, arg
from efficiency_core.settings import parse_assignments, parse_pairs


@dataclass(frozen=True)
class RunOptions:
    """Run an experiment and write its record."""

    experiment: Positional[str]
    """Name of the experiment (`effbench list` shows them)."""
    out: Annotated[OutputFile[Path], arg(metavar="FILE.json")]
    """The run record to write. Checkpoints lie in the folder of the same name."""
    set: Pairs = ()
    """A setting of the experiment, such as training.gamma=0.3; may be repeated."""
    data: Annotated[Pairs, arg(metavar="NAME=DIR")] = ()
    """Folder of a data set; may be repeated."""
    images: Annotated[Pairs, arg(metavar="NAME[/STEM]=DIR")] = ()
    """Directory against which paths in a data set's files, or in its file STEM.json or STEM.index.json alone, are resolved;
    absolute or under the EFFICIENCY_DATA directory (default: the file's own directory)."""
    start: Annotated[Path | None, arg(metavar="RUN.json")] = None
    """Record of the run whose network this one starts from, where the settings ask for one; its network is in RUN."""
    seed: int = 0
    """Seed of the run."""
    devices: int = 1
    """Devices of every training: GPUs, or processes on the CPU. Each takes its share of a batch. Not part of the run's id."""
    preset: str = "custom"
    """Name of the preset that the run is for, for the record."""


def measure(options: RunOptions, device: str) -> None:
    run(options, device, "measure")


def run(options: RunOptions, device: str, kind: Literal["train", "measure"] = "train") -> None:
    check_kind(options.experiment, kind)
    context = RunContext(
        out=options.out,
        data={name: Path(folder) for name, folder in parse_pairs(options.data, "--data", "NAME=DIR").items()},
        images={name: Path(folder) for name, folder in parse_pairs(options.images, "--images", "NAME=DIR").items()},
        start=options.start,
        seed=options.seed,
        device=device,
        devices=options.devices,
        preset=options.preset,
    )
    record = run_experiment(options.experiment, parse_assignments(options.set), context)
    write_json(options.out, record.to_json())
    for name, metric in record.metrics.items():
        print(f"{name:28s} {metric.value:.4f} {metric.unit}")
    for name, reason in record.absent.items():
        print(f"{name:28s} none: {reason}")
