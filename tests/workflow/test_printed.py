"""Tables hold what the thesis prints, and say what this project adds, cannot measure, or finds contradictory."""

from pathlib import Path
from typing import Any

import pytest

PRINTED = {
    name: [line.split("|") for line in lines]
    for name, *lines in (
        block.splitlines()
        for block in (Path(__file__).parent / "printed.txt").read_text(encoding="utf-8").strip().split("\n\n")[1:]
    )
}
# Rows that this project adds after those of the thesis.
ADDED = {
    "table2_4": ["key_boxes_copied", "constant_velocity", "interpolation", "dff"],
    "table2_5": ["faster_rcnn", "key_boxes_copied"],
    "table3_1": ["streamed_8", "streamed_16", "mgsampler_8", "mgsampler_16", "tsn_8"],
    "table3_2": ["mgsampler_16"],
    "table3_3": ["mgsampler_16"],
    "table3_4": ["mgsampler_8"],
    "table3_5": ["mgsampler_8"],
    "table4_1": ["isolation_forest"],
    "table4_3": ["isolation_forest"],
    "text5_4": ["mobilenet_bn", "mobilenet_bn_wa"],
}
# What contradicts itself in the thesis -> words of the note that says so.
CONTRADICTIONS = {
    ("table5_1", "wa"): "24.92 for ResNet18 too",
    ("table5_2", "wa_64"): "Table 5.3 gives 6.42",
    ("table5_2", "bn_64"): "[23]",
    ("table5_2", "ln_wa_64"): "worse than LN alone",
    ("table5_3", "resnet50"): "Table 5.2 gives 6.21",
    ("table5_4", "both"): "24.92 for ResNet50 too",
    ("table5_6", "bn_wa"): "against the text",
    ("table5_6", "gn_wa"): "against the text",
    ("table5_6", "ln"): "no multiple of 1/415",
    ("text5_4", "vgg16_wn_1"): "can only be CIFAR-10",
    ("text5_4", "resnet50_bn_fine_tuned"): "22.39",
    ("text5_4", "segmentation_bn"): "1,499",
    ("text5_4", "segmentation_bn_wa"): "74.87 - 73.80 is 1.07",
}


def as_printed(table: Any, row: Any) -> list[str]:
    """A row's cells as the thesis prints them."""
    cells: list[str] = []
    for name in table.keys:
        text = row.keys.get(name, "").replace("yes", "✓")
        if name == "reference":
            cells[-1] = f"{cells[-1]} {text}".strip()
        else:
            cells.append(text)
    for name in (name for name, column in table.metrics.items() if column.printed):
        value, spread = row.reported.get(name, "-"), row.reported_std.get(name)
        cells.append(f"{value} ± {spread}" if spread else value)
    return cells


def test_every_table_is_there(workflow: Any) -> None:
    assert list(workflow.tables) == list(PRINTED), "sorted by number, a text after the table of that number"


@pytest.mark.parametrize("name", PRINTED)
def test_a_table_holds_what_the_thesis_prints(workflow: Any, name: str) -> None:
    table = workflow.tables[name]
    added = [row for row in table.rows if row.note.startswith("added")]
    printed = [row for row in table.rows if not row.note.startswith("added")]
    assert [*printed, *added] == list(table.rows)
    assert [row.id for row in added] == ADDED.get(name, [])
    assert not any(row.reported for row in added)
    assert [as_printed(table, row) for row in printed] == PRINTED[name]
    columns = {name for name, column in table.metrics.items() if column.printed}
    assert columns == {name for row in table.rows for name in row.reported}
    for row in table.rows:
        assert row.measures or "needs" in row.missing, row.id


def test_what_this_project_has_is_measured(workflow: Any) -> None:
    measured = {row.id for row in workflow.tables["table2_4"].rows if row.measures and row.reported}
    assert measured == {"faster_rcnn", "fgfa", "selsa", "ours"}
    for table in workflow.tables_of("table3").values():
        own = {row.id for row in table.rows if row.keys["method"].startswith(("TSM", "TSN", "Ours"))}
        assert {row.id for row in table.rows if row.measures} == own
    for table in workflow.tables_of("table4", "table5", "text5").values():
        assert all(row.measures for row in table.rows), "this project has every method of these chapters"


def test_figures_hold_only_numbers_of_the_text(workflow: Any) -> None:
    chapters = {"2": "4567", "3": "45678", "4": "1345", "5": [*"23456789", "10", "11", "12"]}
    assert set(workflow.figures) == {f"fig{chapter}_{number}" for chapter in chapters for number in chapters[chapter]}
    curves = {name: figure.points.rows for name, figure in workflow.figures.items() if figure.kind == "curve"}
    assert [name for name, rows in curves.items() if any(row.reported for row in rows)] == ["fig2_5"]
    # "we can reach an mAP of 89.2% with a runtime of 39.6 FPS" (2.4.2, A3), at T=4 (2.4.3, S1)
    assert {row.keys["point"]: dict(row.reported) for row in curves["fig2_5"] if row.reported} == {
        "T=4": {"fps": "39.6", "map": "89.2"}
    }


def test_averages_of_table_5_6_are_those_of_its_cells(workflow: Any) -> None:
    table = workflow.tables["table5_6"]
    directions = [name for name in table.metrics if len(name) == 3 and name != "avg"]
    assert len(directions) == 6
    for row in table.rows:
        mean = sum(float(row.reported[name]) for name in directions) / 6
        assert f"{mean:.2f}" == row.reported["avg"] or abs(mean - float(row.reported["avg"])) <= 0.0051, row.id


@pytest.mark.parametrize(("name", "row_id"), CONTRADICTIONS)
def test_what_contradicts_itself_is_noted(workflow: Any, name: str, row_id: str) -> None:
    (row,) = (row for row in workflow.tables[name].rows if row.id == row_id)
    assert CONTRADICTIONS[name, row_id] in " ".join(row.note.split())
