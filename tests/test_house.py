"""What packages, requirements and documents say of each other agrees."""

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECTS = sorted(
    path.parent for path in [*ROOT.glob("packages/*/pyproject.toml"), ROOT / "datasets" / "pyproject.toml"]
)


def project(folder: Path) -> dict[str, object]:
    table: dict[str, object] = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return table


def test_every_package_of_the_house_is_found(house: Any) -> None:
    assert {"synthetic_datasets", "location_anticipation", "efficiency_bench"} <= house.packages.keys()
    assert {project(folder)["name"] for folder in PROJECTS} == house.packages.keys()


@pytest.mark.parametrize("folder", PROJECTS, ids=lambda folder: folder.name)
def test_the_layout_of_a_package(folder: Path) -> None:
    name = str(project(folder)["name"])
    for part in (f"src/{name}/__init__.py", f"src/{name}/py.typed", "README.md", "tests"):
        assert (folder / part).exists(), f"{folder.name} lacks {part}"
    assert (folder / "README.md").stat().st_size > 500


def test_one_version_and_one_licence_for_all() -> None:
    assert len({str(project(folder)["version"]) for folder in PROJECTS}) == 1
    assert {project(folder)["license"] for folder in PROJECTS} == {"MIT"}


def requirements() -> list[str]:
    lines = (line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines())
    return [line for line in lines if line]


def test_conda_and_pip_install_the_same_in_the_same_order() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (through_pip,) = (entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert through_pip == requirements()
    assert requirements()[0].startswith("torchvision"), "torchvision first: it chooses the torch build that fits it"


def distribution(requirement: str) -> tuple[str, str]:
    name, condition = re.fullmatch(r"([A-Za-z0-9_.-]+)(?:\[[^]]*\])?(.*)", requirement).groups()  # type: ignore[union-attr]
    return name.lower().replace("_", "-"), condition


def test_the_lock_pins_every_requirement() -> None:
    """requirements.lock, which `make setup` installs from, holds an exact version that requirements.txt allows."""
    locked: dict[str, set[str]] = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if line and not line.startswith(("-e", "#")):
            found = Requirement(line)
            (pin,) = found.specifier
            assert pin.operator == "==", line
            locked.setdefault(canonicalize_name(found.name), set()).add(pin.version)
    for line in requirements():
        if not line.startswith("-e"):
            wanted = Requirement(line)
            versions = locked.get(canonicalize_name(wanted.name), set())
            assert versions and all(version in wanted.specifier for version in versions), f"{line}: {versions}"


OPTIONAL = ("energy", "openvino")
"""Extras that the environment leaves out: one is only of use with an NVIDIA card, one is large and replaces nothing."""


def test_the_requirements_cover_what_the_packages_need(house: Any) -> None:
    """Each third-party dependency of a package, extras included, stands in requirements.txt with the same bound."""
    known = dict(distribution(line) for line in requirements() if not line.startswith("-e"))
    own = {name.replace("_", "-") for name in house.packages}
    for folder in PROJECTS:
        tables = project(folder)
        extras: dict[str, list[str]] = tables.get("optional-dependencies", {})  # type: ignore[assignment]
        extras = {name: needs for name, needs in extras.items() if name not in OPTIONAL}
        needs: list[str] = tables["dependencies"]  # type: ignore[assignment]
        for need in [*needs, *(need for extra in extras.values() for need in extra)]:
            name, condition = distribution(need)
            if name not in own:
                assert known.get(name) == condition, (
                    f"{folder.name} needs {need}, requirements.txt has {known.get(name)}"
                )


def test_rules_call_installed_commands_only() -> None:
    for file in ROOT.glob("workflows/rules/*.smk"):
        text = file.read_text()
        assert not re.search(r"^\s*(script|run|notebook|wrapper):", text, re.MULTILINE), f"{file.name} must use shell:"
        commands = re.findall(r"shell:\s*[\"']([\w-]+)", text)
        assert len(commands) == len(re.findall(r"^\s*shell:", text, re.MULTILINE))
        assert set(commands) <= {"effbench", "synthdata", "location-anticipation"}


def test_the_readme_names_commands_that_exist() -> None:
    text = (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = re.findall(r"(?:^|`)make ([a-z-]+)(?![a-z_\d=-])", text, re.MULTILINE)
    assert {"test", "bench"} <= set(named)
    for target in named:
        assert target in targets, f"README names `make {target}`"
    for table in re.findall(r"results/(table\d+_\d+)\.csv", text):
        assert (ROOT / "workflows" / "tables" / f"{table}.yaml").exists(), f"README names {table}"


def test_no_large_file_is_kept() -> None:
    ignored = {".venv", ".git", ".snakemake", "data", "results", "site", ".mypy_cache", ".ruff_cache", ".pytest_cache"}
    large = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = set(folders) - ignored
        large += [path for file in files if (path := Path(folder) / file).stat().st_size > 1 << 20]
    assert large == []
