"""The rules the whole repository lives by: dependencies point one way, installs agree, rules call commands only."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECTS = sorted(
    path.parent for path in [*ROOT.glob("packages/*/pyproject.toml"), ROOT / "datasets" / "pyproject.toml"]
)
OWN = {path.parent.name: path.parent for path in ROOT.glob("**/src/*/__init__.py") if ".venv" not in path.parts}


def project(folder: Path) -> dict[str, object]:
    table: dict[str, object] = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return table


def imports(file: Path) -> set[str]:
    """Top-level names of the modules a file imports, wherever in the file."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").partition(".")[0])
    return names


def test_every_package_of_the_house_is_found() -> None:
    assert {"synthetic_datasets", "location_anticipation", "efficiency_bench"} <= set(OWN)
    assert {project(folder)["name"] for folder in PROJECTS} == set(OWN)


@pytest.mark.parametrize("name", sorted(set(OWN) - {"efficiency_bench"}))
def test_a_method_package_knows_nothing_of_its_siblings(name: str) -> None:
    strangers = (set(OWN) - {name}) | {"snakemake"}
    folder = OWN[name].parents[1]
    files = [*folder.rglob("src/**/*.py"), *folder.rglob("tests/**/*.py")]
    assert files
    assert {str(file): found for file in files if (found := imports(file) & strangers)} == {}


def test_the_bench_does_not_know_snakemake() -> None:
    files = list(OWN["efficiency_bench"].rglob("*.py"))
    assert [file for file in files if "snakemake" in imports(file)] == []


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


def test_the_requirements_cover_what_the_packages_need() -> None:
    """Each third-party dependency of a package, extras included, stands in requirements.txt with the same bound."""
    known = dict(distribution(line) for line in requirements() if not line.startswith("-e"))
    own = {name.replace("_", "-") for name in OWN}
    for folder in PROJECTS:
        tables = project(folder)
        extras: dict[str, list[str]] = tables.get("optional-dependencies", {})  # type: ignore[assignment]
        extras = {name: needs for name, needs in extras.items() if name != "energy"}  # only of use with an NVIDIA card
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
    assert {"test", "benchmarks"} <= set(named)
    for target in named:
        assert target in targets, f"README names `make {target}`"
    for table in re.findall(r"results/(table\d+_\d+)\.csv", text):
        assert (ROOT / "workflows" / "tables" / f"{table}.yaml").exists(), f"README names {table}"


def test_no_large_file_is_kept() -> None:
    ignored = {".venv", ".git", ".snakemake", "data", "results", ".mypy_cache", ".ruff_cache", ".pytest_cache"}
    kept = (path for path in ROOT.rglob("*") if path.is_file() and not ignored & set(path.relative_to(ROOT).parts))
    assert [str(path) for path in kept if path.stat().st_size > 1 << 20] == []
