"""What a page says of one run: how to run it again, and everything that its number rests on."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from efficiency_bench import experiments
from efficiency_bench.records.run_record import RunRecord
from efficiency_bench.report.builds import Build
from efficiency_bench.workflow.data_sets import DataSet
from efficiency_core.errors import UsageError
from efficiency_core.settings import build as build_settings
from efficiency_core.settings import changed, format_assignments

TAIL_LINES = 25
TAIL_LETTERS = 2000
"""Most lines and letters of the end of a log."""


def view_run(build: Build, record: RunRecord, data_sets: Mapping[str, DataSet]) -> dict[str, Any]:
    """Facts about a run as text, for JSON."""
    commit = record.git["commit"] or "unknown"
    log = build.logs.get(record.run_id)
    return {
        "title": f"{record.experiment.replace('_', ' ')}, seed {record.seed}",
        "source": build.name,
        "command": shlex.join(run_command(record, data_sets)),
        "target": f"snakemake results/runs/{record.run_id}.json --config preset={record.preset}",
        "differs": settings_note(record),
        "settings": format_assignments(record.settings),
        "metrics": {name: f"{metric.value:.6g} {metric.unit}" for name, metric in record.metrics.items()},
        "absent": dict(record.absent),
        "commit": commit + (", with changes that were not committed" if record.git["dirty"] else ""),
        "data": [
            {"name": f"{fact['name']} ({fact['source']})", "folder": fact.get("folder", name), "digest": fact["digest"]}
            for name, fact in record.data.items()
        ],
        "device": device_text(record),
        "packages": ", ".join(f"{name} {version}" for name, version in record.packages.items()),
        "started": record.started,
        "duration": f"{record.duration_s:.1f} s",
        "record": f"runs/{record.run_id}.json",
        "log": f"logs/runs/{record.run_id}.log" if log else "",
        "tail": log_tail(log) if log else "",
    }


def device_text(record: RunRecord) -> str:
    device = record.device
    threads = f"{device['threads']} thread{'s' if device['threads'] != 1 else ''}"
    return f"{device['name']} ({threads})" if device["type"] == "cpu" else device["name"]


def settings_note(record: RunRecord) -> str:
    """Why the command may not repeat the run; empty where the settings are those of this version."""
    try:
        _changed_settings(record)
    except UsageError as error:
        return f"its settings are of an earlier version ({error}); check out its commit first"
    return ""


def run_command(record: RunRecord, data_sets: Mapping[str, DataSet]) -> list[str]:
    """The words of the command that makes the run again, from the folder of the repository."""
    try:
        settings = _changed_settings(record)
    except UsageError:
        settings = format_assignments(record.settings)  # `settings_note` tells the reader
    words = ["effbench", "run" if record.kind == "train" else "measure", record.experiment]
    words += [word for setting in settings for word in ("--set", setting)]
    for name, fact in record.data.items():
        words += ["--data", f"{name}=data/{fact.get('folder', name)}"]
        for file, root in _roots(fact.get("folder", ""), data_sets).items():
            words += ["--images", f"{name}/{file}={root}"]
    if "start" in record.protocol:
        words += ["--start", f"results/runs/{record.protocol['start']['run_id']}.json"]
    words += ["--seed", str(record.seed), "--device", record.device["type"], "--preset", record.preset]
    return [*words, "--out", f"results/runs/{record.run_id}.json"]


def _changed_settings(record: RunRecord) -> list[str]:
    """The settings that differ from the experiment's defaults; a `UsageError` if they are of another version."""
    settings_type = experiments.get(record.experiment).settings_type
    return format_assignments(changed(build_settings(settings_type, record.settings, record.run_id)))


def _roots(folder: str, data_sets: Mapping[str, DataSet]) -> dict[str, str]:
    """File of a real data set -> folder of its images or videos under the data root; none for a generated one."""
    for data_set in data_sets.values():
        for form in data_set.real:
            if folder == f"{data_set.name}-{form.source}":
                images = {file: how.images for file, how in form.convert.items()}
                return images | {file: how.root for file, how in form.read.items()}
    return {}


def log_tail(path: Path) -> str:
    """The last lines of a log; of a progress bar, its last state."""
    text = path.read_bytes().decode("utf-8", errors="replace")  # text mode would take a bar's \r for ends of lines
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line.rstrip("\r").rpartition("\r")[2]) for line in text.split("\n")]
    return "\n".join([line for line in lines if line.strip()][-TAIL_LINES:])[-TAIL_LETTERS:]


def shared_settings(views: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Any], list[list[str]]]:
    """The views with a number in place of equal `settings`, and the settings by that number: seeds share them."""
    known: dict[tuple[str, ...], int] = {}
    short = {
        key: {**view, "settings": known.setdefault(tuple(view["settings"]), len(known))} for key, view in views.items()
    }
    return short, [list(settings) for settings in known]
