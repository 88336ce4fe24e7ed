"""``--set KEY=VALUE`` on the command line: fields of the package's dataclasses by name."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from weight_align.errors import UsageError

__all__ = ["build", "parse_settings"]

T = TypeVar("T")


def parse_settings(assignments: Iterable[str], *types: type[Any]) -> list[dict[str, Any]]:
    """Sort ``key=value`` texts into one dict per dataclass of ``types``, values read as JSON or, failing that, as text.

    Fields that are dataclasses themselves have no text; theirs is a type of its own in ``types``.

    Raises:
        UsageError: for a text without ``=``, a key that is a field of none of them, or a value of another type.
    """
    known = [{name: kind for name, kind in _hints(owner).items() if not is_dataclass(kind)} for owner in types]
    sorted_into: list[dict[str, Any]] = [{} for _ in types]
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        owner = next((i for i, hints in enumerate(known) if key in hints), None)
        if not equals or owner is None:
            names = ", ".join(name for hints in known for name in hints)
            raise UsageError(f"--set {assignment}: expected KEY=VALUE with one of {names}")
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text
        try:
            sorted_into[owner][key] = _convert(value, known[owner][key])
        except TypeError:
            raise UsageError(f"--set {key}: expected {_wanted(known[owner][key])}, got {text}") from None
    return sorted_into


def build(kind: type[T], values: dict[str, Any]) -> T:
    """``kind(**values)``.

    Raises:
        UsageError: if the values make no sense.
    """
    try:
        return kind(**values)
    except ValueError as error:
        raise UsageError(f"--set: {error}") from error


def _hints(kind: type[Any]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _choices(expected: Any) -> tuple[Any, ...]:
    return get_args(expected) if get_origin(expected) in (Union, UnionType) else (expected,)


def _convert(value: Any, expected: Any) -> Any:
    for kind in _choices(expected):
        if get_origin(kind) is Literal:
            if value in get_args(kind):
                return value
        elif get_origin(kind) is tuple:
            if isinstance(value, list):
                return tuple(_convert(item, get_args(kind)[0]) for item in value)
        elif type(value) is kind:
            return value
        elif kind is float and type(value) is int:
            return float(value)
    raise TypeError


def _wanted(expected: Any) -> str:
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false", NoneType: "null"}
    said = []
    for kind in _choices(expected):
        if get_origin(kind) is Literal:
            said.append("one of " + ", ".join(str(choice) for choice in get_args(kind)))
        elif get_origin(kind) is tuple:
            said.append("numbers such as [1,2]")
        else:
            said.append(names[kind])
    return " or ".join(said)
