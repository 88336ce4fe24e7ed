"""Install each package given on the command line alone into an empty environment, import it, and run its tests there.

    python tests/packages_alone.py [--fast] datasets packages/location_anticipation

The packages are installed with pip from a copy of the repository whose path has a space in it: first without extras, when the
method rooms must import, then with all of them, when every module must import, the command must print its help and the tests
must pass. With ``--fast``, only some tests of commands are run, without those marked slow; the others are left to the run in
the shared environment. Two packages are looked at side by side; what their commands print comes when a package is through.

The environments are made under a temporary folder and removed. Nothing of this repository's own environment is visible in them,
so a package that quietly needs a sibling fails here. What is large is not installed anew but linked to what the interpreter that
runs this has: torchvision and torch, and with ``--fast`` everything else from a package index, too. An environment sees what its
package declares, and nothing else of it.
"""

import os
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import venv
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PathDistribution, distribution
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
METHOD_ROOMS = {
    "location_anticipation": ["model"],
    "full_video": ["clustering", "networks"],
    "outlier_matching": ["method", "networks"],
    "weight_align": ["method", "networks"],
}
"""Rooms that need the required dependencies alone; of the other packages, the package itself."""
FAST_TESTS = ("test_train.py", "test_cli.py", "test_build.py", "test_commands.py", "test_program.py")
"""Tests of commands; the first that a package has in `tests/commands` or `tests/command` is run."""
IMPORT = """
import importlib, pkgutil, sys
def import_all(name):
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        importlib.import_module(module.name)
for name in sys.argv[1:]:
    import_all(name)
"""
IMPORT_AND_TEST = f"""{IMPORT.partition("for name")[0]}
import pytest
import_all(sys.argv[1])
sys.exit(pytest.main(sys.argv[2:]))
"""
STRANGERS = """
import importlib.util, sys
sys.exit([name for name in sys.argv[1:] if importlib.util.find_spec(name)] or 0)
"""


