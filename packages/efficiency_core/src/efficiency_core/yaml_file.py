"""Reading a YAML file, with the line of every entry for the messages of errors."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from efficiency_core.errors import UsageError


def read_yaml(path: str | Path) -> tuple[dict[str, Any], Callable[[str], str]]:
    """The mapping a YAML file holds, and a function that says file and line of one of its entries (for ``where``).

    Entries have dotted names, items of a list by number from 0: ``rows.3.reported``. Of an entry that is not there the line
    is that of the nearest entry around it. ``1e-3`` is a number here, as in YAML 1.2.

    Raises:
        UsageError: if the file cannot be read, is no mapping, or gives a key twice.
    """
    lines: dict[str, int] = {}
    try:
        loader = _Loader(Path(path).read_text(encoding="utf-8"))
        node = loader.get_single_node()
        _note_lines(node, "", lines)
        values = loader.construct_document(node) if node else {}
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: expected UTF-8 text ({error.reason} at byte {error.start})") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UsageError(f"{path}, line {line}: {error.problem}") from error
    if not isinstance(values, dict):
        raise UsageError(f"{path}: expected NAME: VALUE, got {values!r}")

    def where(name: str) -> str:
        while name and name not in lines:
            name = name.rpartition(".")[0]
        return f"{path}, line {lines[name]}" if name else str(path)

    return values, where


# The loader in C, where PyYAML was built with it, is eight times as fast.
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]
    """SafeLoader that reads 1e-3 as a number."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _note_lines(node: yaml.Node | None, prefix: str, lines: dict[str, int]) -> None:
    """Note the line of every key and list item; a key given twice is an error. What ``<<`` merges in gives way to own keys."""
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            lines[f"{prefix}{number}"] = item.start_mark.line + 1
            _note_lines(item, f"{prefix}{number}.", lines)
    if not isinstance(node, yaml.MappingNode):
        return
    merged: dict[str, int] = {}
    for key, value in node.value:
        if key.tag == "tag:yaml.org,2002:merge":
            for part in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                below: dict[str, int] = {}
                _note_lines(part, prefix, below)
                merged = below | merged
            continue
        name = f"{prefix}{key.value}"
        if name in lines:
            raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} is given twice", key.start_mark)
        lines[name] = key.start_mark.line + 1
        _note_lines(value, f"{name}.", lines)
    lines.update({name: line for name, line in merged.items() if name not in lines})
