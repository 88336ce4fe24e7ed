"""What the page says of a run."""

import shlex
from pathlib import Path
from typing import Any

import pytest

from efficiency_bench.commands.running import RunOptions
from efficiency_bench.report.builds import THIS_BUILD, Build
from efficiency_bench.report.runs import device_text, log_tail, run_command, settings_note, shared_settings, view_run
from efficiency_bench.workflow.data_sets import load_data_sets
from efficiency_bench.workflow.plan import RunSpec
from efficiency_core.settings import parse_assignments, parse_pairs


def option(words: list[str], name: str) -> list[str]:
    return [words[at + 1] for at, word in enumerate(words) if word == f"--{name}"]


@pytest.fixture
def build(built: Any) -> Build:
    return Build(THIS_BUILD, built.results)


def test_the_command_asks_for_the_same_run(built: Any, build: Build) -> None:
    run: RunSpec = next(run for run in built.runs if run.settings.get("motion") == "none" and run.seed == 1)
    words = shlex.split(view_run(build, build.records[run.run_id], {})["command"])
    assert words[:3] == ["effbench", "run", "detection"]
    assert parse_assignments(option(words, "set")) == parse_assignments(run.assignments)
    assert parse_pairs(option(words, "data"), "--data") == {"digits": "data/digits-drawn"}
    assert option(words, "seed") == ["1"]
    assert option(words, "out") == [f"results/runs/{run.run_id}.json"]
    assert {word[2:] for word in words if word.startswith("--")} - {"device"} <= RunOptions.__dataclass_fields__.keys()
    speed = next(run for run in built.runs if run.experiment == "speed")
    assert run_command(build.records[speed.run_id], {})[1] == "measure"


def test_the_command_names_what_a_run_starts_from_and_where_images_are(built: Any, build: Build) -> None:
    run = next(run for run in built.runs if run.experiment == "detection")
    text = """
videos:
  summary: real videos
  stand_in: digits
  real:
    source: frames
    needs: [Videos]
    convert:
      train: {format: epic, root: Videos/train, images: Videos/pictures}
      test: {format: epic, root: Videos/test, images: Videos/pictures}
"""
    path = built.workflows / "data.yaml"
    path.write_text(path.read_text() + text)
    data = {"digits": {"name": "Videos", "source": "frames", "digest": "b" * 64, "folder": "videos-frames"}}
    protocol = {"start": {"run_id": "detection-12345678-s0", "network_sha256": "c" * 64}}
    built.store(built.results / "runs", run, {"video_map": (1.0, "%")}, data=data, protocol=protocol)
    try:
        data_sets = load_data_sets(path)
    except Exception as error:
        pytest.fail(str(error))
    fresh = Build(THIS_BUILD, built.results)
    words = run_command(fresh.records[run.run_id], data_sets)
    assert option(words, "images") == ["digits/train=Videos/pictures", "digits/test=Videos/pictures"]
    assert option(words, "start") == ["results/runs/detection-12345678-s0.json"]


def test_settings_of_another_version_are_said_to_be(built: Any, build: Build) -> None:
    run = next(run for run in built.runs if run.experiment == "detection")
    assert settings_note(build.records[run.run_id]) == ""
    built.store(built.results / "runs", run, {"video_map": (1.0, "%")}, settings={**run.settings, "old": 1})
    record = Build(THIS_BUILD, built.results).records[run.run_id]
    assert "earlier version" in settings_note(record) and "old" in settings_note(record)
    assert "old=1" in run_command(record, {})


def test_a_log_ends_with_the_last_state_of_its_bars(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    path.write_text("".join(f"line {number}\n" for number in range(100)) + "\n10%\r50%\r100%\n\x1b[31mdone\x1b[0m\n")
    lines = log_tail(path).split("\n")
    assert len(lines) == 25
    assert lines[0] == "line 77" and lines[-3:] == ["line 99", "100%", "done"]
    path.write_text("x" * 10_000)
    assert len(log_tail(path)) == 2000


def test_equal_settings_are_kept_once() -> None:
    views = {"a": {"settings": ["x=1"], "seed": 0}, "b": {"settings": ["x=1"]}, "c": {"settings": ["x=2"]}}
    short, settings = shared_settings(views)
    assert short == {"a": {"settings": 0, "seed": 0}, "b": {"settings": 0}, "c": {"settings": 1}}
    assert settings == [["x=1"], ["x=2"]]


def test_a_device_has_its_threads_on_a_cpu_alone(build: Build, built: Any) -> None:
    run = built.runs[0]
    assert device_text(build.records[run.run_id]) == "Epic CPU (2 threads)"
    gpu = {"type": "cuda", "name": "Big GPU", "threads": 2, "clock_mhz": None}
    built.store(built.results / "runs", run, {"video_map": (1.0, "%")}, device=gpu)
    assert device_text(Build(THIS_BUILD, built.results).records[run.run_id]) == "Big GPU"
