"""How packages are divided: arrows run one way, rooms and files are short, nothing stands twice."""

import ast
import sys
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import pytest

METHOD_ROOMS = {
    "location_anticipation": {"model"},
    "full_video": {"clustering", "networks"},
    "outlier_matching": {"method", "networks"},
    "weight_align": {"method", "networks"},
}
"""Rooms that a person imports into their own training code. They depend on torch, torchvision and numpy alone."""


@pytest.mark.parametrize("package", ["efficiency_core", *METHOD_ROOMS, "synthetic_datasets"])
def test_leaf_and_method_packages_know_the_leaf_alone(house: Any, package: str) -> None:
    strangers = {*house.packages, "snakemake"} - {package, "efficiency_core"}
    files = [*house.folder(package).rglob("src/**/*.py"), *house.folder(package).rglob("tests/**/*.py")]
    assert files
    assert {house.place(file): found for file in files if (found := house.top_level_imports(file) & strangers)} == {}


def test_the_bench_does_not_know_snakemake(house: Any) -> None:
    files = list(house.packages["efficiency_bench"].rglob("*.py"))
    assert [file for file in files if "snakemake" in house.top_level_imports(file)] == []


def test_no_file_imports_in_a_circle(house: Any) -> None:
    graph = {name: house.imports(file) & house.modules.keys() for name, file in house.modules.items()}
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


@pytest.mark.parametrize("package", METHOD_ROOMS)
def test_method_rooms_need_torch_alone(house: Any, package: str) -> None:
    allowed = {"torch", "torchvision", "numpy", package, *sys.stdlib_module_names}
    for room in METHOD_ROOMS[package]:
        files = list((house.packages[package] / room).rglob("*.py"))
        assert files
        for file in files:
            assert house.top_level_imports(file) <= allowed, house.place(file)
            parts = (name.split(".") for name in house.imports(file) & house.modules.keys())
            inside = {found[1] if len(found) > 1 else "the package itself" for found in parts}
            assert inside <= METHOD_ROOMS[package], f"{house.place(file)} reaches into {inside}"


def test_the_bench_takes_what_packages_and_rooms_hand_on(house: Any) -> None:
    files = [*house.folder("efficiency_bench").rglob("*.py"), *house.root.glob("tests/**/*.py")]
    too_deep = {
        (house.place(file), module)
        for file in files
        for module in house.imports(file) & house.modules.keys()
        if not module.startswith("efficiency_bench")
        and module.count(".") > 1
        and house.modules[module].name != "__init__.py"
    }
    assert too_deep == set()


@pytest.mark.parametrize("package", METHOD_ROOMS)
def test_the_top_level_of_a_method_package_is_short(house: Any, package: str) -> None:
    files = sorted(file.name for file in house.packages[package].glob("*.py"))
    assert len(files) <= 8, files


def test_rooms_are_short(house: Any) -> None:
    rooms = Counter(house.place(file.parent) for file in house.modules.values())
    assert {room: count for room, count in rooms.items() if count > 12} == {}


def test_files_are_short(house: Any) -> None:
    files = [*house.modules.values(), *house.tests]
    lines = {house.place(file): file.read_text(encoding="utf-8").count("\n") for file in files}
    assert {file: count for file, count in lines.items() if count > 300} == {}


def test_every_room_says_what_it_is(house: Any) -> None:
    silent = set()
    for folder in {file.parent for file in house.modules.values()}:
        init = folder / "__init__.py"
        if not init.is_file() or not ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))):
            silent.add(house.place(folder))
    assert silent == set()


def code_lines(file: Path) -> list[tuple[int, str]]:
    """The lines of a file with their numbers, without blank lines, comments and imports."""
    text = file.read_text(encoding="utf-8")
    imports = {
        number
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for number in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    lines = enumerate((line.strip() for line in text.splitlines()), start=1)
    return [(number, line) for number, line in lines if line and line[0] != "#" and number not in imports]


def test_no_code_stands_in_two_packages(house: Any) -> None:
    """No 16 lines in a row are equal in the sources of two packages."""
    seen: dict[tuple[str, ...], tuple[str, str]] = {}
    twice: dict[tuple[str, str], str] = {}
    for package, source in house.packages.items():
        for file in sorted(source.rglob("*.py")):
            lines, place = code_lines(file), house.place(file)
            for start in range(len(lines) - 15):
                window = tuple(line for _, line in lines[start : start + 16])
                owner, where = seen.setdefault(window, (package, f"{place}:{lines[start][0]}"))
                if owner != package:
                    twice.setdefault((place, where.partition(":")[0]), f"{place}:{lines[start][0]} is {where}")
    assert sorted(twice.values()) == []
