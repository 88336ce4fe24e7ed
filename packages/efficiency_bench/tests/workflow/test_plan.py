"""The runs that a table needs."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from efficiency_bench.records.run_record import run_id
from efficiency_bench.workflow.plan import runs_needed
from efficiency_bench.workflow.presets import Preset
from efficiency_bench.workflow.tables import Measure, Row, Table
from efficiency_core.errors import UsageError

pytestmark = pytest.mark.usefixtures("detection_and_speed")
FOLDERS = {"digits": "digits-sklearn"}
PRESET = Preset("quick", (0, 1), (0,), {}, {"detection": {"iterations": 50}}, Path("quick.yaml"))


def row(name: str, **settings: Any) -> Row:
    detection = Measure(experiment="detection", metrics={"map": "map"}, settings=settings)
    measures = (detection, Measure(experiment="speed", metrics={"fps": "fps"}))
    return Row(id=name, keys={}, measures=measures)


ROWS = (row("base", motion="none"), row("ours"))
TABLE = Table(table="2.4", caption="", source="", keys={}, metrics={}, rows=ROWS, path=Path("table2_4.yaml"))


def test_runs_are_those_of_all_rows_once_each() -> None:
    found = runs_needed([TABLE], PRESET, FOLDERS)
    assert [(run.experiment, run.settings.get("motion"), run.seed) for run in found] == [
        ("detection", "none", 0), ("detection", "none", 1), ("speed", None, 0), ("detection", "annotated", 0),
        ("detection", "annotated", 1),
    ]  # fmt: skip
    assert runs_needed([TABLE, TABLE], PRESET, FOLDERS) == found


def test_a_run_id_hashes_every_setting_and_the_data() -> None:
    first = runs_needed([TABLE], PRESET, FOLDERS)[0]
    assert first.settings == {"motion": "none", "horizon": 8, "iterations": 50, "steps": [4, 8]}
    assert first.run_id == run_id("detection", first.settings, FOLDERS, 0)
    assert first.assignments == ("motion=none", "iterations=50")
    larger = dataclasses.replace(PRESET, experiments={"detection": {"iterations": 51}})
    others = [(PRESET, {"digits": "digits-mnist"}), (larger, FOLDERS)]
    assert first.run_id not in {runs_needed([TABLE], preset, folders)[0].run_id for preset, folders in others}


def test_a_data_set_without_a_folder_is_refused() -> None:
    with pytest.raises(UsageError, match=r"detection reads digits: expected its folder \(--data digits=DIR\)"):
        runs_needed([TABLE], PRESET, {})
