"""From run records to a table's CSV: every column, and every record that must be refused."""

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from efficiency_bench.workflow.plan import RunSpec, runs_needed
from efficiency_bench.workflow.presets import Preset
from efficiency_bench.workflow.tables import Table, load_table
from efficiency_bench.workflow.tabulate import tabulate, write_table
from efficiency_core.errors import UsageError, WorkError

pytestmark = pytest.mark.usefixtures("detection_and_speed")
CPU = {"type": "cpu", "name": "Epic CPU", "threads": 1, "clock_mhz": None}
GPU = {"type": "cuda", "name": "Big GPU", "threads": 2, "clock_mhz": None}
VARIANTS = {"digits": "digits-sklearn"}
PRESET = Preset("quick", (0, 1, 2), (0,), {}, {"detection": {"iterations": 50}}, Path("quick.yaml"))
Store = Callable[..., None]
STAND_IN = "MovingDigits (sklearn-digits), stand-in for Digits of MNIST"


TABLE = """
table: "2.4"
caption: a baseline measured in part, ours measured by two experiments, theirs only reported
source: the thesis
thesis_data: {digits-mnist: Digits of MNIST}
keys: {method: Methods, backbone: Backbone}
metrics:
  map: {header: mAP (%), unit: "%", printed: true, digits: 1, higher_is_better: true}
  fps: {header: FPS, unit: frames/s, printed: true, digits: 2, higher_is_better: true}
  flops_g: {header: GMAC, unit: GMAC/frame, printed: false, digits: 1, higher_is_better: false}
rows:
  - id: baseline
    keys: {method: Base, backbone: R101}
    reported: {map: "73.6"}
    reported_std: {map: "0.20"}
    measure:
      - {experiment: detection, settings: {motion: none}, metrics: {map: video_map}}
  - id: ours
    keys: {method: Ours}
    reported: {map: "87.20", fps: "39.6"}
    measure:
      - {experiment: detection, metrics: {map: video_map}}
      - {experiment: speed, metrics: {fps: fps_step4, flops_g: flops}}
    note: on stand-in data
  - id: theirs
    keys: {method: Theirs, backbone: R101}
    reported: {map: "84.5"}
    missing: needs their code
"""


@pytest.fixture
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    path = tmp_path_factory.mktemp("tables") / "table2_4.yaml"
    path.write_text(TABLE, encoding="utf-8")
    return load_table(path)


def values_of(spec: RunSpec) -> dict[str, tuple[float, str]]:
    if spec.experiment == "speed":
        spread = {"fps_p10_step4": (6.5, "frames/s"), "fps_p90_step4": (7.5, "frames/s")}
        return {"fps_step4": (7.126, "frames/s"), "flops": (33.333, "GMAC/frame"), **spread}
    return {"video_map": (60.0 + 2 * spec.seed + (10 if spec.settings["motion"] == "annotated" else 0), "%")}


@pytest.fixture
def specs(table: Table) -> list[RunSpec]:
    return runs_needed([table], PRESET, VARIANTS)


@pytest.fixture
def runs(tmp_path: Path, specs: list[RunSpec], store: Store) -> Path:
    """A folder with every record the table needs."""
    for spec in specs:
        store(tmp_path, spec, values_of(spec))
    return tmp_path


def find(specs: Sequence[RunSpec], experiment: str, motion: str = "annotated", seed: int = 0) -> RunSpec:
    wanted = (experiment, motion, seed)
    return next(one for one in specs if (one.experiment, one.settings.get("motion", motion), one.seed) == wanted)


def test_a_row_holds_the_mean_and_the_sample_spread_over_its_seeds(table: Table, runs: Path) -> None:
    baseline, ours, _ = tabulate(table, PRESET, runs, VARIANTS).to_dict("records")
    assert baseline["map"] == f"{(60 + 62 + 64) / 3:.1f}" == "62.0"
    assert baseline["map_std"] == f"{math.sqrt(((60 - 62) ** 2 + (64 - 62) ** 2) / 2):.1f}" == "2.0"
    assert (baseline["map_reported"], baseline["map_reported_std"]) == ("73.6", "0.20")
    assert (baseline["fps_reported"], baseline["fps"], baseline["flops_g"]) == ("", "", "")
    assert (ours["map_reported"], ours["map"]) == ("87.20", "72.0")
    assert (ours["fps"], ours["fps_std"], ours["flops_g"]) == ("7.13", "", "33.3")
    assert (ours["backbone"], ours["map_reported_std"], ours["flops_g_reported"]) == ("", "", "")


