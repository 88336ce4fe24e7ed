"""One run of one experiment, from settings to its record. `effbench run` and `effbench measure` parse options and call it."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from efficiency_bench import experiments
from efficiency_bench.experiments.devices import most_devices, threads_divided, with_devices
from efficiency_bench.experiments.pretrained import as_given, with_weights
from efficiency_bench.measure.devices import describe_device
from efficiency_bench.records.artifacts import artifacts_path, write_artifacts
from efficiency_bench.records.data_files import data_facts
from efficiency_bench.records.json_file import write_json
from efficiency_bench.records.provenance import git_state, package_versions
from efficiency_bench.records.run_record import DeviceFacts, RunRecord, run_id
from efficiency_bench.records.sources import run_sources, source_digests
from efficiency_bench.records.starts import find_start
from efficiency_core.devices import resolve_device
from efficiency_core.errors import UsageError
from efficiency_core.files import check_output, locked
from efficiency_core.loop import together
from efficiency_core.settings import build, to_json

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunContext:
    """Where and on what an experiment works, as its caller says."""

    out: Path
    """The record's path. Arrays for figures are written beside it; a training keeps its checkpoints in the folder of the same
    name."""
    data: Mapping[str, Path] = field(default_factory=dict)
    images: Mapping[str, Path] = field(default_factory=dict)
    """`NAME` or `NAME/STEM` -> directory against which paths in the data set's files, or in its file STEM alone, are resolved;
    absolute or under the directory EFFICIENCY_DATA. Default: the directory of the file."""
    start: Path | None = None
    """Record of the run whose network this one starts from, where the settings ask for one."""
    seed: int = 0
    device: str = "auto"
    devices: int = 1
    """Devices of every training, see `experiments.devices`; 1 leaves their number to the settings."""
    preset: str = "custom"
    """Name of the preset the settings come from, for the record."""


def check_kind(name: str, kind: Literal["train", "measure"]) -> None:
    """Refuse an experiment of the other kind, or an unknown one, with a `UsageError`."""
    found = experiments.get(name).kind
    if found != kind:
        command = "run" if found == "train" else "measure"
        raise UsageError(f"{name} is an experiment of kind {found!r}: use effbench {command}")


def run_experiment(name: str, settings: Any, context: RunContext) -> RunRecord:
    """Run an experiment, or continue where an earlier call stopped.

    Arrays for figures are written beside `context.out`. The record itself is returned: whoever writes it there says that the
    run is done. `settings` is the experiment's dataclass, or a nested mapping of those that differ from the defaults. Of a
    finished training the checkpoint keeps what a repeated evaluation needs.

    Raises:
        UsageError: the settings, the data, the start or the output do not fit, or another process works on the same record.
        WorkError: the work failed.
    """
    check_outputs(context.out)
    experiment = experiments.get(name)
    if isinstance(settings, Mapping):
        settings = build(experiment.settings_type, settings, f"settings of {name}")
    if context.devices > 1 and experiment.kind == "measure":
        raise UsageError(f"--devices {context.devices}: {name} measures, on one device; leave the option out")
    data = _checked_data(context.data, experiment.data)
    device = _torch_device(context.device)
    every = experiments.recorded(settings)
    located, weights = with_weights(every)
    start = find_start(experiment, settings, context.seed, context.start)
    read = {name: folder.name for name, folder in data.items()}
    identity = run_id(name, every, {**read, **({"start": start.run_id} if start else {})}, context.seed)
    images = _checked_images(context.images, experiment.data)
    facts = {name: data_facts(name, folder) for name, folder in data.items()}
    sources = source_digests(run_sources(experiments.module_of(name)))

    folder = context.out.with_suffix("")
    with locked(folder, folder.with_name(f".{folder.name}.lock")):
        rests_on = {name: fact["digest"] for name, fact in facts.items()} | ({"start": start.digest} if start else {})
        rests_on |= {setting: used.get("sha256", used.get("name", "")) for setting, used in weights.items()}
        drop_stale_work(folder, sources, rests_on)
        begin = (start.network, start.absent) if start else (None, "")
        begun: dict[str, Any] = {"weights": weights} if weights else {}
        begun |= {"start": {"run_id": start.run_id, "network_sha256": start.digest}} if start else {}
        started, clock = datetime.now(UTC), time.perf_counter()
        if weights or context.devices > 1:
            divided = with_devices(located, context.devices) if context.devices > 1 else located
            settings = build(experiment.settings_type, divided, f"settings of {name}")
        devices = most_devices(to_json(settings))
        work = experiments.Context(data, device, context.seed, folder, images, *begin)
        with threads_divided(devices) if devices > 1 else nullcontext():
            outcome = together(experiment.function, settings, work)
            duration = round(time.perf_counter() - clock, 3)
            steps = thin_checkpoints(folder, device, devices)
        handed_over = write_artifacts(context.out, outcome.artifacts)
    return RunRecord(
        run_id=identity,
        experiment=name,
        kind=experiment.kind,
        preset=context.preset,
        settings=every,
        seed=context.seed,
        metrics=outcome.metrics,
        protocol={**as_given(outcome.protocol, every, located), **handed_over, **begun, **steps},
        data=facts,
        packages=package_versions(),
        sources=sources,
        git=git_state(Path(__file__)),
        device=cast(DeviceFacts, describe_device(device) | ({"devices": devices} if devices > 1 else {})),
        started=started.strftime("%Y-%m-%dT%H:%M:%SZ"),
        duration_s=duration,
        absent=outcome.absent,
    )


def check_outputs(out: Path) -> None:
    """A `UsageError` unless `out` can take a run's record, and the places beside it its arrays and its checkpoints."""
    if out.suffix != ".json":
        raise UsageError(f"--out: {out} does not end in .json; arrays and checkpoints go beside it under the same name")
    check_output(out)
    check_output(artifacts_path(out))
    check_output(out.with_suffix(""), folder=True)


