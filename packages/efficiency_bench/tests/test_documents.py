"""Reading YAML into dataclasses: what is refused, and that an error names file, line, place, what was expected and what came."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from efficiency_bench.documents import Added, Entry, Expected, Flag, Name, Settings, load_document
from efficiency_core.errors import UsageError


@dataclass(frozen=True)
class Item(Entry):
    id: Name
    wanted: Flag = True
    settings: Settings = field(default_factory=dict)


@dataclass(frozen=True)
class Document(Entry):
    items: Annotated[tuple[Item, ...], Field(alias="rows", min_length=1), Expected("a list of at least one row")]
    numbers: Mapping[Name, Annotated[int, Field(strict=True), Expected("a whole number")]] = field(default_factory=dict)
    path: Annotated[Path, Added] = Path()


def write(folder: Path, text: str) -> Path:
    path = folder / "document.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_document_is_a_dataclass_with_the_aliases_of_its_keys(tmp_path: Path) -> None:
    found, _ = load_document(write(tmp_path, "rows: [{id: a, wanted: false, settings: {b: {c: 1e-3}}}]\n"), Document)
    assert found == Document((Item("a", False, {"b": {"c": 0.001}}),))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rows:\n- id: a\n  wnated: false\n", "line 3: row 'a': unknown key 'wnated'; did you mean 'wanted'?"),
        ("rows: [{id: a}]\nzzz: 1\n", "line 2: unknown key 'zzz'; there are rows, numbers"),
        ("rows: [{id: a}]\npath: x\n", "line 2: unknown key 'path'; there are rows, numbers"),
        ("rows:\n- wanted: true\n", "line 2: rows[0]: the key 'id' is missing"),
        ("numbers: {a: 1}\n", "the key 'rows' is missing"),
        ("rows:\n- id: a\n- id: b\n  wanted: 1\n", "line 4: row 'b', wanted: expected true or false, got 1"),
        ("rows:\n- id: A b\n", "line 2: row 'A b', id: expected a snake_case name, got 'A b'"),
        ("rows: []\n", "line 1: rows: expected a list of at least one row, got []"),
        ("rows:\n- a\n", "line 2: rows[0]: expected a mapping with the keys id, wanted, settings, got 'a'"),
        ("rows: [{id: a}]\nnumbers:\n  b: 1\n  c: 2.5\n", "line 4: numbers.c: expected a whole number, got 2.5"),
        ("rows: [{id: a}]\nnumbers:\n  B: 1\n", "line 3: numbers.B: expected a snake_case name, got 'B'"),
        ("rows: [{id: a}]\nnumbers: {b: 1, b: 2}\n", "line 2: key 'b' is given twice"),
        ("- a\n", "expected NAME: VALUE, got ['a']"),
        ("rows: [1\n", "line 2: "),
        ("", "the key 'rows' is missing"),
    ],
)
def test_a_mistake_is_refused_in_one_line(tmp_path: Path, text: str, expected: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        load_document(path, Document)
    message = str(caught.value)
    assert message.startswith(str(path)) and expected in message and "\n" not in message


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_document(tmp_path / "absent.yaml", Document)
