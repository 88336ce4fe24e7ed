"""What tests of the whole repository share."""

import ast
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import pytest


@cache
def import_statements(file: Path) -> list[ast.Import | ast.ImportFrom]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


@dataclass(frozen=True)
class House:
    """The packages of the repository and what their files import, read without importing them."""

    root: Path
    """The repository."""

    @cached_property
    def packages(self) -> dict[str, Path]:
        """Import name -> folder of the sources."""
        folders = (*self.root.glob("packages/*/src/*/__init__.py"), *self.root.glob("datasets/src/*/__init__.py"))
        return {path.parent.name: path.parent for path in sorted(folders)}

    @cached_property
    def modules(self) -> dict[str, Path]:
        """Dotted name -> file, of every source file."""
        return {self.name(file): file for source in self.packages.values() for file in sorted(source.rglob("*.py"))}

    @cached_property
    def tests(self) -> list[Path]:
        """Every test file."""
        return sorted(
            file
            for folder in ("packages/*/tests", "datasets/tests", "tests")
            for file in self.root.glob(f"{folder}/**/*.py")
        )

    def folder(self, package: str) -> Path:
        """The folder with the package's pyproject.toml."""
        return self.packages[package].parents[1]

    def name(self, file: Path) -> str:
        """The dotted name of a source file; of another file, the empty name."""
        for source in self.packages.values():
            if file.is_relative_to(source):
                parts = file.relative_to(source.parent).with_suffix("").parts
                return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        return ""

    def imports(self, file: Path) -> set[str]:
        """Dotted names of what a file imports, wherever in the file: "torch.nn", "full_video.clustering".

        `from package import name` is `package.name` where that is a module of the house, and else `package`.
        """
        name, found = self.name(file), set()
        for node in import_statements(file):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            else:
                parts = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
                inside = parts[: len(parts) - node.level + 1] if node.level else []
                base = ".".join([*inside, *filter(None, [node.module])])
                inner = (f"{base}.{alias.name}" for alias in node.names)
                found |= {module if module in self.modules else base for module in inner}
        return found - {name}

    def top_level_imports(self, file: Path) -> set[str]:
        """The packages that a file imports from."""
        return {name.partition(".")[0] for name in self.imports(file)}

    def place(self, file: Path) -> str:
        """The path of a file inside the repository."""
        return file.relative_to(self.root).as_posix()


@pytest.fixture(scope="session")
def house() -> House:
    return House(Path(__file__).parents[1])
