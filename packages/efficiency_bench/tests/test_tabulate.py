"""From run records to a table's CSV: every column, and every record that must be refused."""

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pandas as pd
import pytest

from efficiency_bench import experiments
from efficiency_bench.errors import UsageError, WorkError
from efficiency_bench.files import write_json
from efficiency_bench.plan import RunSpec, runs_needed
from efficiency_bench.presets import Preset
from efficiency_bench.records import Metric, RunRecord, run_id
from efficiency_bench.sources import imported_modules
from efficiency_bench.tables import Table, load_table
from efficiency_bench.tabulate import tabulate, write_table

CPU = {"type": "cpu", "name": "Epic CPU", "threads": 2, "clock_mhz": None}
GPU = {"type": "cuda", "name": "Big GPU", "threads": 2, "clock_mhz": None}
VARIANTS = {"digits": "digits-sklearn"}
PRESET = Preset("quick", (0, 1, 2), (0,), {}, {"detection": {"iterations": 50}}, Path("quick.yaml"))


@dataclass(frozen=True)
class Detection:
    motion: Literal["annotated", "none"] = "annotated"
    iterations: int = 1000
    steps: tuple[int, ...] = (4, 8)


@dataclass(frozen=True)
class Speed:
    rounds: int = 3


@pytest.fixture(autouse=True)
def two_experiments(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {
        "detection": SimpleNamespace(
            name="detection", kind="train", settings_type=Detection, data=("digits",), start=lambda _: None
        ),
        "speed": SimpleNamespace(name="speed", kind="measure", settings_type=Speed, data=(), start=lambda _: None),
    }
    monkeypatch.setattr(experiments, "names", lambda: tuple(known))
    monkeypatch.setattr(experiments, "get", lambda name: known[name])


TABLE = """
table: "2.4"
caption: a baseline measured in part, ours measured by two experiments, theirs only reported
source: the thesis
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


def a_record(spec: RunSpec, values: dict[str, tuple[float, str]], **changes: Any) -> RunRecord:
    digits = {"name": "MovingDigits", "source": "sklearn-digits", "digest": "a" * 64}
    fields: dict[str, Any] = {
        "run_id": spec.run_id,
        "experiment": spec.experiment,
        "kind": spec.kind,
        "preset": "quick",
        "settings": spec.settings,
        "seed": spec.seed,
        "metrics": {name: Metric(*value) for name, value in values.items()},
        "protocol": {},
        "data": {name: digits for name in spec.data},
        "packages": {},
        "sources": {},
        "git": {"commit": None, "dirty": None},
        "device": CPU,
        "started": "2026-11-22T17:20:00Z",
        "duration_s": 1.0,
    }
    return RunRecord(**{**fields, **changes})


def store(folder: Path, record: RunRecord, name: str | None = None) -> None:
    write_json(folder / f"{name or record.run_id}.json", record.to_json())


def values_of(spec: RunSpec) -> dict[str, tuple[float, str]]:
    if spec.experiment == "speed":
        return {"fps_step4": (7.126, "frames/s"), "flops": (33.333, "GMAC/frame")}
    return {"video_map": (60.0 + 2 * spec.seed + (10 if spec.settings["motion"] == "annotated" else 0), "%")}


@pytest.fixture
def specs(table: Table) -> list[RunSpec]:
    return runs_needed([table], PRESET, VARIANTS)


@pytest.fixture
def runs(tmp_path: Path, specs: list[RunSpec]) -> Path:
    """A folder with every record the table needs."""
    for spec in specs:
        store(tmp_path, a_record(spec, values_of(spec)))
    return tmp_path


def replace_record(runs: Path, spec: RunSpec, **changes: Any) -> None:
    store(runs, a_record(spec, values_of(spec), **changes), name=spec.run_id)


def find(specs: Sequence[RunSpec], experiment: str, motion: str = "annotated", seed: int = 0) -> RunSpec:
    return next(
        spec
        for spec in specs
        if (spec.experiment, spec.settings.get("motion", motion), spec.seed) == (experiment, motion, seed)
    )


def test_runs_are_those_of_all_rows_once_each(table: Table, specs: list[RunSpec]) -> None:
    assert [(spec.experiment, spec.settings.get("motion"), spec.seed) for spec in specs] == [
        *(("detection", "none", seed) for seed in (0, 1, 2)),
        *(("detection", "annotated", seed) for seed in (0, 1, 2)),
        ("speed", None, 0),
    ]
    assert runs_needed([table, table], PRESET, VARIANTS) == specs


def test_a_run_id_hashes_every_setting_and_the_data(table: Table, specs: list[RunSpec]) -> None:
    first = specs[0]
    assert first.settings == {"motion": "none", "iterations": 50, "steps": [4, 8]}
    assert first.run_id == run_id("detection", first.settings, {"digits": "digits-sklearn"}, 0)
    assert first.assignments == ("motion=none", "iterations=50")
    assert runs_needed([table], PRESET, {"digits": "digits-mnist"})[0].run_id != first.run_id
    larger = dataclasses.replace(PRESET, experiments={"detection": {"iterations": 51}})
    assert runs_needed([table], larger, VARIANTS)[0].run_id != first.run_id


def test_a_data_set_without_a_folder_is_refused(table: Table) -> None:
    with pytest.raises(UsageError, match=r"detection reads digits: expected its folder \(--data digits=DIR\)"):
        runs_needed([table], PRESET, {})


def test_the_columns_stand_in_the_documented_order(table: Table, runs: Path) -> None:
    assert list(tabulate(table, PRESET, runs, VARIANTS).columns) == [
        "method", "backbone",
        "map_reported", "map_reported_std", "map", "map_std",
        "fps_reported", "fps", "fps_std",
        "flops_g_reported", "flops_g", "flops_g_std",
        "seeds", "dataset", "preset", "device", "status", "note",
    ]  # fmt: skip


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
    said = {name: baseline[name] for name in ("seeds", "dataset", "preset", "device", "status", "note")}
    assert said == {
        "seeds": "3",
        "dataset": "MovingDigits (sklearn-digits)",
        "preset": "quick",
        "device": "Epic CPU (2 threads)",
        "status": "measured",
        "note": "",
    }
    assert (ours["seeds"], ours["note"]) == ("3", "on stand-in data; fps, flops_g: 1 run")
    assert (theirs["status"], theirs["note"], theirs["map_reported"]) == (
        "reported_only",
        "needs their code",
        "84.5",
    )
    assert {theirs[name] for name in ("map", "map_std", "fps", "seeds", "dataset", "preset", "device")} == {""}


def test_the_csv_holds_the_printed_digits_and_blanks(table: Table, runs: Path, tmp_path: Path) -> None:
    path = tmp_path / "out" / "table2_4.csv"
    write_table(tabulate(table, PRESET, runs, VARIANTS), path)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[2].startswith("Ours,,87.20,,72.0,2.0,39.6,7.13,,,33.3,,3,")
    numbers = pd.read_csv(path)
    assert numbers["map"].tolist()[:2] == [62.0, 72.0] and math.isnan(numbers["map"][2])
    assert list(path.parent.iterdir()) == [path], "no temporary file stays"


def test_a_missing_run_is_an_error_that_says_how_to_make_it(table: Table, runs: Path, specs: list[RunSpec]) -> None:
    (runs / f"{specs[0].run_id}.json").unlink()
    with pytest.raises(WorkError) as caught:
        tabulate(table, PRESET, runs, VARIANTS)
    message = str(caught.value)
    assert f"{specs[0].run_id} (row 'baseline')" in message and specs[1].run_id not in message
    assert "snakemake results/table2_4.csv --config preset=quick" in message and "--allow-missing" in message


def test_many_missing_runs_are_counted_not_listed(table: Table, tmp_path: Path) -> None:
    with pytest.raises(WorkError, match="and 3 more\n"):
        tabulate(table, PRESET, tmp_path, VARIANTS)


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


def test_one_seed_has_no_spread(table: Table, tmp_path: Path) -> None:
    one = dataclasses.replace(PRESET, seeds=(0,))
    for spec in runs_needed([table], one, VARIANTS):
        store(tmp_path, a_record(spec, values_of(spec)))
    row = tabulate(table, one, tmp_path, VARIANTS).iloc[0]
    assert (row["map"], row["map_std"], row["seeds"]) == ("60.0", "", "1")


def test_a_row_on_two_devices_is_refused_or_lists_them(table: Table, runs: Path, specs: list[RunSpec]) -> None:
    replace_record(runs, find(specs, "speed"), device=GPU)
    with pytest.raises(UsageError, match=r"row 'ours': .*Epic CPU \(2 threads\); Big GPU.*--mix-devices"):
        tabulate(table, PRESET, runs, VARIANTS)
    rows = tabulate(table, PRESET, runs, VARIANTS, mix_devices=True)
    assert rows["device"].tolist() == ["Epic CPU (2 threads)", "Epic CPU (2 threads); Big GPU", ""]


def test_other_threads_of_one_processor_are_listed(table: Table, runs: Path, specs: list[RunSpec]) -> None:
    replace_record(runs, find(specs, "speed"), device={**CPU, "threads": 1})
    assert tabulate(table, PRESET, runs, VARIANTS)["device"][1] == "Epic CPU (1, 2 threads)"


def test_a_row_on_two_contents_of_a_data_set_is_refused(table: Table, runs: Path, specs: list[RunSpec]) -> None:
    other = {"digits": {"name": "MovingDigits", "source": "sklearn-digits", "digest": "b" * 64}}
    replace_record(runs, find(specs, "detection", "none", 2), data=other)
    with pytest.raises(UsageError, match=r"row 'baseline': .*different contents of digits"):
        tabulate(table, PRESET, runs, VARIANTS)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"settings": {"motion": "none", "iterations": 51, "steps": [4, 8]}},
            "settings: expected .*50.* got .*51",
        ),
        ({"seed": 7}, "seed: expected 0, got 7"),
        ({"experiment": "other"}, "experiment: expected 'detection', got 'other'"),
        ({"run_id": "detection-00000000-s0"}, "run_id: expected 'detection-.*', got 'detection-00000000-s0'"),
        ({"data": {}}, "data: expected digits, got none"),
        (
            {"metrics": {"keyframe_map": Metric(1.0, "%")}},
            "map needs its metric 'video_map'; it has keyframe_map",
        ),
        ({"metrics": {"video_map": Metric(0.6, "1")}}, "'video_map': expected the unit '%', got '1'"),
    ],
)
def test_a_record_that_is_not_the_run_is_refused(
    table: Table, runs: Path, specs: list[RunSpec], changes: dict[str, Any], expected: str
) -> None:
    spec = find(specs, "detection", "none", 0)
    replace_record(runs, spec, **changes)
    with pytest.raises(UsageError, match=expected) as caught:
        tabulate(table, PRESET, runs, VARIANTS)
    assert spec.run_id in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_cut_off_record_is_refused(table: Table, runs: Path, specs: list[RunSpec]) -> None:
    path = runs / f"{specs[0].run_id}.json"
    path.write_text(json.dumps({"schema_version": 1})[:-3], encoding="utf-8")
    with pytest.raises(UsageError, match=specs[0].run_id):
        tabulate(table, PRESET, runs, VARIANTS)


def test_an_experiment_names_the_modules_it_uses() -> None:
    def function() -> None:
        from efficiency_bench import speed  # noqa: F401  read from the source, never run

    names = imported_modules(function)
    assert {"pathlib", "efficiency_bench", "efficiency_bench.speed", "efficiency_bench.plan"} <= set(names)
    assert {"efficiency_bench.errors", "efficiency_bench.nvml"} <= set(imported_modules(_resolve_device()))
    assert "efficiency_bench.devices" in imported_modules(_resolve_device()), "its own module"


def _resolve_device() -> Any:
    from efficiency_bench.devices import resolve_device

    return resolve_device


def test_another_data_set_is_named_and_is_its_own_content(tmp_path: Path, table: Table) -> None:
    ours = table.rows[1]
    fast = dataclasses.replace(ours.measures[0], data={"digits": "fast"})
    both = dataclasses.replace(ours, id="both", measures=(fast, dataclasses.replace(ours.measures[1])))
    plain = dataclasses.replace(ours, measures=(ours.measures[0],))
    rows = (plain, both)
    mixed = dataclasses.replace(table, rows=rows)
    variants = {**VARIANTS, "fast": "fast-sklearn-train5"}
    specs = runs_needed([mixed], PRESET, variants)
    assert {folder for spec in specs for folder in spec.data.values()} == {"digits-sklearn", "fast-sklearn-train5"}
    for spec in specs:
        facts = {
            name: {
                "name": "Digits",
                "source": "sklearn",
                "digest": ("a" if "fast" in folder else "b") * 64,
                "folder": folder,
            }
            for name, folder in spec.data.items()
        }
        store(tmp_path, a_record(spec, values_of(spec), data=facts))
    frame = tabulate(mixed, PRESET, tmp_path, variants)
    assert frame["dataset"].tolist() == ["Digits (sklearn)", "Digits (sklearn), fast"]


def test_a_run_without_a_number_leaves_the_mean_to_the_others(table: Table, specs: list[RunSpec], runs: Path) -> None:
    first, second = (find(specs, "detection", "none", seed) for seed in (0, 1))
    why = "diverged, the loss is not finite at step 12"
    for spec in (first, second):
        store(runs, a_record(spec, {"epochs": (3.0, "1")}, absent={"video_map": why}))
    baseline, ours, _ = tabulate(table, PRESET, runs, VARIANTS).to_dict("records")
    assert (baseline["map"], baseline["map_std"], baseline["seeds"]) == ("64.0", "", "3")
    assert baseline["note"] == f"map: no number from 2 of 3 runs: {why}" and baseline["status"] == "measured"
    assert ours["note"] == "on stand-in data; fps, flops_g: 1 run"
    third = find(specs, "detection", "none", 2)
    store(runs, a_record(third, {"epochs": (3.0, "1")}, absent={"video_map": "diverged, at step 9"}))
    baseline, *_ = tabulate(table, PRESET, runs, VARIANTS).to_dict("records")
    assert (baseline["map"], baseline["map_std"]) == ("", ""), "a blank is a blank"
    assert baseline["note"] == f"map: no number from 3 of 3 runs: {why}, diverged, at step 9"
