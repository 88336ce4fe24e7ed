"""Reading the project's YAML documents strictly: each key once, nothing unknown to the schema.

PyYAML keeps the last of two equal keys without a word, and a jsonschema error prints the whole document. Here
both become a `UsageError` of one line that names the file, the place, what was expected and what came.
"""

import json
from collections.abc import Hashable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from referencing import Registry, Resource

from .errors import UsageError


def load_document(path: Path, schema: str) -> dict[str, Any]:
    """Read the YAML file `path` and check it against the package's `schemas/{schema}.schema.json`.

    Raises:
        UsageError: the file cannot be read, is no YAML, gives a key twice, or does not fit the schema.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: expected UTF-8 text ({error.reason} at byte {error.start})") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UsageError(f"{path}, line {line}: {error.problem}") from error
    check_document(document, _schema(f"{schema}.schema.json"), str(path))
    assert isinstance(document, dict)  # every schema's root is an object
    return document


def check_document(document: object, schema: Mapping[str, Any], where: str) -> None:
    """Check `document` against a JSON schema (draft 2020-12); `where` opens the message of the `UsageError`.

    A leaf of the schema says in its `description` what is expected there ('a quoted number such as "87.2"'). A schema
    may refer to parts of the package's others by their file name.
    """
    registry: Registry[Any] = Registry(retrieve=lambda uri: Resource.from_contents(_schema(uri)))  # type: ignore[call-arg]
    validator = jsonschema.Draft202012Validator(schema, registry=registry)
    error = jsonschema.exceptions.best_match(validator.iter_errors(document))
    if error is not None:
        place = _place(document, list(error.absolute_path))
        raise UsageError(f"{where}: {place + ': ' if place else ''}{_complaint(error)}")


@cache
def _schema(file: str) -> Any:
    """One of the package's schemas."""
    return json.loads(resources.files(__package__).joinpath("schemas", file).read_text(encoding="utf-8"))


class _UniqueKeyLoader(yaml.SafeLoader):
    """SafeLoader that refuses a mapping with the same key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":  # `<<: *anchor`: what is written here goes over it
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                problem = f"key {key!r} is given twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _place(document: Any, path: list[str | int]) -> str:
    """`rows, 3, reported, map` as "row 'ours', reported.map": an item with an id is known by it."""
    parts: list[str] = []
    dotted = ""
    for step in path:
        document = document[step]
        if isinstance(step, str):
            dotted += f".{step}" if dotted else step
        elif isinstance(document, dict) and isinstance(document.get("id"), str):
            parts.append(f"{dotted if dotted == 'series' else dotted.removesuffix('s')} {document['id']!r}")
            dotted = ""
        else:
            dotted += f"[{step}]"
    return ", ".join([*parts, dotted] if dotted else parts)


def _complaint(error: jsonschema.ValidationError) -> str:
    schema: dict[str, Any] = error.schema if isinstance(error.schema, dict) else {}
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = sorted(schema["properties"])
        unknown = next(key for key in error.instance if key not in known)
        return f"unknown key {unknown!r}; expected one of {', '.join(known)}"
    if error.validator == "required" and isinstance(error.instance, dict):
        return f"the key {next(key for key in schema['required'] if key not in error.instance)!r} is missing"
    expected = schema.get("description") or schema.get("type") or error.message
    return f"expected {expected}, got {error.instance!r}"
