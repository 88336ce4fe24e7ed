"""Table files: what is read, and that every mistake is refused with its place and what was expected."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from efficiency_bench.workflow.tables import find_tables, load_table
from efficiency_core.errors import UsageError


@dataclass(frozen=True)
class Training:
    gamma: float = 0.5


@dataclass(frozen=True)
class Settings:
    motion: Literal["annotated", "none"] = "annotated"
    training: Training = field(default_factory=Training)


@pytest.fixture(autouse=True)
def one_experiment(register: Callable[..., None]) -> None:
    register(detection=("train", Settings, ("digits",)))


TABLE = """
table: "2.1"
caption: Motion
source: the thesis
keys: {method: Methods, reference: Methods}
metrics:
  map: {header: mAP (%), unit: "%", printed: true, digits: 2, higher_is_better: true}
  iou: {header: IoU, unit: "1", printed: false, digits: 3, higher_is_better: true}
rows:
  - id: ours
    keys: {method: Ours}
    reported: {map: "79.30"}
    reported_std: {map: "0.21"}
    measure:
      - experiment: detection
        settings: {motion: none, training: {gamma: 0.3}}
        metrics: {map: keyframe_map, iou: trajectory_iou}
    note: as in section 2.4
  - id: theirs
    keys: {method: Theirs, reference: "[1]"}
    missing: needs their code
"""


def document() -> Any:
    return yaml.safe_load(TABLE)


def write(folder: Path, content: Any, name: str = "table2_1.yaml") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def test_a_valid_table_is_read_as_written(tmp_path: Path) -> None:
    table = load_table(write(tmp_path, TABLE))
    assert (table.number, table.name, list(table.keys)) == ("2.1", "table2_1", ["method", "reference"])
    iou = table.metrics["iou"]
    assert list(table.metrics) == ["map", "iou"] and (iou.unit, iou.printed, iou.digits) == ("1", False, 3)
    ours, theirs = table.rows
    assert ours.reported == {"map": "79.30"}, "the printed digits survive, trailing zero included"
    assert ours.reported_std == {"map": "0.21"}
    (measure,) = ours.measures
    assert measure.settings == {"motion": "none", "training": {"gamma": 0.3}}
    assert measure.metrics == {"map": "keyframe_map", "iou": "trajectory_iou"}
    assert measure.data == {}, "the data the experiment itself names"
    assert (ours.missing, ours.note) == ("", "as in section 2.4")
    assert (theirs.measures, theirs.missing) == ((), "needs their code")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("id: theirs", "id: ours", "line 19: row 'ours': an earlier row has the same id"),
        ('map: "79.30"', "map: 79.3", "line 12: row 'ours', reported.map: expected the printed number in quotes"),
        ('map: "79.30"', 'map: "-"', "(leave a '-' out), got '-'"),
        ('{map: "79.30"}', '{mAP: "79.30"}', "'mAP' is not declared; expected one of map, iou"),
        ('{map: "79.30"}', '{map: "79.30", iou: "0.9"}', "expected no value of 'iou', which has printed: false"),
        ('reported: {map: "79.30"}', "reported: {}", "reported_std: 'map' has a spread, but no value"),
        ("keys: {method: Ours}", "keys: {backbone: Ours}", "row 'ours', keys: 'backbone' is not declared"),
        ("method: Ours", "method: yes", "expected text (put it in quotes), got True"),
        ("- experiment: detection", "- experiment: detektion", "line 15: row 'ours', measure[0].experiment: unknown"),
        ("gamma: 0.3", "gama: 0.3", "unknown setting 'training.gama'; did you mean 'training.gamma'?"),
        ("gamma: 0.3", "gamma: much", "line 16: row 'ours', measure[0].settings: training.gamma: expected a number"),
        ("metrics: {map: keyframe_map, iou", "metrics: {fps: keyframe_map, iou", "metrics: 'fps' is not declared"),
        ("        metrics:", "        data: {shapes: digits}\n        metrics:", "not read 'shapes'; it reads digits"),
        ("    missing: needs their code", "", "row 'theirs': expected either 'measure' or 'missing'"),
        ("    note: as", "    missing: x\n    note: as", "row 'ours': expected either 'measure' or 'missing'"),
        ("reference: Methods}", "reference: Methods, map: x}", "'map' is both a key and a metric"),
        ('table: "2.1"', 'table: "2.4"', "table 2.4 belongs in a file named table2_4.yaml"),
        ('table: "2.1"', "table: 2.1", 'expected the table\'s number in quotes, such as "2.4", got 2.1'),
        ('table: "2.1"', "", "expected either 'table'"),
        ('table: "2.1"', 'table: "2.1"\ntext: "2.1"', "expected either 'table'"),
    ],
)
def test_a_mistake_is_refused_in_one_line(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert TABLE.count(old) == 1
    path = write(tmp_path, TABLE.replace(old, new))
    with pytest.raises(UsageError) as caught:
        load_table(path)
    message = str(caught.value)
    assert message.startswith(str(path)) and expected in message and "\n" not in message


def test_a_metric_has_one_experiment(tmp_path: Path) -> None:
    content = document()
    content["rows"][0]["measure"] = [{"experiment": "detection", "metrics": {"map": "a"}}] * 2
    with pytest.raises(UsageError, match=r"measure\[1\]\.metrics: 'map' is measured by detection and by detection"):
        load_table(write(tmp_path, content))


def test_tables_come_in_the_order_of_the_thesis(tmp_path: Path) -> None:
    for number in ("2.10", "2.9", "1.2"):
        write(tmp_path, document() | {"table": number}, f"table{number.replace('.', '_')}.yaml")
    assert list(find_tables(tmp_path)) == ["table1_2", "table2_9", "table2_10"]


def test_numbers_in_the_text_of_a_section_are_a_table(tmp_path: Path) -> None:
    content = document()
    content["text"] = content.pop("table")
    text = load_table(write(tmp_path, content, "text2_1.yaml"))
    assert (text.kind, text.number, text.name) == ("text", "2.1", "text2_1")
    write(tmp_path, document())
    assert list(find_tables(tmp_path)) == ["table2_1", "text2_1"]
    with pytest.raises(UsageError, match=r"text 2\.1 belongs in a file named text2_1\.yaml"):
        load_table(write(tmp_path, content, "table2_1.yaml"))
