"""Which modules a module reaches, and what digests follow from them."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from efficiency_bench import experiments
from efficiency_bench.records import imports
from efficiency_bench.records.imports import PACKAGES, reached_modules
from efficiency_bench.records.sources import command_sources, digest_files, folder_digest, note_digests, run_sources

FILES = {
    "__init__.py": "from reached.tools.saw import cut\nfrom reached.tools.nail import hit\nVERSION = '1'\n",
    "plain.py": "import json\nfrom reached.tools import saw\n",
    "relative.py": "from .tools.saw import cut\nfrom . import plain\n",
    "late.py": "def work():\n    try:\n        from reached.plain import x\n    except OSError:\n        import reached.alone\n",
    "types_only.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from reached.plain import x\n",
    "handed_on.py": "from reached import cut\n",
    "lazily.py": "from reached.lazy import hit\n",
    "defined.py": "from reached import VERSION\n",
    "texts.py": "from importlib import import_module\nimport_module('reached.alone')\nWHERE = 'reached.plain:x'\n",
    "whole.py": "import reached\n",
    "alone.py": "",
    "circle.py": "import reached.circle\n",
    "tools/__init__.py": "",
    "tools/saw.py": "import math\n",
    "registry/__init__.py": "",
    "registry/choose.py": "from importlib import import_module\nget = lambda name: import_module(f'{__package__}.{name}')\n",
    "registry/one.py": "from reached import alone\n",
    "registry/two.py": "",
    "tools/nail.py": "from reached import alone\n",
    "lazy/__init__.py": (
        "from importlib import import_module\nfrom typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from reached.tools.nail import hit\n    from reached.tools.saw import cut\n"
        "def __getattr__(name):\n    return getattr(import_module(f'reached.tools.{name}'), name)\n"
    ),
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a package of these files, called `reached`."""
    folder = tmp_path / "reached"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(imports, "PACKAGES", ("reached",))
    cached = (imports.module_file, imports.package_folder, imports._read, imports._module_text)
    for function in cached:
        function.cache_clear()
    yield folder
    for function in cached:
        function.cache_clear()


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        ("plain", {"plain", "tools.saw"}),
        ("relative", {"relative", "plain", "tools.saw"}),
        ("late", {"late", "plain", "tools.saw", "alone"}),
        ("types_only", {"types_only"}),
        ("handed_on", {"handed_on", "tools.saw"}),
        ("lazily", {"lazily", "tools.nail", "alone"}),
        ("defined", {"defined", "", "tools.saw", "tools.nail", "alone"}),
        ("texts", {"texts", "alone", "plain", "tools.saw"}),
        ("whole", {"whole", "", "tools.saw", "tools.nail", "alone"}),
        ("circle", {"circle"}),
        ("registry.choose", {"registry.choose", "registry.one", "registry.two", "alone"}),
        ("absent", set()),
    ],
)
def test_what_a_module_reaches(package: Path, root: str, expected: set[str]) -> None:
    found = reached_modules([f"reached.{root}"])
    assert set(found) == {f"reached.{name}".rstrip(".") for name in expected}
    assert all(path.is_file() for path in found.values())


def test_what_is_left_out(package: Path) -> None:
    assert {*reached_modules(["reached.relative"], ignored=["reached.tools"])} == {"reached.relative", "reached.plain"}


def test_digests_follow_names_and_bytes_and_are_noted_only_when_they_change(package: Path, tmp_path: Path) -> None:
    note = tmp_path / "note.sha256"
    modules = reached_modules(["reached.plain"])
    note_digests(note, modules)
    before, stamp = note.read_text(), note.stat().st_mtime_ns
    digest = digest_files({"plain.py": package / "plain.py", "tools/saw.py": package / "tools" / "saw.py"})
    assert before == f"{digest}  reached\n"
    (package / "alone.py").write_text("changed = True\n")
    note_digests(note, modules)
    assert note.stat().st_mtime_ns == stamp
    (package / "tools" / "saw.py").write_text("import math  # changed\n")
    note_digests(note, modules)
    assert note.read_text() != before
    every = {path.relative_to(package).as_posix(): path for path in package.rglob("*.py")}
    assert folder_digest(package) == digest_files(every) != digest_files(dict(list(every.items())[1:]))


@pytest.mark.parametrize("name", experiments.names())
def test_runs_rest_on_methods_and_measuring_and_not_on_commands_or_records(name: str) -> None:
    rooms = [module.split(".")[:2] for module in run_sources(experiments.module_of(name))]
    assert ["efficiency_bench", "experiments"] in rooms
    for package in PACKAGES:
        assert not [room for room in ("commands", "records", "report", "run", "worker") if [package, room] in rooms]


def test_helpers_of_experiments_are_followed() -> None:
    figure = run_sources(experiments.module_of("activation_distributions"))
    assert any("weight_align.method." in name for name in figure)
    speed = run_sources(experiments.module_of("video_detection_speed"))
    assert {"efficiency_bench.measure.flops", "efficiency_bench.measure.memory"} <= set(speed)


def test_a_figure_rests_on_what_draws_it_and_a_table_does_not() -> None:
    table = command_sources("efficiency_bench.workflow.tabulate")
    added = command_sources("efficiency_bench.figures.plot").keys() - table.keys()
    assert {module.split(".")[1] for module in added} >= {"figures"}
    assert "efficiency_bench.records.run_record" in table and "efficiency_bench.commands" not in table