def test_a_row_says_where_its_numbers_come_from(table: Table, runs: Path) -> None:
    baseline, ours, theirs = tabulate(table, PRESET, runs, VARIANTS).to_dict("records")
    names = ("seeds", "dataset", "preset", "device", "seeds_by_cell", "dataset_by_cell", "scale", "status", "note")
    assert {name: baseline[name] for name in names} == {
        "seeds": "3", "dataset": STAND_IN, "preset": "quick", "device": "Epic CPU (2 threads)", "seeds_by_cell": "",
        "dataset_by_cell": "", "scale": "50 steps", "status": "measured", "note": "",
    }  # fmt: skip
    assert (ours["seeds"], ours["note"]) == ("3", "on stand-in data; fps, flops_g: 1 run")
    assert (theirs["status"], theirs["note"], theirs["map_reported"]) == ("reported_only", "needs their code", "84.5")
    empty = (
        "map",
        "map_std",
        "fps",
        "seeds",
        "dataset",
        "preset",
        "device",
        "seeds_by_cell",
        "dataset_by_cell",
        "scale",
    )
    assert {theirs[name] for name in empty} == {""}


def test_a_cell_that_differs_from_its_row_says_where_it_comes_from(table: Table, runs: Path) -> None:
    _, ours, theirs = tabulate(table, PRESET, runs, VARIANTS).to_dict("records")
    assert ours["seeds_by_cell"] == "map: 3; fps, flops_g: 1"
    assert ours["dataset_by_cell"] == f"map: {STAND_IN}; fps, flops_g: no data set (random input)"
    assert ours["scale"] == "map: 50 steps", "speed says nothing of its size"
    assert ours["units"] == "map: %; fps: frames/s; flops_g: GMAC/frame" and theirs["units"] == "map: %"


def test_the_spread_of_a_timing_is_shown(table: Table, runs: Path) -> None:
    frame = tabulate(table, PRESET, runs, VARIANTS)
    assert [name for name in frame if name.endswith(("_p10", "_p90", "_low", "_high"))] == ["fps_p10", "fps_p90"]
    assert frame["fps_p10"].tolist() == ["", "6.50", ""] and frame["fps_p90"][1] == "7.50"


def test_the_thesis_s_own_data_are_no_stand_in(table: Table, tmp_path: Path, store: Store) -> None:
    variants = {"digits": "digits-mnist-test5"}
    for spec in runs_needed([table], PRESET, variants):
        store(tmp_path, spec, values_of(spec))
    assert tabulate(table, PRESET, tmp_path, variants)["dataset"][0] == "MovingDigits (sklearn-digits)"


def test_the_csv_holds_the_printed_digits_and_blanks(table: Table, runs: Path, tmp_path: Path) -> None:
    path = tmp_path / "out" / "table2_4.csv"
    written = write_table(table, tabulate(table, PRESET, runs, VARIANTS), path)
    assert path.read_text().startswith(
        "method,backbone,map_reported,map_reported_std,map,map_std,fps_reported,fps,fps_std,flops_g_reported,flops_g,"
        "flops_g_std,seeds,dataset,preset,device,fps_p10,fps_p90,seeds_by_cell,dataset_by_cell,scale,units,status,note\n"
    )
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[2].startswith("Ours,,87.20,,72.0,2.0,39.6,7.13,,,33.3,,3,")
    numbers = pd.read_csv(path)
    assert numbers["map"].tolist()[:2] == [62.0, 72.0] and math.isnan(numbers["map"][2])
    assert sorted(path.parent.iterdir()) == written == [path, path.with_name("table2_4.csv-metadata.json")]


