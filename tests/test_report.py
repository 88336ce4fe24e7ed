"""The report about the kept results: every number has its runs, and every run the command that makes it again."""

import shlex
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from efficiency_bench import experiments
from efficiency_bench.figures.definitions import find_figures
from efficiency_bench.records.run_record import run_id
from efficiency_bench.report.builds import THIS_BUILD, Build
from efficiency_bench.report.charts import load_report, view_chart
from efficiency_bench.report.matching import Choices
from efficiency_bench.report.page import curve_points, view_tables
from efficiency_bench.report.rows import view_table
from efficiency_bench.report.runs import run_command, settings_note
from efficiency_bench.workflow.tables import Table, find_tables
from efficiency_core.settings import build, parse_assignments, parse_pairs

ROOT = Path(__file__).parents[1]
WORKFLOWS = ROOT / "workflows"
KEPT = sorted(ROOT.glob("results/reference/*/table*.csv"))


@cache
def choices() -> Choices:
    return Choices.load(WORKFLOWS)


@cache
def tables() -> dict[str, Table]:
    return find_tables(WORKFLOWS / "tables")


@pytest.mark.parametrize("kept", KEPT, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_kept_number_has_the_runs_that_give_it(kept: Path) -> None:
    table = tables()[kept.stem]
    rows = view_table(table, [Build(THIS_BUILD, kept.parent)], choices(), ()).rows
    measured = [cell for row in rows for cell in row.cells if cell.measured]
    assert measured and all(cell.runs for cell in measured)
    assert [cell.doubt for cell in measured if cell.doubt] == []


@pytest.mark.parametrize("folder", sorted({path.parent for path in KEPT}), ids=lambda path: path.name)
def test_the_command_of_a_kept_run_has_its_id(folder: Path) -> None:
    for name, record in Build(folder.name, folder).records.items():
        assert settings_note(record) == "", name
        words = shlex.split(shlex.join(run_command(record, choices().data_sets)))
        options: dict[str, list[str]] = {}
        for word, value in pairwise(words):
            if word.startswith("--"):
                options.setdefault(word, []).append(value)
        settings = build(
            experiments.get(words[2]).settings_type, parse_assignments(options.get("--set", [])), f"command of {name}"
        )
        data = {key: Path(path).name for key, path in parse_pairs(options.get("--data", []), "--data").items()}
        start = {"start": Path(options["--start"][0]).stem} if "--start" in options else {}
        assert run_id(words[2], experiments.recorded(settings), {**data, **start}, int(options["--seed"][0])) == name


def test_charts_show_what_was_measured() -> None:
    """The charts of chapter 2 over the kept tables; those of tables that nobody kept are empty but for the thesis's points."""
    folder = ROOT / "results" / "reference" / "amd-epyc-2-cores"
    builds = [Build(THIS_BUILD, folder)]
    points = curve_points(find_figures(WORKFLOWS / "figures").values())
    views = view_tables([*tables().values(), *points], builds, choices(), ())
    definition = WORKFLOWS / "report.yaml"
    charts = [chart for chart in load_report(definition, views).charts if chart.y.table == "table2_4"]
    (found,) = (view_chart(chart, views, {}) for chart in charts)
    assert {point.label for point in found.points if point.measured} >= {"Faster-RCNN", "Ours"}
