"""The gates of the benchmarks as they run: a change of the code is red and named, a baseline of another machine is a sentence.

No test here judges a time: benchmarks run without timing, or only what they print is read."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


def run_benchmarks(folder: Path, *arguments: str, sabotage: str = "") -> subprocess.CompletedProcess[str]:
    """pytest on the benchmarks in a process of its own; `sabotage` is code that runs before their modules are imported."""
    (folder / "sabotage.py").write_text(sabotage, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "sabotage", "-p", "no:cacheprovider", "-p", "no:xdist", *arguments]
    environment = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


SABOTAGES = {
    "a head that computes twice": (
        """
from location_anticipation import TrajectoryHead
forward = TrajectoryHead.forward
TrajectoryHead.forward = lambda self, *given: (forward(self, *given), forward(self, *given))[1]
""",
        "location_anticipation.trajectory_head[fused]: macs",
    ),
    "a stage that is applied twice": (
        """
from torch import nn
from weight_align.networks import resnet
made = resnet.ResNet.__init__
def make(self, config):
    made(self, config)
    self.layer1 = nn.Sequential(self.layer1, self.layer1)
resnet.ResNet.__init__ = make
""",
        "weight_align.training_step[plain]: macs",
    ),
    "more bytes for the backward pass": (
        """
from weight_align.networks import resnet
pass_stages = resnet.ResNet.forward_features
def keep_more(self, images):
    maps = pass_stages(self, images)
    return maps + 0 * maps.exp()
resnet.ResNet.forward_features = keep_more
""",
        "weight_align.training_step[plain]: saved_bytes",
    ),
    "multiply-adds that are counted twice": (
        """
from dataclasses import replace
from efficiency_bench.measure import counters
single = counters.count_macs
def double(*given):
    found = single(*given)
    return replace(found, macs=2 * found.macs)
counters.count_macs = double
""",
        "weight_align.training_step[plain]: macs",
    ),
}
SELECTION = ["-k", "test_training_step and plain and not wa or test_trajectory_head and fused"]
FILES = [f"tests/benchmarks/test_{name}.py" for name in ("location_anticipation", "weight_align")]


def test_unchanged_code_is_quiet(tmp_path):
    done = run_benchmarks(tmp_path, *FILES, *SELECTION, "--benchmark-disable")
    assert done.returncode == 0 and "RED" not in done.stdout, done.stdout
    assert "counters: 2 benchmarks compared with counters.json" in done.stdout


@pytest.mark.parametrize("name", SABOTAGES)
def test_a_change_is_red_and_named(tmp_path, name):
    code, said = SABOTAGES[name]
    done = run_benchmarks(tmp_path, *FILES, *SELECTION, "--benchmark-disable", sabotage=code)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"RED: {said}" in done.stdout
    assert "make bench-counters" in done.stdout


def compared(folder: Path, *arguments: str, **machine: object) -> subprocess.CompletedProcess[str]:
    """A benchmark of a millisecond, compared with a baseline that it has just saved, as if that were of another `machine`."""
    one = ["tests/benchmarks/test_weight_align.py", "-k", "test_batches and 64", f"--benchmark-storage=file://{folder}"]
    assert run_benchmarks(folder, *one, "--benchmark-save=before").returncode == 0
    (file,) = folder.rglob("*_before.json")
    content = json.loads(file.read_text())
    content["machine_info"] |= machine
    for each in content["benchmarks"]:
        each["stats"]["min"] /= 1000
    file.write_text(json.dumps(content))
    return run_benchmarks(folder, *one, "--benchmark-compare", *arguments)


def test_a_baseline_of_another_machine_is_one_sentence(tmp_path):
    done = compared(tmp_path, "--benchmark-compare-fail=min:25%", name="Other CPU @ 100%")
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "another machine" in line]
    assert "name Other CPU @ 100% there" in line and "make bench" in line
    assert "warning" not in done.stdout and "Traceback" not in done.stderr
    assert "counters: 1 benchmarks compared with counters.json" in done.stdout


def test_times_of_this_machine_are_reported_and_do_not_block(tmp_path):
    done = compared(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_weight_align.py::test_batches[64] takes" in done.stdout
    assert "RED" not in done.stdout


def test_times_block_where_they_are_asked_to(tmp_path):
    assert compared(tmp_path, "--benchmark-compare-fail=min:25%").returncode != 0
