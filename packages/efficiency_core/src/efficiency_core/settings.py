"""Settings in three forms: frozen dataclass, nested mapping (JSON, YAML), and ``training.gamma=0.3``.

A value keeps its type on every way; a whole number given for a float becomes a float."""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from efficiency_core.errors import UsageError

T = TypeVar("T")
_NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false", NoneType: "null", Path: "path"}

Where = str | Callable[[str], str]
"""What opens the message of an error: a text, or a function from the dotted name of the setting to a text (file and line)."""


def build(kind: type[T], values: Mapping[str, Any], where: Where, path: str = "", base: T | None = None) -> T:
    """The dataclass ``kind`` with ``values`` over its defaults; a nested mapping goes over the nested default.

    The values of ``base``, if it is given, take the place of the defaults. ``path`` is for messages: the dotted name of
    the group with a full stop.

    Raises:
        UsageError: for a name that is no field (it names the nearest), a value of another type, a value the dataclass itself
            refuses with a ``ValueError``, or a field without default left out.
    """
    given = convert(kind, values, where, path, base)
    if base is None:
        for name in annotations_of(kind):
            if name not in given and defaults_of(kind)[name] is MISSING:
                raise _error(where, path + name, f"the setting {path + name!r} has no default and must be given")
    group = path.removesuffix(".")
    try:
        return kind(**given) if base is None else replace(base, **given)  # type: ignore[type-var]
    except ValueError as error:
        raise _error(where, group, f"{group}: {error}" if group else str(error)) from error


def convert(
    kind: type[Any], values: Mapping[str, Any], where: Where, path: str = "", base: Any = None
) -> dict[str, Any]:
    """The fields of ``kind`` that ``values`` names, as their annotations ask; arguments, errors as of :func:`build`."""
    annotations = annotations_of(kind)
    defaults = defaults_of(kind) if base is None else vars(base)
    given = {}
    for name, value in values.items():
        full = f"{path}{name}"
        if name not in annotations:
            meant = nearest(str(name), [*annotations, *leaves(kind)])
            known = f"did you mean {path + meant!r}?" if meant else f"there are {', '.join(annotations)}"
            raise _error(where, full, f"unknown setting {full!r}; {known}")
        nested = _nested(annotations[name])
        if nested is not None and isinstance(value, Mapping):
            own = defaults[name] if isinstance(defaults[name], nested) else None
            given[name] = build(nested if own is None else type(own), value, where, f"{full}.", own)
            continue
        try:
            given[name] = _convert(value, annotations[name])
        except TypeError:
            expected = type_text(annotations[name])
            raise _error(where, full, f"{full}: expected {expected}, got {short(value)}") from None
    return given


def to_json(instance: Any) -> dict[str, Any]:
    """Every field, nested, as plain JSON values (a tuple becomes a list, a path text)."""
    document: dict[str, Any] = json.loads(json.dumps(instance, default=_plain))
    return document


def changed(instance: Any) -> dict[str, Any]:
    """The fields that differ from their default, as nested JSON values: ``build(kind, changed(instance))`` is ``instance``."""
    return _difference(instance, defaults_of(type(instance)), to_json(instance))


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"training": {"gamma": 0.3}}`` as ``{"training.gamma": 0.3}``."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        nested = isinstance(value, Mapping) and value  # an empty mapping is a value
        flat |= flatten(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}": value}
    return flat


def format_assignments(values: Mapping[str, Any]) -> list[str]:
    """``{"motion": "none", "training": {"steps": [4, 8]}}`` as ``["motion=none", "training.steps=[4,8]"]``."""
    return [f"{name}={_format(value)}" for name, value in flatten(values).items()]


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """The inverse of :func:`format_assignments`: a value that is JSON is read as JSON, any other is text.

    Raises:
        UsageError: for an assignment without ``=``, or a setting given twice.
    """
    nested: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        *groups, last = name.split(".")
        if not equals or not all([*groups, last]):
            raise UsageError(f"expected a setting as key=value or group.key=value, got {assignment!r}")
        level: Any = nested
        for group in groups:
            level = level.setdefault(group, {}) if isinstance(level, dict) else None
        if not isinstance(level, dict) or last in level:
            raise UsageError(f"the setting {name!r} is given twice")
        level[last] = _parse(text)
    return nested


