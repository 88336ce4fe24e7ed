"""Figures as data, and mistakes in their files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from efficiency_bench.figures.definitions import find_figures, load_figure
from efficiency_core.errors import UsageError

pytestmark = pytest.mark.usefixtures("detection_and_speed")
Content = dict[str, Any]
Write = Callable[[Content], Path]
COLUMN = {"header": "mAP", "unit": "%", "printed": True, "digits": 1, "higher_is_better": True}


def change(content: Any, path: str, value: Any) -> None:
    """Set the entry at a dotted path, or remove it where `value` is None."""
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in steps:
        content = content[step]
    if value is None:
        del content[last]
    else:
        content[last] = value


@pytest.mark.parametrize(
    ("kind", "path", "value", "expected"),
    [
        ("curve", "kind", "pie", "kind: expected one of curve, frames, series, clusters, images, distributions, got"),
        ("curve", "y", None, "the key 'y' is missing"),
        ("curve", "y", "maps", "metric 'maps' is not declared; expected one of fps, map, cost"),
        ("curve", "costs", ["flops"], "metric 'flops' is not declared"),
        ("curve", "panels", [], "unknown key 'panels'"),
        ("panels", "series", [], "unknown key 'series'"),
        ("curve", "series.0.colour", "red", "series 'fixed': unknown key 'colour'"),
        ("curve", "series.0.points.1.id", "t4", "series 'fixed', point 't4': an earlier point has the same id"),
        ("curve", "series.0.points.1.measure", None, "point 't8': expected either 'measure' or 'missing'"),
        ("curve", "metrics.point", COLUMN, "metrics: 'point' is a column already; give the metric another name"),
        ("curve", "metrics.series", {}, "metrics.series: the key 'header' is missing"),
        ("panels", "panels.1.id", "good", "panel 'good': an earlier panel has the same id"),
        ("panels", "panels.0.experiment", "detect", "unknown experiment 'detect'; there are detection"),
        ("panels", "panels.0.settings", {"T": 3}, "panel 'good', settings: unknown setting 'T'"),
        ("panels", "panels.1.data", {"shapes": "fast"}, "does not read 'shapes'; it reads digits"),
        ("panels", "panels.0.frames", [-1], "panel 'good', frames[0]: expected a whole number, 0 or more, got -1"),
    ],
)
def test_a_mistake_is_refused_in_one_line(
    write: Write, curve: Content, panels: Content, kind: str, path: str, value: Any, expected: str
) -> None:
    content = curve if kind == "curve" else panels
    change(content, path, value)
    file = write(content)
    with pytest.raises(UsageError) as caught:
        load_figure(file)
    message = str(caught.value)
    assert message.startswith(str(file)) and expected in message and "\n" not in message


def test_figures_are_found_in_the_thesis_s_order_under_their_own_names(
    tmp_path: Path, write: Write, panels: Content
) -> None:
    for number in ("2.10", "2.6", "2.9"):
        write({**panels, "figure": number})
    assert list(find_figures(tmp_path)) == ["fig2_6", "fig2_9", "fig2_10"]
    (tmp_path / "fig2_6.yaml").rename(tmp_path / "fig2_7.yaml")
    with pytest.raises(UsageError, match=r"figure 2\.6 belongs in a file named fig2_6\.yaml"):
        find_figures(tmp_path)
