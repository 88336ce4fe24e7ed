"""Rows of a table: their status, their numbers, and the runs behind them."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from efficiency_bench.claims.ledger import Verdict
from efficiency_bench.report.builds import find_builds
from efficiency_bench.report.matching import Choices
from efficiency_bench.report.rows import TableView, view_table
from efficiency_bench.workflow.tables import load_table
from efficiency_core.errors import UsageError


def view(project: Any, *kept: Path, claims: tuple[Verdict, ...] = ()) -> TableView:
    table = load_table(project.workflows / "tables" / "table2_4.yaml")
    return view_table(table, find_builds(project.results, kept), Choices.load(project.workflows), claims)


def claim(**values: str) -> Verdict:
    return Verdict(
        **{**dict.fromkeys(Verdict.__dataclass_fields__, ""), "verdict": "holds", "rests_on": "table2_4", **values}
    )


def test_every_number_comes_with_its_runs(built: Any) -> None:
    baseline, ours, theirs = view(built).rows
    quality, speed, _ = ours.cells
    assert (quality.thesis, quality.measured, quality.spread, quality.difference) == ("87.20", "71.0", "± 1.4", "−16.2")
    assert quality.ends == pytest.approx((69.6, 72.4))
    trained = [run.run_id for run in built.runs if run.settings.get("motion") == "annotated"]
    assert quality.runs == tuple(("this build", run) for run in trained)
    assert len(trained) == 2
    assert (speed.measured, speed.spread, speed.difference) == ("6.00", "", "−33.6")
    assert len(speed.runs) == 1 and speed.runs != baseline.cells[1].runs
    assert baseline.cells[0].thesis == "73.6 ± 0.20"
    assert {cell.doubt for row in (baseline, ours, theirs) for cell in row.cells} == {""}
    assert [row.status for row in (baseline, ours, theirs)] == ["measured", "measured", "thesis only"]
    assert theirs.facts["note"] == "needs their code"


def test_columns_without_numbers_are_left_out(built: Any) -> None:
    assert [column.header for _, column, _ in view(built).columns] == ["mAP (%)", "FPS"]


def test_what_did_not_run_says_so(project: Any) -> None:
    assert [row.status for row in view(project).rows] == ["not built", "not built", "thesis only"]
    for run in project.runs:
        if run.experiment == "detection" and run.settings["motion"] == "annotated":
            project.measure(run)
    project.tabulate()
    found = view(project)
    assert [row.status for row in found.rows] == ["not run", "partly measured", "thesis only"]
    assert found.here == {"not run": 1, "partly measured": 1, "thesis only": 1}


def test_records_that_changed_since_the_table_cast_doubt(built: Any) -> None:
    speed = next(run for run in built.runs if run.experiment == "speed" and run.settings["rounds"] == 5)
    built.store(built.results / "runs", speed, {"fps_1": (1.0, "frames/s"), "fps_4": (7.0, "frames/s")})
    assert view(built).rows[1].cells[1].doubt == "the run records give 7.00 now: build the table again"
    (built.results / "runs" / f"{speed.run_id}.json").unlink()
    cell = view(built).rows[1].cells[1]
    assert cell.runs == () and "not there any more" in cell.doubt


def test_runs_on_other_data_are_not_taken(built: Any) -> None:
    """A record of the same settings and seed on another data set lies in the same folder."""
    run = next(run for run in built.runs if run.experiment == "detection")
    other = f"{run.experiment}-00000000-s{run.seed}"
    facts = {"digits": {"name": "Other", "source": "drawn", "digest": "b" * 64, "folder": "digits-drawn"}}
    built.store(built.results / "runs", run, {"video_map": (1.0, "%")}, run_id=other, data=facts)
    facts["digits"] |= {"name": "MovingDigits", "source": "sklearn-digits", "folder": "letters-drawn"}
    built.store(
        built.results / "runs", run, {"video_map": (1.0, "%")}, run_id=other.replace("0000", "1111"), data=facts
    )
    assert all(not cell.doubt for row in view(built).rows for cell in row.cells)


def test_kept_rows_stand_beside_those_of_this_build(built: Any, tmp_path: Path) -> None:
    kept = tmp_path / "old-machine"
    shutil.copytree(built.results, kept)
    rows = view(built, kept).rows
    assert [(row.id, row.source) for row in rows] == [
        ("baseline", "this build"), ("baseline", "old-machine"), ("ours", "this build"), ("ours", "old-machine"),
        ("theirs", ""),
    ]  # fmt: skip
    assert rows[1].cells[0].runs[0][0] == "old-machine"
    (built.results / "table2_4.csv").unlink()
    found = view(built, kept)
    assert [(row.id, row.source) for row in found.rows] == [
        ("baseline", "old-machine"), ("ours", "old-machine"), ("theirs", ""),
    ]  # fmt: skip
    assert not found.built
    assert found.here == {"not built": 2, "thesis only": 1}


def test_a_row_has_the_claims_that_its_runs_judge(built: Any) -> None:
    speed = next(run for run in built.runs if run.experiment == "speed" and run.settings["rounds"] == 5)
    claims = claim(id="faster", records=speed.run_id), claim(id="nothing"), claim(id="else", rests_on="fig2_5")
    found = view(built, claims=claims)
    assert [one.id for one in found.claims] == ["faster", "nothing"]
    assert [[one.id for one in row.claims] for row in found.rows] == [[], ["faster"], []]


def test_a_table_of_other_rows_is_refused(built: Any) -> None:
    path = built.results / "table2_4.csv"
    path.write_text(path.read_text().replace("Ours", "Mine"))
    with pytest.raises(UsageError, match=r"table2_4\.csv: its rows are not those of .*table2_4\.yaml"):
        view(built)


def test_folders_that_are_not_there_or_share_a_name_are_refused(built: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no-such: no such folder"):
        find_builds(tmp_path / "no-such", ())
    (tmp_path / "a" / "x").mkdir(parents=True)
    (tmp_path / "b" / "x").mkdir(parents=True)
    with pytest.raises(UsageError, match="two folders are called x"):
        find_builds(built.results, (tmp_path / "a" / "x", tmp_path / "b" / "x"))