def thin_checkpoints(folder: Path, device: torch.device, count: int) -> dict[str, dict[str, int]]:
    """Make the checkpoints of finished trainings under `folder` small. What the protocol says of their steps: `steps_by_device`,
    where some were taken on another device, or with other threads, than the `count` of `device` here."""
    from efficiency_core.loop import CHECKPOINT, device_text, make_thin  # brings torch

    taken: Counter[str] = Counter()
    for path in sorted(folder.rglob(CHECKPOINT)):
        taken.update(make_thin(path))
    return {"steps_by_device": dict(taken)} if taken.keys() - {device_text(device, count)} else {}


def drop_stale_work(folder: Path, sources: Mapping[str, str], data: Mapping[str, str]) -> None:
    """Remove what an earlier start left in `folder` if it was made by other source code of the method, or of other data.

    `sources` and `data` are digests by package and data set. The bench's own source does not count: it trains nothing. Runs
    begun before data were noted have none to compare. A `UsageError` if something else lies there.
    """
    method = {package: digest for package, digest in sources.items() if package != "efficiency_bench"}
    note, data_note = folder / "sources.json", folder / "data.json"
    if note.exists():
        same_source = json.loads(note.read_text(encoding="utf-8")) == method
        if same_source and (not data_note.exists() or json.loads(data_note.read_text(encoding="utf-8")) == data):
            return
        what = "data" if same_source else "source"
        _log.warning("the %s has changed since %s was begun: starting over", what, folder)
        shutil.rmtree(folder)
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"{folder} is where this run would keep its checkpoints, but holds something else: choose another --out"
        )
    if method:
        write_json(note, method)
        write_json(data_note, dict(data))


def _torch_device(name: str) -> torch.device:
    import torch

    found = resolve_device(name)
    return torch.device(found, torch.cuda.current_device()) if found == "cuda" else torch.device(found)


def _checked_data(folders: Mapping[str, Path], needed: tuple[str, ...]) -> dict[str, Path]:
    for name in needed:
        if name not in folders:
            raise UsageError(f"this experiment reads {name}: give its folder with --data {name}=DIR")
        if not folders[name].is_dir():
            raise UsageError(
                f"{folders[name]}: no such folder; `synthdata build {name.replace('_', '-')} --out {folders[name]}` makes "
                "generated data"
            )
    if unknown := [name for name in folders if name not in needed]:
        raise UsageError(f"--data {unknown[0]}: this experiment reads {', '.join(needed) or 'no data'}")
    return dict(folders)


def _checked_images(folders: Mapping[str, Path], read: tuple[str, ...]) -> dict[str, Path]:
    root = Path(os.environ.get("EFFICIENCY_DATA", ""))
    for name, folder in folders.items():
        if name.partition("/")[0] not in read:
            raise UsageError(f"--images {name}: this experiment reads {', '.join(read) or 'no data'}")
        if not (root / folder).is_dir():
            raise UsageError(f"--images {name}: {root / folder} is no folder; EFFICIENCY_DATA is {str(root)!r}")
    return {name: root / folder for name, folder in folders.items()}  # an absolute folder stays itself
