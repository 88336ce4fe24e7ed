"""Experiments by name, and what may be imported to list and plan them."""

import subprocess
import sys
from collections.abc import Iterable

import pytest

from efficiency_bench import experiments
from efficiency_core.errors import UsageError

PLANNING = (
    "commands", "figures.definitions", "records.sources", "records.starts", "run", "workflow.config",
    "workflow.data_sets", "workflow.plan", "workflow.tabulate",
)  # fmt: skip

WITHOUT_TORCH = """
import importlib, sys
sys.modules["torch"] = None  # whoever imports it fails
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        print(name, error)
"""


def failing_without_torch(modules: Iterable[str]) -> str:
    command = [sys.executable, "-c", WITHOUT_TORCH, *modules]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_every_experiment_is_found_under_its_name() -> None:
    found = [experiments.get(name) for name in experiments.names()]
    assert [experiment.name for experiment in found] == list(experiments.names())
    with pytest.raises(UsageError, match="unknown experiment 'speed'; there are action_recognition, "):
        experiments.get("speed")


def test_planning_imports_no_torch() -> None:
    assert failing_without_torch(f"efficiency_bench.{name}" for name in PLANNING) == ""


def test_no_experiment_imports_torch_before_it_runs() -> None:
    assert failing_without_torch(map(experiments.module_of, experiments.names())) == ""