def test_the_columns_are_described_beside_the_csv(table: Table, runs: Path, tmp_path: Path) -> None:
    """By W3C's CSVW: a description of each column, in their order, under the name that CSVW looks for."""
    path, described = write_table(table, tabulate(table, PRESET, runs, VARIANTS), tmp_path / "table2_4.csv")
    about = json.loads(described.read_text())
    assert (about["url"], about["dc:title"], about["dc:description"]) == ("table2_4.csv", "Table 2.4", table.caption)
    columns = about["tableSchema"]["columns"]
    assert [column["titles"] for column in columns] == [[name] for name in pd.read_csv(path)]
    assert all(column["dc:description"] for column in columns)
    by_name = {column["name"]: column for column in columns}
    assert (
        by_name["fps"]["dc:description"].startswith("FPS, measured here") and by_name["method"]["datatype"] == "string"
    )
    assert {by_name[name]["schema:unitText"] for name in ("fps", "fps_reported", "fps_p10")} == {"frames/s"}
    assert by_name["map_std"]["datatype"] == "number"


def test_a_missing_run_is_an_error_that_says_how_to_make_it(
    table: Table, runs: Path, specs: list[RunSpec], tmp_path_factory: pytest.TempPathFactory
) -> None:
    (runs / f"{specs[0].run_id}.json").unlink()
    with pytest.raises(WorkError) as caught:
        tabulate(table, PRESET, runs, VARIANTS)
    message = str(caught.value)
    assert f"{specs[0].run_id} (row 'baseline')" in message and specs[1].run_id not in message
    assert "snakemake results/table2_4.csv --config preset=quick" in message and "--allow-missing" in message
    with pytest.raises(WorkError, match="and 3 more\n"):
        tabulate(table, PRESET, tmp_path_factory.mktemp("none"), VARIANTS)


def test_allowed_missing_runs_leave_blanks_and_a_note(table: Table, runs: Path, specs: list[RunSpec]) -> None:
    speed, second = find(specs, "speed"), find(specs, "detection", "none", 1)
    for spec in (speed, second):
        (runs / f"{spec.run_id}.json").unlink()
    baseline, ours, _ = tabulate(table, PRESET, runs, VARIANTS, allow_missing=True).to_dict("records")
    assert (baseline["map"], baseline["seeds"]) == ("62.0", "2")
    assert baseline["note"] == f"map: not run: {second.run_id}"
    assert (ours["fps"], ours["map"], ours["status"]) == ("", "72.0", "measured")
    assert ours["note"] == f"on stand-in data; fps, flops_g: not run: {speed.run_id}"


def test_a_row_without_any_run_is_reported_only(table: Table, tmp_path: Path) -> None:
    rows = tabulate(table, PRESET, tmp_path, VARIANTS, allow_missing=True).to_dict("records")
    assert {row["status"] for row in rows} == {"reported_only"}
    assert {row["map"] for row in rows} == {row["device"] for row in rows} == {""}


def test_a_row_on_two_devices_is_refused_or_lists_them(
    table: Table, runs: Path, specs: list[RunSpec], store: Store
) -> None:
    store(runs, (spec := find(specs, "speed")), values_of(spec), device=GPU)
    with pytest.raises(UsageError, match=r"row 'ours': .*Epic CPU \(2 threads\); Big GPU.*--mix-devices"):
        tabulate(table, PRESET, runs, VARIANTS)
    rows = tabulate(table, PRESET, runs, VARIANTS, mix_devices=True)
    assert rows["device"].tolist() == ["Epic CPU (2 threads)", "Epic CPU (2 threads); Big GPU", ""]
    store(runs, spec, values_of(spec), device=CPU)
    assert tabulate(table, PRESET, runs, VARIANTS)["device"][1] == "Epic CPU (1, 2 threads)"
    store(runs, spec, values_of(spec), device=CPU | {"devices": 2})
    assert tabulate(table, PRESET, runs, VARIANTS)["device"][1] == "Epic CPU (1, 2 threads), trained on 2 devices"


