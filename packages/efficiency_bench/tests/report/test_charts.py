"""Charts of accuracy against cost."""

from typing import Any

import pytest

from efficiency_bench.report.builds import find_builds
from efficiency_bench.report.charts import CANVAS, ChartChoice, ChartView, Coordinate, _Axis, _has_room, view_chart
from efficiency_bench.report.matching import Choices
from efficiency_bench.report.rows import view_table
from efficiency_bench.workflow.tables import load_table


def chart(project: Any, methods: dict[str, int], log_x: bool = False) -> ChartView:
    table = load_table(project.workflows / "tables" / "table2_4.yaml")
    view = view_table(table, find_builds(project.results, ()), Choices.load(project.workflows), ())
    x, y = Coordinate("table2_4", "fps"), Coordinate("table2_4", "map")
    choice = ChartChoice(chapter="2", title="t", x=x, y=y, method="method", label=("backbone",), log_x=log_x)
    return view_chart(choice, {"table2_4": view}, methods)


def test_points_are_where_their_numbers_are(built: Any) -> None:
    found = chart(built, {})
    assert [(point.label, point.measured) for point in found.points] == [
        ("Base R101", False), ("Ours", False), ("Base R101", True), ("Ours", True),
    ]  # fmt: skip
    values = [(20.0, 73.6), (39.6, 87.2), (1.5, 61.0), (6.0, 71.0)]
    left, right = found.points[2], found.points[1]
    for point, (x, y) in zip(found.points, values, strict=True):
        share = (x - 1.5) / (39.6 - 1.5), (y - 61.0) / (87.2 - 61.0)
        assert point.x == pytest.approx(left.x + share[0] * (right.x - left.x), abs=0.2)
        assert point.y == pytest.approx(left.y + share[1] * (right.y - left.y), abs=0.2)
        assert CANVAS.left < point.x < CANVAS.right and CANVAS.top < point.y < CANVAS.bottom
    assert left.x < right.x and left.y > right.y, "up is more"
    assert found.points[2].text == "Base R101 (measured, this build): mAP (%) 61.0; FPS (frames/s) 1.50"


def test_a_logarithmic_axis_has_equal_ratios(built: Any) -> None:
    found = chart(built, {}, log_x=True)
    places = {text: place for place, text in found.x_ticks}
    assert {"2", "5", "10", "20"} <= places.keys()
    assert places["20"] - places["10"] == pytest.approx(places["10"] - places["5"], abs=0.2)


def test_the_spread_is_drawn_where_there_is_one(built: Any) -> None:
    found = chart(built, {})
    assert [len(point.bars) for point in found.points] == [0, 0, 1, 1]
    ((x1, y1, x2, y2),) = found.points[2].bars
    assert x1 == x2 == found.points[2].x and (y1 + y2) / 2 == pytest.approx(found.points[2].y, abs=0.2)


def test_a_method_keeps_its_number(built: Any) -> None:
    methods = {"Else": 0, "Ours": 1}
    found = chart(built, methods)
    assert methods == {"Else": 0, "Ours": 1, "Base": 2}
    assert found.methods == {1: "Ours", 2: "Base"}


def test_a_chart_without_measurements_has_the_thesis_s_points(project: Any) -> None:
    assert [point.measured for point in chart(project, {}).points] == [False, False]


def test_labels_do_not_cover_each_other(built: Any) -> None:
    found = chart(built, {})
    assert [point.named for point in found.points] == [False, False, True, True], "only measured points are named"
    taken: list[Any] = []
    assert _has_room((100, 50), "one", taken)
    assert not _has_room((110, 55), "two", taken)
    assert _has_room((110, 80), "below", taken)
    assert not _has_room((600, 50), "x" * 80, taken), "to the left of its point, over the first"


def test_an_axis_has_ticks_to_read(built: Any) -> None:
    """Between 97 and 115 there is one power of ten, and no double of one."""
    axis = _Axis([97.0, 115.0], (0.0, 100.0), log=True)
    assert len(axis.ticks) >= 3
    assert axis.place(97.0) < axis.ticks[1][0] < axis.place(115.0)
    assert 0 <= _Axis([], (0.0, 100.0), log=True).place(1.0) <= 100
    assert _Axis([0.0, 10.0], (0.0, 100.0), log=True).place(0.0) < 50, "zero has no logarithm, and a place all the same"
