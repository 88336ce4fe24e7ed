"""Tables, lists and JSON files of other people: every encoding they come in, and errors that name file and line."""

import json
import logging
from pathlib import Path

import pytest

from efficiency_core.errors import UsageError
from efficiency_core.readers.tables import json_line, number, read_json, table, text_lines, whole

COLUMNS = ("name", "frames")
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "cp1252"]


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_encoding_and_line_end(tmp_path: Path, encoding: str, end: str, caplog: pytest.LogCaptureFixture) -> None:
    text = end.join(["name,frames", '"café, “two”",3', "", "naïve,4"])
    path = written(tmp_path / "list.csv", text, encoding)
    assert list(table(path, COLUMNS, "a list")) == [(2, ["café, “two”", "3"]), (4, ["naïve", "4"])]
    assert [line for line, _ in text_lines(path, "a list")] == [1, 2, 4]
    assert ("list.csv: is no UTF-8 text; read as Windows-1252" in caplog.text) == (encoding == "cp1252")
    path = written(tmp_path / "list.json", f'["é",{end} 1]{end}', encoding)
    assert read_json(path, "a list")[1] == ["é", 1]


def test_rows_in_the_order_asked_for_without_space_around(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", 'frames , more, name\n 3,x, a b \n4,"one\ntwo","c"\n5,,\n')
    assert list(table(path, COLUMNS, "a list")) == [(2, ["a b", "3"]), (4, ["c", "4"]), (5, ["", "5"])]
    assert [row for _, row in table(path, ("a", "b", "c"), "a list", header=False)][2] == ["4", "one\ntwo", "c"]
    path = written(tmp_path / "b.csv", 'name,frames\r\n"one\r\ntwo",3\r\n')
    assert list(table(path, COLUMNS, "a list")) == [(3, ["one\r\ntwo", "3"])]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_header_tells_the_delimiter(tmp_path: Path, delimiter: str) -> None:
    other = ";" if delimiter == "," else ","
    rows = [["name", f"odd{other}one", "frames"], [f"a{other}b", "x", "3"]]
    path = written(tmp_path / "a.csv", "\n".join(delimiter.join(row) for row in rows))
    assert list(table(path, COLUMNS, "a list")) == [(2, [f"a{other}b", "3"])]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,size\na,1\n", r"a\.csv:1: column 'frames' is missing from \['name', 'size'\]; expected a list"),
        ("name,frames\na,1\n\nb,2,3\n", r"a\.csv:4: expected 2 columns, got 3"),
        ('name,frames\n"a\nb",1\nc\n', r"a\.csv:4: expected 2 columns, got 1"),
        ('name,frames\na,"1\n', r"a\.csv:2: not CSV \(unexpected end of data\); expected a list"),
        ("", r"a\.csv: is empty; expected a list"),
        ("\ufeff \n\n", r"a\.csv:1: column 'name' is missing"),
    ],
)
def test_tables_that_make_no_sense(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        list(table(written(tmp_path / "a.csv", text), COLUMNS, "a list"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"", "is empty"),
        (b"\xef\xbb\xbf\n \n", "is empty"),
        (b"\xff\xfe", "is empty"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "is no text"),
        (b"\xff\xd8\xff\xe0\x81", "is no text"),
        (b"\xff\xfea", "is no text"),
        ("words".encode("utf-16-le"), "is no text"),
    ],
)
def test_what_is_no_text(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "a.txt"
    if content is not None:
        path.write_bytes(content)
    for read in (lambda: list(text_lines(path, "lines 'name 1'")), lambda: read_json(path, "lines 'name 1'")):
        with pytest.raises(UsageError, match=rf"a\.txt: {message}.*; expected lines 'name 1'$"):
            read()


def test_a_folder_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot be read .*; expected a list"):
        list(text_lines(tmp_path, "a list"))


def test_rows_before_a_fault_are_given(tmp_path: Path) -> None:
    """A table is read row by row, not as a whole."""
    rows = table(written(tmp_path / "a.csv", "name,frames\na,1\nb\n"), COLUMNS, "a list")
    assert next(rows) == (2, ["a", "1"])
    with pytest.raises(UsageError, match=r"a\.csv:3"):
        next(rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1,\n "b": }', r"a\.json:2: not JSON \(Expecting value, column 7\); expected an object"),
        ("[" * 100_000, r"a\.json: not JSON that can be used .*; expected an object"),
        (f"[{'1' * 5000}]", r"a\.json: not JSON that can be used .*digits.*; expected an object"),
    ],
)
def test_json_that_cannot_be_read(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_json(written(tmp_path / "a.json", text), "an object")


@pytest.mark.parametrize("indent", [0, 2])
def test_lines_of_json_entries(indent: int) -> None:
    content = {"images": [{"id": 1, "]": "},{"}, [2, []], "three"], "empty": {}, "more": {"b": 1, "a": [5]}}
    text = "\n\n" + json.dumps(content, indent=indent)
    lines = text.split("\n")

    def begins(*steps: str | int) -> str:
        return lines[json_line(text, *steps) - 1].strip()

    assert begins() == "" and begins("images") == '"images": [' == begins(0)
    assert begins("images", 0) == "{" and begins("images", 0, "]") == '"]": "},{"'
    assert begins("images", 1) == "[" and begins("images", 1, 0) == "2," and begins("images", 2) == '"three"'
    assert begins("more", "a") == '"a": [' == begins(2, 1) and begins("more", "a", 0) == "5"
    for steps in (("none",), ("images", 3), ("empty", 0), ("more", "b", 0), ("images", "id"), ("images", 2, 0)):
        with pytest.raises(ValueError, match="there is no"):
            json_line(text, *steps)


def test_numbers() -> None:
    assert whole(" 12 ", "a:1", "n") == 12 and number("1.5", "a:1", "n") == 1.5
    assert type(number("3.0", "a:1", "n")) is int
    for text in ("-1", "1.0", "", "²", "x"):
        with pytest.raises(UsageError, match=f"^a:1: the frame must be a whole number of 0 or more, got '{text}'$"):
            whole(text, "a:1", "the frame")
    for text in ("", "nan", "inf", "x"):
        with pytest.raises(UsageError, match=f"^a:1: width must be a number, got '{text}'$"):
            number(text, "a:1", "width")


def test_utf8_without_a_mark_is_read_without_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        path = written(tmp_path / "a.txt", "é\u0085\n", "utf-8")
        assert list(text_lines(path, "a list")) == [(1, "é")]
    assert not caplog.records
