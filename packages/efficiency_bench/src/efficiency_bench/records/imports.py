"""Which modules of this repository a module reaches through its imports, read from their source without importing any.

Imports inside functions count; those under `TYPE_CHECKING` do not. A name that a package hands on leads to the module that
defines it, also where the `__init__` hands it on lazily (`TYPE_CHECKING` and `__getattr__`). A module that is spelled out in a
text ("package.module") counts; a module that imports by a name which it computes reaches all modules of its room.
"""

import ast
import importlib.util
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

PACKAGES = (
    "efficiency_bench", "efficiency_core", "full_video", "location_anticipation", "outlier_matching", "synthetic_datasets",
    "weight_align",
)  # fmt: skip
"""The packages of this repository."""
_COMPUTED_IMPORT = re.compile(r"""\bimport_module\((?!\s*["'])""")


@dataclass(frozen=True)
class _Source:
    imports: list[tuple[str, str]] = field(default_factory=list)
    """Module and the name that is taken from it (empty: the module itself), of every import that can run."""
    handed_on: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Name at the top of the file, also under `TYPE_CHECKING` -> module and name that it stands for."""
    defined: set[str] = field(default_factory=set)
    """Functions, classes and variables at the top of the file."""


def reached_modules(roots: Iterable[str], ignored: Collection[str] = ()) -> dict[str, Path]:
    """Module -> file: `roots` and the modules of this repository that they import, themselves or through others, sorted.

    Args:
        roots: modules to start from.
        ignored: modules and rooms that are left out, with what only they import.
    """
    found: dict[str, Path] = {}
    waiting = list(roots)
    while waiting:
        module = waiting.pop()
        file = module_file(module)
        if module in found or file is None or any(f"{module}.".startswith(f"{room}.") for room in ignored):
            continue
        found[module] = file
        waiting += [target for base, name in _read(file, module).imports for target in _targets(base, name)]
    return dict(sorted(found.items()))


@cache
def module_file(module: str) -> Path | None:
    """The file of a module of this repository; None for any other module, and for a name that is none."""
    package, *parts = module.split(".")
    root = package_folder(package)
    if root is None or not all(part.isidentifier() for part in parts):
        return None
    place = root.joinpath(*parts)
    files = [place / "__init__.py"] if place.is_dir() else [place.with_suffix(".py")] if parts else []
    return next((file for file in files if file.is_file()), None)


@cache
def package_folder(package: str) -> Path | None:
    """The folder of a package of this repository where it is installed; None otherwise."""
    spec = importlib.util.find_spec(package) if package in PACKAGES else None
    return Path(next(iter(spec.submodule_search_locations))) if spec and spec.submodule_search_locations else None


def _targets(base: str, name: str, seen: frozenset[tuple[str, str]] = frozenset()) -> list[str]:
    """The modules that run something for `from base import name`."""
    file = module_file(base)
    if file is None or (base, name) in seen:
        return []
    if not name or file.name != "__init__.py":
        return [base]
    source = _read(file, base)
    targets = [f"{base}.{name}"] if module_file(f"{base}.{name}") else []
    if name in source.handed_on:
        targets += _targets(*source.handed_on[name], seen | {(base, name)})
    return targets if targets and name not in source.defined else [*targets, base]


@cache
def _read(file: Path, module: str) -> _Source:
    source = _Source()
    text = file.read_text(encoding="utf-8")
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.parse(text).body:
        guarded = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in _statements(node):
            imported = _imported(inner, package)
            if not guarded:
                source.imports.extend(imported.values())
            if inner is node or guarded:
                source.handed_on.update(imported)
        source.defined.update(_definitions(node))
    # The quotes stand around the whole name, as in import_module("weight_align.method").
    source.imports.extend((name, "") for name in _module_text().findall(text) if module_file(name))
    if _COMPUTED_IMPORT.search(text):
        source.imports.extend((f"{package}.{path.stem}", "") for path in file.parent.glob("[!_]*.py"))
    return source


@cache
def _module_text() -> re.Pattern[str]:
    return re.compile(rf"""["']((?:{"|".join(PACKAGES)})\.[\w.]+)(?::\w+)?["']""")


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield from _statements(child)


def _imported(node: ast.AST, package: str) -> dict[str, tuple[str, str]]:
    """What an import statement makes known -> the module and the name that is taken from it (empty: the module itself)."""
    if isinstance(node, ast.Import):
        return {alias.asname or alias.name: (alias.name, "") for alias in node.names}
    if not isinstance(node, ast.ImportFrom):
        return {}
    base = node.module or ""
    if node.level:
        parents = package.split(".")
        base = ".".join([*parents[: len(parents) - node.level + 1], *filter(None, [base])])
    return {alias.asname or alias.name: (base, alias.name if alias.name != "*" else "") for alias in node.names}


def _definitions(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]
