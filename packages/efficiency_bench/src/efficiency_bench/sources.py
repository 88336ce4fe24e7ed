"""Which modules an experiment uses, read from its source: if one of them changes, its runs are old."""

import ast
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any


def imported_modules(function: Callable[..., Any]) -> list[str]:
    """The module that defines `function` and every module it imports, as absolute dotted names, sorted.

    Only what that one file imports is seen, not what those modules import in turn; `from package import name`
    counts as both `package` and `package.name`, since the name may be a module.
    """
    module = inspect.getmodule(function)
    file = inspect.getsourcefile(function)
    if module is None or file is None:
        raise ValueError(f"{function!r} has no source file")
    names = {module.__name__}
    for node in ast.walk(ast.parse(Path(file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.__name__.split(".")[: -node.level]
                base = ".".join([*parents, base] if base else parents)
            names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return sorted(names)
