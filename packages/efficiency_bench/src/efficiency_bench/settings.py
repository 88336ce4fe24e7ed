"""An experiment's settings in three forms: frozen dataclass, JSON of a record, `key=value` of a command.

A value keeps its type on every way (a whole number given for a float becomes a float), so equal settings have
equal run ids whether they came from a default, a preset, a table's row or the command line.
"""

import dataclasses
import json
import types
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from .errors import UsageError

S = TypeVar("S")


def build_settings(settings_type: type[S], values: Mapping[str, Any], where: str) -> S:
    """The dataclass `settings_type` with `values` over its defaults; `where` opens the message of an error.

    Raises:
        UsageError: a name that is no field, a value of another type, a value the dataclass itself refuses, or
            a field without default left out.
    """
    hints = get_type_hints(settings_type)
    fields = {field.name: field for field in dataclasses.fields(settings_type)}  # type: ignore[arg-type]
    for name in values:
        if name not in fields:
            raise UsageError(f"{where}: unknown setting {name!r}; there are {', '.join(fields)}")
    converted = {}
    for name, value in values.items():
        try:
            converted[name] = _convert(value, hints[name])
        except TypeError:
            raise UsageError(f"{where}: {name}: expected {_type_text(hints[name])}, got {value!r}") from None
    missing = [name for name, field in fields.items() if name not in values and not _has_default(field)]
    if missing:
        raise UsageError(f"{where}: the setting {missing[0]!r} has no default and must be given")
    try:
        return settings_type(**converted)
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from error


def settings_to_json(settings: Any) -> dict[str, Any]:
    """Every field as the record holds it (a tuple becomes a list)."""
    document: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(settings)))
    return document


def changed_settings(settings: Any) -> dict[str, Any]:
    """The fields that differ from their default, as JSON values: what a command line must say."""
    return {
        field.name: settings_to_json(settings)[field.name]
        for field in dataclasses.fields(settings)
        if not _has_default(field) or getattr(settings, field.name) != _default(field)
    }


def format_assignments(values: Mapping[str, Any]) -> list[str]:
    """`{"motion": "none", "steps": [4, 8]}` as `["motion=none", "steps=[4,8]"]`."""
    return [f"{name}={_format(value)}" for name, value in values.items()]


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """The inverse of `format_assignments`: a value that is JSON is read as JSON, any other is text.

    Raises:
        UsageError: an assignment without `=`, or a name given twice.
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name:
            raise UsageError(f"expected a setting as key=value, got {assignment!r}")
        if name in values:
            raise UsageError(f"the setting {name!r} is given twice")
        values[name] = _parse(text)
    return values


def _format(value: Any) -> str:
    if isinstance(value, str) and _parse(value) == value:
        return value
    return json.dumps(value, separators=(",", ":"))


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _has_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _convert(value: Any, expected: Any) -> Any:
    """`value` as the annotation `expected` asks for; TypeError where it does not fit."""
    origin, arguments = get_origin(expected), get_args(expected)
    if origin is Literal:
        if any(value == choice and type(value) is type(choice) for choice in arguments):
            return value
    elif origin in (Union, types.UnionType):
        for choice in arguments:
            try:
                return _convert(value, choice)
            except TypeError:
                continue
    elif origin is tuple and isinstance(value, list | tuple):
        if arguments[-1] is Ellipsis:
            return tuple(_convert(item, arguments[0]) for item in value)
        if len(arguments) == len(value):
            return tuple(_convert(item, kind) for item, kind in zip(value, arguments, strict=True))
    elif expected is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif expected in (int, str, bool, type(None)) and type(value) is expected:
        return value
    raise TypeError


def _type_text(expected: Any) -> str:
    if get_origin(expected) is Literal:
        return "one of " + ", ".join(str(choice) for choice in get_args(expected))
    number = "a number (write 1.0e-3, not 1e-3)"
    names = {int: "a whole number", float: number, str: "text", bool: "true or false"}
    return names.get(expected, str(expected))
