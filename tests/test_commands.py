"""The six commands, as they are installed."""

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import get_type_hints

import pytest

from efficiency_core.command import Command, Group, Output, Program

ROOT = Path(__file__).parents[1]
COMMANDS = {
    name: target
    for file in (*ROOT.glob("packages/*/pyproject.toml"), ROOT / "datasets" / "pyproject.toml")
    for name, target in tomllib.loads(file.read_text())["project"].get("scripts", {}).items()
}
CALL = """
import sys
from {module} import {function}
sys.argv[0] = {name!r}
try:
    status = {function}()
except SystemExit as end:
    status = end.code
print("status", status)
print("slow", *sorted({{"lightning", "matplotlib", "pandas", "scipy", "sklearn", "torch"}} & sys.modules.keys()))
"""
"""What the script of a command does, then its exit status and the imported libraries that take seconds."""


def test_there_are_six() -> None:
    assert sorted(COMMANDS) == [
        "effbench", "full-video", "location-anticipation", "outlier-matching", "synthdata", "weight-align"
    ]  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_waits_for_no_slow_import(name: str, option: str) -> None:
    module, function = COMMANDS[name].split(":")
    code = CALL.format(module=module, function=function, name=name)
    done = subprocess.run([sys.executable, "-c", code, option], capture_output=True, text=True, check=False)
    *printed, status, slow = done.stdout.splitlines()
    assert status in ("status 0", "status None"), done.stderr
    assert slow == "slow"
    assert name in " ".join(printed)


def _commands(program: Program | Group) -> Iterator[Command]:
    for command in program.commands.values():
        yield from [command] if isinstance(command, Command) else _commands(command)


@pytest.mark.parametrize("name", COMMANDS)
def test_options_that_name_outputs_say_so(name: str) -> None:
    """So that outputs are checked before the work, and none overwrites an input."""
    module = import_module(COMMANDS[name].split(":")[0])
    program = getattr(module, "program", None) or import_module("efficiency_bench.commands").PROGRAM
    found = 0
    for command in _commands(program):
        place, kind = command.options.split(":")
        options = getattr(import_module(place), kind)
        for field, annotation in get_type_hints(options, include_extras=True).items():
            if field in ("out", "json", "csv", "detections", "strip", "sheet", "index_out"):
                marked = any(isinstance(mark, Output) for mark in getattr(annotation, "__metadata__", ()))
                assert marked, f"{place}.{kind}.{field}"
                found += 1
    assert found