@dataclass(frozen=True)
class Place:
    """Where one package is looked at."""

    home: Path
    """An empty folder of its own."""
    package: Path
    """The folder of the package in the copied repository."""
    repository: Path
    """The copied repository."""
    build_tools: Path
    """Folder of the modules that build packages, the same for all."""

    @property
    def python(self) -> Path:
        return self.home / "env" / "bin" / "python"

    @property
    def site(self) -> Path:
        """The environment's site-packages."""
        environment = str(self.home / "env")
        return Path(sysconfig.get_path("purelib", "venv", {"base": environment, "platbase": environment}))

    def run(self, *command: str | Path, **variables: str) -> None:
        """Run a command outside the repository with nothing of the caller's Python environment."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
        environment = {**clean, "OMP_NUM_THREADS": "1", **variables}
        with (self.home / "log").open("a") as log:
            print("+", *("..." if "\n" in str(part) else part for part in command), file=log, flush=True)
            words = [str(part) for part in command]
            subprocess.run(words, cwd=self.home, env=environment, check=True, stdout=log, stderr=log)

    def install(self, what: str) -> None:
        pip = (sys.executable, "-m", "pip", "--python", self.python, "install", "--quiet", "--no-build-isolation")
        self.run(*pip, what, PYTHONPATH=str(self.build_tools))

    def link(self, needs: Iterable[Requirement]) -> None:
        """Make the environment see what `needs` name and all that they require, as this interpreter has it."""
        # Beside the environment: pip removes nothing from there, whatever it may want to replace.
        folder = self.home / "linked"
        folder.mkdir(exist_ok=True)
        (self.site / "linked.pth").write_text(f"{folder}\n")
        found: set[tuple[str, str]] = set()
        waiting = [(need.name, extra) for need in needs for extra in ("", *need.extras)]
        while waiting:
            name, extra = waiting.pop()
            if (name, extra) in found:
                continue
            found.add((name, extra))
            installed = distribution(name)
            for part in {file.parts[0] for file in installed.files or ()} - {"..", "__pycache__"}:
                if not (folder / part).exists():  # nvidia's packages share one
                    (folder / part).symlink_to(str(installed.locate_file(part)))
            for need in map(Requirement, installed.requires or ()):
                if need.marker is None or need.marker.evaluate({"extra": extra}):
                    waiting += [(need.name, inner) for inner in ("", *need.extras)]


def project(folder: Path) -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return table


def folder_of(name: str, repository: Path) -> Path | None:
    """The folder of a package of this repository; None for any other."""
    files = (*repository.glob("packages/*/pyproject.toml"), repository / "datasets/pyproject.toml")
    folders = {canonicalize_name(project(path.parent)["name"]): path.parent for path in files}
    return folders.get(canonicalize_name(name))


def needs_of(folder: Path, repository: Path, *extras: str) -> Iterator[Requirement]:
    """What a package of this repository needs of a package index, through its siblings too."""
    table = project(folder)
    optional = table.get("optional-dependencies", {})
    for text in [*table["dependencies"], *(text for extra in extras for text in optional[extra])]:
        need = Requirement(text.partition(" @ ")[0])
        sibling = folder_of(need.name, repository)
        if sibling is None:
            yield need
        else:
            yield from needs_of(sibling, repository, *need.extras)


def check(place: Place, fast: bool) -> str:
    """Look at one package; prints what was run and returns the end of it, or nothing if all went well."""
    failure = ""
    place.home.mkdir()
    try:
        _check(place, fast)
    except (subprocess.CalledProcessError, AssertionError) as error:
        failure = str(error)
    text = (place.home / "log").read_text()
    print(text, f"{place.package.name}: {failure or 'passed'}", sep="\n", flush=True)
    return "\n".join([*text.splitlines()[-60:], f"{place.package.name}: {failure}"]) if failure else ""


def _check(place: Place, fast: bool) -> None:
    package, repository = place.package, place.repository
    name, scripts = project(package)["name"], project(package).get("scripts", {})

    def linked(*extras: str) -> list[Requirement]:
        return [
            need for need in needs_of(package, repository, *extras) if fast or need.name in ("torch", "torchvision")
        ]

    venv.create(place.home / "env")
    place.link(linked())
    place.install(str(package))
    if name in METHOD_ROOMS:
        (metadata,) = place.site.glob(f"{name}-*.dist-info")
        paths = [
            need for need in PathDistribution(metadata).requires or () if "file:" in need and "extra ==" not in need
        ]
        assert paths == [], "the wheel names a path of the machine that built it in what the method part needs"
        siblings = [path.parent.name for path in ROOT.glob("packages/*/src/*/__init__.py") if path.parent.name != name]
        place.run(place.python, "-c", STRANGERS, *siblings)
        place.run(place.python, "-c", IMPORT, *(f"{name}.{room}" for room in METHOD_ROOMS[name]))
    else:
        place.run(place.python, "-c", f"import {name}")
    extras = [extra for extra in ("all", "test") if extra in project(package)["optional-dependencies"]]
    place.link(linked(*extras))
    place.install(f"{package}[{','.join(extras)}]")
    for script in scripts:
        place.run(place.python.with_name(script), "--help")
    tests = package / "tests"
    quick = [path for file in FAST_TESTS for path in tests.glob(f"command*/{file}")]
    assert quick, "there are no tests of commands"
    chosen = ["-m", "not slow", quick[0]] if fast else [tests]
    place.run(place.python, "-c", IMPORT_AND_TEST, name, "-q", "--rootdir", package, *chosen)


def main() -> None:
    fast = "--fast" in sys.argv
    names = [Path(word) for word in sys.argv[1:] if word != "--fast"]
    with tempfile.TemporaryDirectory(prefix="packages-") as folder:
        repository, tools = Path(folder) / "a copy", Path(folder) / "tools"
        for part in ("packages", "datasets"):
            copytree(ROOT / part, repository / part, ignore=ignore_patterns("__pycache__", ".*"))
        builder = Place(tools, tools, repository, tools)
        venv.create(tools / "env")
        builder.install("hatchling")
        places = [Place(Path(folder) / name.name, repository / name, repository, builder.site) for name in names]
        with ThreadPoolExecutor(max_workers=2) as pool:
            ends = list(pool.map(lambda place: check(place, fast), places))
    failures = [end for end in ends if end]
    sys.exit("\n\n".join(failures) if failures else 0)


if __name__ == "__main__":
    main()