def test_a_row_on_two_contents_of_a_data_set_is_refused(
    table: Table, runs: Path, specs: list[RunSpec], store: Store
) -> None:
    other = {"digits": {"name": "MovingDigits", "source": "sklearn-digits", "digest": "b" * 64}}
    store(runs, (spec := find(specs, "detection", "none", 2)), values_of(spec), data=other)
    with pytest.raises(UsageError, match=r"row 'baseline': .*different contents of digits"):
        tabulate(table, PRESET, runs, VARIANTS)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"settings": {"motion": "none", "horizon": 8, "iterations": 51, "steps": [4, 8]}},
            r"settings\.iterations: expected 50, got 51",
        ),
        ({"seed": 7}, "seed: expected 0, got 7"),
        ({"experiment": "other"}, "experiment: expected 'detection', got 'other'"),
        ({"run_id": "detection-00000000-s0"}, "run_id: expected 'detection-.*', got 'detection-00000000-s0'"),
        ({"data": {}}, "data: expected digits, got none"),
        ({"metrics": {"keyframe_map": (1.0, "%")}}, "map needs its metric 'video_map'; it has keyframe_map"),
        ({"metrics": {"video_map": (0.6, "1")}}, "'video_map': expected the unit '%', got '1'"),
    ],
)
def test_a_record_that_is_not_the_run_is_refused(
    table: Table, runs: Path, specs: list[RunSpec], store: Store, changes: dict[str, Any], expected: str
) -> None:
    spec = find(specs, "detection", "none", 0)
    store(runs, spec, **{"metrics": values_of(spec), **changes})
    if "run_id" in changes:  # under the name of the run it is not
        (runs / f"{changes['run_id']}.json").rename(runs / f"{spec.run_id}.json")
    with pytest.raises(UsageError, match=expected) as caught:
        tabulate(table, PRESET, runs, VARIANTS)
    assert spec.run_id in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_another_data_set_is_named_and_is_its_own_content(tmp_path: Path, table: Table, store: Store) -> None:
    ours = table.rows[1]
    fast = dataclasses.replace(ours.measures[0], data={"digits": "fast"})
    both = dataclasses.replace(ours, id="both", measures=(fast, ours.measures[1]))
    mixed = dataclasses.replace(table, rows=(dataclasses.replace(ours, measures=ours.measures[:1]), both))
    variants = {**VARIANTS, "fast": "fast-sklearn-train5"}
    digests = {"digits-sklearn": "a" * 64, "fast-sklearn-train5": "b" * 64}
    for spec in runs_needed([mixed], PRESET, variants):
        facts = {
            name: {"name": "Digits", "source": "sklearn", "digest": digests[folder], "folder": folder}
            for name, folder in spec.data.items()
        }
        store(tmp_path, spec, values_of(spec), data=facts)
    frame = tabulate(mixed, PRESET, tmp_path, variants)
    ours, both = (
        "Digits (sklearn), stand-in for Digits of MNIST",
        "Digits (sklearn), fast, stand-in for Digits of MNIST",
    )
    assert frame["dataset"].tolist() == [ours, both]


def test_a_run_without_a_number_leaves_the_mean_to_the_others(
    table: Table, specs: list[RunSpec], runs: Path, store: Store
) -> None:
    first, second = (find(specs, "detection", "none", seed) for seed in (0, 1))
    why = "diverged, the loss is not finite at step 12"
    for spec in (first, second):
        store(runs, spec, {"epochs": (3.0, "1")}, absent={"video_map": why})
    baseline, ours, _ = tabulate(table, PRESET, runs, VARIANTS).to_dict("records")
    assert (baseline["map"], baseline["map_std"], baseline["seeds"]) == ("64.0", "", "3")
    assert baseline["note"] == f"map: no number from 2 of 3 runs: {why}" and baseline["status"] == "measured"
    assert ours["note"] == "on stand-in data; fps, flops_g: 1 run"
    third = find(specs, "detection", "none", 2)
    store(runs, third, {"epochs": (3.0, "1")}, absent={"video_map": "diverged, at step 9"})
    baseline, *_ = tabulate(table, PRESET, runs, VARIANTS).to_dict("records")
    assert (baseline["map"], baseline["map_std"]) == ("", ""), "a blank is a blank"
    assert baseline["note"] == f"map: no number from 3 of 3 runs: {why}, diverged, at step 9"


def test_a_column_that_every_table_has_is_refused(table: Table, runs: Path) -> None:
    taken = dataclasses.replace(table, keys={**table.keys, "scale": "Scale"})
    with pytest.raises(UsageError, match="every table has a column 'scale' of its own"):
        tabulate(taken, PRESET, runs, VARIANTS)