def parse_pairs(texts: Iterable[str], option: str, form: str = "KEY=VALUE") -> dict[str, str]:
    """The texts ``KEY=VALUE`` of a repeated option as a dict; ``option`` and the ``form`` of a text are for messages.

    Raises:
        UsageError: for a text without key, ``=`` or value, or a key given twice.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        key, _, value = text.partition("=")
        if not (key and value):
            raise UsageError(f"{option}: expected {form}, got {text!r}")
        if key in pairs:
            raise UsageError(f"{option}: {key!r} is given twice")
        pairs[key] = value
    return pairs


def _annotations(kind: type[Any]) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in fields(kind) if field.init}


def _defaults(kind: type[Any]) -> dict[str, Any]:
    return {
        field.name: field.default if field.default_factory is MISSING else field.default_factory()
        for field in fields(kind)
    }


annotations_of: Callable[[type[Any]], dict[str, Any]] = cache(_annotations)  # type: ignore[assignment]
"""Field -> annotation, of the fields that the dataclass takes as arguments; looked up once for a class."""
defaults_of: Callable[[type[Any]], dict[str, Any]] = cache(_defaults)  # type: ignore[assignment]
"""Field -> default, made once for a class; ``dataclasses.MISSING`` where there is none."""


def leaves(kind: type[Any], prefix: str = "") -> dict[str, Any]:
    """Dotted name -> annotation of every setting of ``kind`` that is no dataclass itself."""
    found: dict[str, Any] = {}
    for name, annotation in annotations_of(kind).items():
        nested = _nested(annotation)
        found |= {prefix + name: annotation} if nested is None else leaves(nested, f"{prefix}{name}.")
    return found


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant: one that ends in ``.name``, or else one spelled alike."""
    names = list(known)
    ending = [full for full in names if full.endswith(f".{name}")]
    return next(iter(ending or get_close_matches(name, names, 1)), None)


def short(value: Any, most: int = 60) -> str:
    """``repr(value)`` for a message, cut to ``most`` letters."""
    text = repr(value)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def type_text(annotation: Any) -> str:
    """What a value of the annotation is, in words: "a whole number", "one of sgd, adamw"."""
    annotation = _bare(annotation)
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(str(choice) for choice in get_args(annotation))
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join(type_text(member) for member in get_args(annotation))
    if get_origin(annotation) is tuple:
        members = get_args(annotation)
        one = type_text(members[0])
        return f"a list of {'any length' if members[-1] is Ellipsis else len(members)} ({one} each)"
    return "a mapping of settings" if is_dataclass(annotation) else _NAMES.get(annotation, str(annotation))


def _error(where: Where, name: str, text: str) -> UsageError:
    return UsageError(f"{where if isinstance(where, str) else where(name)}: {text}")


def _convert(value: Any, expected: Any) -> Any:
    """``value`` as the annotation ``expected`` asks for; TypeError where it does not fit."""
    expected = _bare(expected)
    origin, arguments = get_origin(expected), get_args(expected)
    if origin is Literal:
        if any(value == choice and type(value) is type(choice) for choice in arguments):
            return value
    elif origin in (Union, UnionType):
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
    elif expected is Path and isinstance(value, str | Path):
        return Path(value)
    elif type(value) is expected:
        return value
    raise TypeError


def _bare(annotation: Any) -> Any:
    return annotation.__origin__ if hasattr(annotation, "__metadata__") else annotation


def _nested(annotation: Any) -> type[Any] | None:
    """The dataclass that the annotation is, alone or beside None."""
    bare = _bare(annotation)
    members = get_args(bare) if get_origin(bare) in (Union, UnionType) else (bare,)
    return next((member for member in members if isinstance(member, type) and is_dataclass(member)), None)


def _difference(instance: Any, base: Mapping[str, Any], every: Mapping[str, Any]) -> dict[str, Any]:
    """The part of ``every``, which is ``instance`` as JSON values, whose fields differ from ``base``."""
    found: dict[str, Any] = {}
    for field in fields(instance):
        name, value = field.name, getattr(instance, field.name)
        if is_dataclass(value) and type(value) is type(base[name]):
            below = _difference(value, vars(base[name]), every[name])
            found |= {name: below} if below else {}
        elif value != base[name]:
            found[name] = every[name]
    return found


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    return os.fspath(value)


def _format(value: Any) -> str:
    return value if isinstance(value, str) and _parse(value) == value else json.dumps(value, separators=(",", ":"))


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
