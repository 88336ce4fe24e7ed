"""Table files: what is read, and that every mistake is refused with its place and what was expected."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import yaml

from efficiency_bench import experiments
from efficiency_bench.errors import UsageError
from efficiency_bench.tables import find_tables, load_table


@dataclass(frozen=True)
class Settings:
    motion: Literal["annotated", "none"] = "annotated"
    horizon: int = 8


@pytest.fixture(autouse=True)
def one_experiment(monkeypatch: pytest.MonkeyPatch) -> None:
    detection = SimpleNamespace(name="detection", kind="train", settings_type=Settings, data=("digits",))
    monkeypatch.setattr(experiments, "names", lambda: ("detection",))
    monkeypatch.setattr(experiments, "get", lambda name: {"detection": detection}[name])


def document() -> dict[str, Any]:
    """A small valid table: one row that is measured and one that is not."""
    return {
        "table": "2.1",
        "caption": "Motion",
        "source": "the thesis",
        "keys": {"method": "Methods", "reference": "Methods"},
        "metrics": {
            "map": {"header": "mAP (%)", "unit": "%", "printed": True, "digits": 2, "higher_is_better": True},
            "iou": {"header": "IoU", "unit": "1", "printed": False, "digits": 3, "higher_is_better": True},
        },
        "rows": [
            {
                "id": "ours",
                "keys": {"method": "Ours"},
                "reported": {"map": "79.30"},
                "reported_std": {"map": "0.21"},
                "measure": [
                    {
                        "experiment": "detection",
                        "settings": {"motion": "none"},
                        "metrics": {"map": "keyframe_map", "iou": "trajectory_iou"},
                    }
                ],
                "note": "as in section 2.4",
            },
            {"id": "theirs", "keys": {"method": "Theirs", "reference": "[1]"}, "missing": "needs their code"},
        ],
    }


def write(folder: Path, content: Any, name: str = "table2_1.yaml") -> Path:
    path = folder / name
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def test_a_valid_table_is_read_as_written(tmp_path: Path) -> None:
    table = load_table(write(tmp_path, document()))
    assert (table.number, table.name, list(table.keys)) == ("2.1", "table2_1", ["method", "reference"])
    assert list(table.metrics) == ["map", "iou"]
    assert (table.metrics["iou"].unit, table.metrics["iou"].printed, table.metrics["iou"].digits) == (
        "1",
        False,
        3,
    )
    ours, theirs = table.rows
    assert ours.reported == {"map": "79.30"}, "the printed digits survive, trailing zero included"
    assert ours.reported_std == {"map": "0.21"}
    assert ours.measures[0].settings == {"motion": "none"}
    assert ours.measures[0].metrics == {"map": "keyframe_map", "iou": "trajectory_iou"}
    assert ours.measures[0].data == {}, "the data the experiment itself names"
    assert (ours.missing, ours.note) == ("", "as in section 2.4")
    assert (theirs.measures, theirs.missing) == ((), "needs their code")


def _set(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: Any) -> None:
        for step in path[:-1]:
            content = content[step]
        content[path[-1]] = value

    return change


def _drop(*path: str | int) -> Callable[[dict[str, Any]], None]:
    def change(content: Any) -> None:
        for step in path[:-1]:
            content = content[step]
        del content[path[-1]]

    return change


MISTAKES: dict[str, tuple[Callable[[dict[str, Any]], None], tuple[str, ...]]] = {
    "unknown key of the table": (_set("title", value="x"), ("unknown key 'title'", "caption")),
    "unknown key of a row": (
        _set("rows", 0, "reportd", value={}),
        ("row 'ours'", "unknown key 'reportd'", "reported"),
    ),
    "unknown key of a metric": (
        _set("metrics", "map", "units", value="%"),
        ("metrics.map", "'units'", "unit"),
    ),
    "unknown key of a measure": (
        _set("rows", 0, "measure", 0, "setting", value={}),
        ("row 'ours'", "measure[0]", "'setting'", "settings"),
    ),
    "a key is missing": (_drop("caption"), ("'caption' is missing",)),
    "duplicate row id": (_set("rows", 1, "id", value="ours"), ("row 'ours'", "used by an earlier row")),
    "a number without quotes": (
        _set("rows", 0, "reported", "map", value=79.3),
        ("row 'ours', reported.map", "in quotes", "got 79.3"),
    ),
    "a malformed number": (
        _set("rows", 0, "reported", "map", value="79,3"),
        ("row 'ours', reported.map", 'such as "87.2"', "got '79,3'"),
    ),
    "a printed dash": (_set("rows", 0, "reported", "map", value="-"), ("row 'ours'", "leave a '-' out")),
    "an undeclared metric": (
        _set("rows", 0, "reported", "mAP", value="1.0"),
        ("row 'ours'", "reported", "'mAP' is not declared", "map, iou"),
    ),
    "a printed value of an added column": (
        _set("rows", 0, "reported", "iou", value="0.95"),
        ("row 'ours'", "'iou'", "printed: false"),
    ),
    "a spread without a value": (
        _set("rows", 1, "reported_std", value={"map": "0.1"}),
        ("row 'theirs'", "reported_std", "'map'"),
    ),
    "an undeclared identifying column": (
        _set("rows", 0, "keys", "backbone", value="R101"),
        ("row 'ours'", "keys", "'backbone' is not declared", "method, reference"),
    ),
    "a key cell that is no text": (
        _set("rows", 0, "keys", "method", value=True),
        ("row 'ours'", "quotes", "True"),
    ),
    "an unknown experiment": (
        _set("rows", 0, "measure", 0, "experiment", value="detektion"),
        ("row 'ours'", "unknown experiment 'detektion'", "there are detection"),
    ),
    "an unknown setting": (
        _set("rows", 0, "measure", 0, "settings", value={"horizn": 4}),
        ("row 'ours'", "unknown setting 'horizn'", "motion, horizon"),
    ),
    "a setting of another type": (
        _set("rows", 0, "measure", 0, "settings", value={"horizon": "8"}),
        ("row 'ours'", "horizon", "a whole number", "got '8'"),
    ),
    "a measured metric the table lacks": (
        _set("rows", 0, "measure", 0, "metrics", value={"fps": "fps"}),
        ("row 'ours'", "'fps' is not declared", "map, iou"),
    ),
    "a metric measured twice": (
        _set("rows", 0, "measure", value=[{"experiment": "detection", "metrics": {"map": "a"}}] * 2),
        ("row 'ours'", "'map' is measured by detection and by detection"),
    ),
    "data the experiment does not read": (
        _set("rows", 0, "measure", 0, "data", value={"shapes": "digits"}),
        ("row 'ours'", "data: detection does not read 'shapes'; it reads digits"),
    ),
    "data that is no name": (
        _set("rows", 0, "measure", 0, "data", value={"digits": 3}),
        ("row 'ours'", "data.digits", "the name of a data set", "got 3"),
    ),
    "neither measure nor missing": (_drop("rows", 1, "missing"), ("row 'theirs'", "'measure' or 'missing'")),
    "both measure and missing": (
        _set("rows", 0, "missing", value="x"),
        ("row 'ours'", "'measure' or 'missing'"),
    ),
    "a key and a metric of one name": (_set("keys", "map", value="x"), ("'map' is both a key and a metric",)),
    "a name that is not snake_case": (_set("metrics", "m AP", value={}), ("metrics", "snake_case", "'m AP'")),
    "another table's file": (_set("table", value="2.4"), ("table 2.4", "table2_4.yaml")),
    "a number that is no table's": (_set("table", value=2.1), ("table", '"2.4"', "got 2.1")),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_refused_in_one_line(tmp_path: Path, mistake: str) -> None:
    change, expected = MISTAKES[mistake]
    content = document()
    change(content)
    path = write(tmp_path, content)
    with pytest.raises(UsageError) as caught:
        load_table(path)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 300
    for part in (str(path), *expected):
        assert part in message


def test_a_key_given_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "table2_1.yaml"
    path.write_text('table: "2.1"\ncaption: one\ncaption: two\n', encoding="utf-8")
    with pytest.raises(UsageError, match="line 3: key 'caption' is given twice"):
        load_table(path)


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "table: [1\n"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "table2_1.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"table2_1\.yaml"):
        load_table(path)


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_table(tmp_path / "table2_1.yaml")


def test_tables_come_in_the_order_of_the_thesis(tmp_path: Path) -> None:
    for number in ("2.10", "2.9", "1.2"):
        content = document()
        content["table"] = number
        write(tmp_path, content, f"table{number.replace('.', '_')}.yaml")
    assert list(find_tables(tmp_path)) == ["table1_2", "table2_9", "table2_10"]


def test_numbers_in_the_text_of_a_section_are_a_table(tmp_path: Path) -> None:
    content = document()
    content["text"] = content.pop("table")
    text = load_table(write(tmp_path, content, "text2_1.yaml"))
    assert (text.kind, text.number, text.name, text.target) == ("text", "2.1", "text2_1", "text2_1.csv")
    write(tmp_path, document())
    assert list(find_tables(tmp_path)) == ["table2_1", "text2_1"]
    with pytest.raises(UsageError, match=r"text 2\.1 belongs in a file named text2_1\.yaml"):
        load_table(write(tmp_path, content, "table2_1.yaml"))
    for wrong in (content | {"table": "2.1"}, {key: value for key, value in content.items() if key != "text"}):
        with pytest.raises(UsageError, match="expected either 'table'"):
            load_table(write(tmp_path, wrong, "text2_1.yaml"))
