"""Reading the project's YAML files into dataclasses, which pydantic checks. An error names the file, the line, the place,
what was expected and what came: `table2_1.yaml, line 12: row 'ours', reported.map: expected ..., got 79.3`. And its CSV files."""

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

from pydantic import (
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    Strict,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue, SkipJsonSchema
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from efficiency_core.errors import UsageError
from efficiency_core.settings import nearest, short
from efficiency_core.yaml_file import read_yaml

T = TypeVar("T")
Step = str | int


@dataclass(frozen=True)
class Expected:
    """Annotation of a type: what belongs there, in words, for errors and for the JSON schema."""

    what: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "description": self.what}

    def _check(self, value: Any, inner: Callable[[Any], Any]) -> Any:
        try:
            return inner(value)
        except ValidationError as error:
            if any(part["loc"] for part in error.errors()):  # something inside of it is wrong, and says so itself
                raise
            text = f"expected {self.what}, got {short(value)}"
            raise PydanticCustomError("expected", "{text}", {"text": text}) from None


@dataclass(frozen=True)
class Entry:
    """Base of the dataclasses that mappings of a file are read into. Fields marked `Added` are not in the file."""

    __pydantic_config__ = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys_only(cls, values: Any) -> Any:
        known = _keys(cls)  # type: ignore[arg-type]
        if not isinstance(values, Mapping):
            text = f"expected a mapping with the keys {', '.join(known)}, got {short(values)}"
            raise PydanticCustomError("expected", "{text}", {"text": text})
        for key in values:
            if key not in known:
                meant = nearest(str(key), known)
                advice = f"did you mean {meant!r}?" if meant else f"there are {', '.join(known)}"
                text = f"unknown key {key!r}; {advice}"
                raise PydanticCustomError("expected", "{text}", {"text": text, "key": key})
        return values


Added = SkipJsonSchema()
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$"), Expected("a snake_case name")]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1), Expected("text")]
Flag = Annotated[bool, Strict(), Expected("true or false")]
Whole = Annotated[int, Strict(), Expected("a whole number")]
Settings = Annotated[Mapping[str, Any], Expected("settings as NAME: VALUE")]
"""Settings of an experiment, nested as its dataclasses are."""
DataChoice = Annotated[
    Mapping[str, Annotated[str, Expected("the name of a data set")]],
    Expected("DATA SET OF THE EXPERIMENT: DATA SET TO READ IN ITS PLACE"),
]
Number = Annotated[
    str, StringConstraints(pattern=r"^[0-9]+\.[0-9]+$"), Expected('the number in the thesis in quotes, such as "2.4"')
]


@dataclass(frozen=True)
class Source:
    """The plain content of a file, and where its entries stand."""

    content: Any
    where: Callable[[str], str]
    """From the dotted name of an entry to what opens a message about it: file and line."""

    def opening(self, steps: Sequence[Step], name: str = "") -> str:
        """What opens a message: file, line and place of the entry at `steps`, the line being that of `name` inside it."""
        known = _known_steps(self.content, steps)
        line = self.where(".".join(map(str, [*known, name] if name else known)))
        place = _place(self.content, known)
        return f"{line}: {place}" if place else line

    def error(self, steps: Sequence[Step], text: str, name: str = "") -> UsageError:
        """The error that says `text` about the entry at `steps`, or about `name` inside it."""
        return UsageError(f"{self.opening(steps, name)}: {text}")

    def settings(self, *steps: Step) -> Callable[[str], str]:
        """For `efficiency_core.settings`: opens messages about single settings of those at `steps`."""
        return lambda name: self.opening(steps, name)


def load_document(path: Path, kind: type[T]) -> tuple[T, Source]:
    """Read the YAML file `path` as a `kind`; a `UsageError` if it is no YAML, gives a key twice, or does not fit."""
    content, where = read_yaml(path)
    source = Source(content, where)
    return check_document(kind, source), source


def check_document(kind: type[T], source: Source) -> T:
    """The content of `source` as a `kind`; a `UsageError` says what does not fit."""
    try:
        found: T = adapter(kind).validate_python(source.content)  # type: ignore[arg-type]
        return found
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        steps = first["loc"]
        if first["type"] == "missing":
            raise source.error(steps[:-1], f"the key {steps[-1]!r} is missing") from None
        context = first.get("ctx", {})
        raise source.error(steps, context.get("text", first["msg"]), context.get("key", "")) from None


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


@cache
def _keys(kind: Any) -> tuple[str, ...]:
    hints = get_type_hints(kind, include_extras=True)
    keys = []
    for field in fields(kind):
        marks = getattr(hints[field.name], "__metadata__", ())
        if Added not in marks:
            keys.append(next((mark.alias for mark in marks if isinstance(mark, FieldInfo) and mark.alias), field.name))
    return tuple(keys)


def _known_steps(content: Any, steps: Sequence[Step]) -> list[Step]:
    """The steps that lead somewhere; pydantic also counts what is no place in the file, such as the choice of a union."""
    known: list[Step] = []
    for step in steps:
        entries = dict(enumerate(content)) if isinstance(content, list) else content
        if isinstance(entries, Mapping) and step in entries:
            content = entries[step]
            known.append(step)
    return known


def _place(content: Any, steps: Sequence[Step]) -> str:
    """`rows, 3, reported, map` as "row 'ours', reported.map": an item with an id is known by it."""
    parts: list[str] = []
    dotted = ""
    for step in steps:
        content = content[step]
        if isinstance(step, str):
            dotted += f".{step}" if dotted else step
        elif isinstance(content, Mapping) and isinstance(content.get("id"), str):
            parts.append(f"{dotted if dotted == 'series' else dotted.removesuffix('s')} {content['id']!r}")
            dotted = ""
        else:
            dotted += f"[{step}]"
    return ", ".join([*parts, dotted] if dotted else parts)


def read_csv(path: Path, columns: Iterable[str] = ()) -> list[Mapping[str, str]]:
    """The rows of a CSV file as text; a `UsageError` if it cannot be read or lacks one of the `columns`."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            rows: list[Mapping[str, str]] = list(reader)
            names = reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: cannot be read ({error}); delete it and build it again") from error
    for name in columns:
        if name not in names:
            raise UsageError(f"{path}: expected a column {name!r}, got {', '.join(names) or 'none'}")
    return rows
