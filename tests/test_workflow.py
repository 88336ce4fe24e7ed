"""The workflow as a whole: tables hold what the thesis prints, and every target of every preset is planned."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from efficiency_bench.data_sets import choose_variants, load_data_sets, with_real_settings
from efficiency_bench.figures import figure_runs, find_figures
from efficiency_bench.plan import RunSpec, runs_needed
from efficiency_bench.presets import find_preset
from efficiency_bench.tables import Row, Table, find_tables

ROOT = Path(__file__).parents[1]
TABLES = find_tables(ROOT / "workflows" / "tables")
FIGURES = find_figures(ROOT / "workflows" / "figures")
DATA_SETS = load_data_sets(ROOT / "workflows" / "data.yaml")
PRESETS = ("smoke", "quick", "cpu", "paper")

# Typed from the printed thesis, apart from the YAML files: one line per row, cells divided by |.
TABLE_2_1 = """
Randomized positions|62.68
No motion|73.51
Simulated smooth motion|76.57
Annotated motion|79.31
"""
TABLE_2_2 = """
L_bag|87.54 ± 0.16|83.97 ± 0.71
L_Sigma|87.95 ± 0.27|84.09 ± 0.67
L_bag(delta)|85.19 ± 0.66|79.73 ± 1.01
L_traj|89.20 ± 0.21|86.15 ± 0.75
"""
TABLE_2_3 = """
T=4|91.03 ± 0.19|90.35 ± 0.34|74.61 ± 0.72|90.76 ± 0.26
T=8|87.94 ± 0.66|86.98 ± 0.73|68.76 ± 0.99|87.12 ± 0.69
"""
TABLE_2_4 = """
Faster-RCNN [64]|R101|✓|73.6|1.55|21.2
LWND [19]|R101|✓|76.3|-|20.0
FGFA [10]|R101||78.4|6.59|5.0
THP [11]|R101+DCN|✓|78.6|-|-
ST-Lattice [13]|R101||79.6|1.40|20.0
D&T [22]|R101||80.2|6.56|5.0
MANet [12]|R101||80.3|6.88|4.9
STSN [66]|R101+DCN||80.4|-|-
STMN [67]|R101||80.5|2.49|13.2
TROI [68]|R101||80.5|5.18|6.4
SELSA [14]|R101||80.5|3.15|10.6
OGEMN [69]|R101+DCN||81.6|-|8.9
SparseVOD [70]|R101|✓|81.9|-|14.4
BoxMask [71]|R101|✓|83.2|-|6.1
RDN [72]|R101||83.8|-|-
HVRNet [17]|R101||83.8|-|-
TF-Blender [16]|R101|✓|83.8|-|4.9
MEGA [15]|R101||84.5|6.34|5.3
Ours|R101|✓|87.2|0.78|39.6
"""
TABLE_2_5 = """
FGFA [10]|R101|78.4|83.5|75.8|57.6
MANet [12]|R101|80.3|86.9|76.8|56.7
SELSA [14]|R101|80.5|86.9|78.9|61.4
OGEMN [69]|R101+DCN|81.6|86.2|78.7|61.1
HVRNet [17]|R101|83.8|88.7|82.3|66.6
IFFNet [18]|R101|79.7|87.5|78.7|60.6
Ours|R101|87.2|92.2|86.1|66.5
"""
TABLE_2_6 = """
EPIC [2]|34.2|8.5|32.0|7.9
Faster-RCNN [14]|36.6|9.9|31.9|7.4
SELSA [14]|37.9|9.8|34.8|8.1
SELSA-ReIm + TROI [68]|42.2|-|39.6|-
BoxMask [71]|44.3|18.5|41.3|15.7
Ours|44.9|18.7|41.7|16.0
"""
TABLE_2_7 = """
Faster-RCNN [64]|60|60|47.6
Faster-RCNN [64]|30|30|58.7
Ours L_traj|60|30|51.3
Ours L_traj(sa)|30|1|59.8
"""


def _cells(text: str) -> list[list[str]]:
    return [line.split("|") for line in text.strip().splitlines()]


def _names(table: Table) -> list[str]:
    return [f"{row.keys['method']} {row.keys.get('reference', '')}".strip() for row in table.rows]


def _printed_with_spread(table: Table, metrics: tuple[str, ...]) -> list[list[str]]:
    return [[f"{row.reported[name]} ± {row.reported_std[name]}" for name in metrics] for row in table.rows]


def _printed(table: Table, metrics: tuple[str, ...]) -> list[list[str]]:
    return [[row.reported.get(name, "-") for name in metrics] for row in table.rows]


def test_table_2_1_holds_what_the_thesis_prints() -> None:
    table = TABLES["table2_1"]
    cells = [line.split("|") for line in TABLE_2_1.strip().splitlines()]
    assert [row.keys["motion"] for row in table.rows] == [cell[0] for cell in cells]
    assert _printed(table, ("keyframe_map",)) == [cell[1:] for cell in cells]


def test_table_2_4_holds_what_the_thesis_prints() -> None:
    table = TABLES["table2_4"]
    cells = [line.split("|") for line in TABLE_2_4.strip().splitlines()]
    printed, added = _printed_and_added(table)
    assert [row.id for row in added] == ["key_boxes_copied", "constant_velocity", "interpolation", "dff"]
    names = [f"{row.keys['method']} {row.keys.get('reference', '')}".strip() for row in printed.rows]
    assert names == [cell[0] for cell in cells]
    assert [row.keys["backbone"] for row in printed.rows] == [cell[1] for cell in cells]
    assert [row.keys.get("no_post_processing") == "yes" for row in printed.rows] == [cell[2] == "✓" for cell in cells]
    assert _printed(printed, ("map", "train_time_h_per_epoch", "fps")) == [cell[3:] for cell in cells]
    assert [row.id for row in printed.rows if row.measures] == ["faster_rcnn", "fgfa", "selsa", "ours"]


def _printed_and_added(table: Table) -> tuple[Table, list[Row]]:
    """The table as the thesis prints it, and the rows this project adds after it, which say so."""
    added = [row for row in table.rows if row.note.startswith("added")]
    printed = [row for row in table.rows if not row.note.startswith("added")]
    assert [*printed, *added] == list(table.rows)
    assert not any(row.reported for row in added)
    return replace(table, rows=tuple(printed)), added


def test_tables_2_2_and_2_3_hold_what_the_thesis_prints() -> None:
    cells = _cells(TABLE_2_2)
    assert [row.keys["loss"] for row in TABLES["table2_2"].rows] == [cell[0] for cell in cells]
    assert _printed_with_spread(TABLES["table2_2"], ("map_t4", "map_t8")) == [cell[1:] for cell in cells]
    cells = _cells(TABLE_2_3)
    assert [row.keys["horizon"] for row in TABLES["table2_3"].rows] == [cell[0] for cell in cells]
    metrics = ("traj", "sigma_sa", "bag_delta_sa", "traj_sa")
    assert _printed_with_spread(TABLES["table2_3"], metrics) == [cell[1:] for cell in cells]


def test_tables_2_5_to_2_7_hold_what_the_thesis_prints() -> None:
    cells = _cells(TABLE_2_5)
    table, added = _printed_and_added(TABLES["table2_5"])
    assert [row.id for row in added] == ["faster_rcnn", "key_boxes_copied"]
    assert _names(table) == [cell[0] for cell in cells]
    assert [row.keys["backbone"] for row in table.rows] == [cell[1] for cell in cells]
    assert _printed(table, ("map", "map_slow", "map_medium", "map_fast")) == [cell[2:] for cell in cells]
    cells, table = _cells(TABLE_2_6), TABLES["table2_6"]
    assert _names(table) == [cell[0] for cell in cells]
    assert _printed(table, ("s1_map_50", "s1_map_75", "s2_map_50", "s2_map_75")) == [cell[1:] for cell in cells]
    cells, table = _cells(TABLE_2_7), TABLES["table2_7"]
    assert _names(table) == [cell[0] for cell in cells]
    assert [[row.keys["keyframe_step"], row.keys["label_step"]] for row in table.rows] == [cell[1:3] for cell in cells]
    assert _printed(table, ("map",)) == [cell[3:] for cell in cells]


def test_figures_hold_only_numbers_of_the_text() -> None:
    chapters = {"2": "4567", "3": "45678", "4": "1345", "5": [*"23456789", "10", "11", "12"]}
    assert set(FIGURES) == {f"fig{chapter}_{number}" for chapter, numbers in chapters.items() for number in numbers}
    with_points = [name for name, figure in FIGURES.items() if figure.points is not None]
    assert [name for name in with_points if any(row.reported for row in FIGURES[name].points.rows)] == ["fig2_5"]
    points = FIGURES["fig2_5"].points
    assert points is not None
    # "we can reach an mAP of 89.2% with a runtime of 39.6 FPS" (2.4.2, A3), at T=4 (2.4.3, S1)
    assert {row.keys["point"]: dict(row.reported) for row in points.rows if row.reported} == {
        "T=4": {"fps": "39.6", "map": "89.2"}
    }


def _generator(folder: str) -> str:
    generated = DATA_SETS[folder.partition("-")[0]].generated
    assert generated is not None
    return generated.generator


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_only_printed_columns_hold_printed_numbers_and_the_rest_say_what_is_missing(table: Table) -> None:
    printed = {name for name, column in table.metrics.items() if column.printed}
    assert printed == {name for row in table.rows for name in row.reported}
    for row in table.rows:
        assert row.measures or "needs" in row.missing, row.id


def all_runs(folder: Path, preset_name: str, data_root: str = "") -> list[RunSpec]:
    """Every run of every table and figure of the workflow in `folder`."""
    preset = with_real_settings(find_preset(folder / "workflows" / "config", preset_name), DATA_SETS)
    folders = {name: made.folder for name, made in choose_variants(DATA_SETS, preset, data_root).items()}
    runs = [*runs_needed(TABLES.values(), preset, folders), *figure_runs(FIGURES.values(), preset, folders)]
    return list({run.run_id: run for run in runs}.values())


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_gives_every_table_and_figure_its_runs(name: str) -> None:
    preset = find_preset(ROOT / "workflows" / "config", name)
    runs = all_runs(ROOT, name)
    motions = {run.settings["motion"] for run in runs if run.experiment == "video_detection"}
    assert motions == {"random", "none", "simulated", "annotated", "linear"}
    assert {run.seed for run in runs if run.kind == "train"} == set(preset.seeds)


def test_stand_ins_share_their_runs_and_the_thesis_s_own_set_has_its_own() -> None:
    """Table 2.2's L_traj at T=8 on the stand-in is table 2.1's annotated motion; no run reads a real set without one."""
    preset = find_preset(ROOT / "workflows" / "config", "paper")
    folders = {name: made.folder for name, made in choose_variants(DATA_SETS, preset, "").items()}
    of_2_1 = {run.run_id for run in runs_needed([TABLES["table2_1"]], preset, folders)}
    of_2_2 = {run.run_id for run in runs_needed([TABLES["table2_2"]], preset, folders)}
    assert len(of_2_1 & of_2_2) == len(preset.seeds)
    assert {name for name in folders.values() if name.startswith(("imagenet", "epic", "youtube"))} == set()


def test_a_real_set_brings_the_thesis_s_settings(tmp_path: Path) -> None:
    for place in ("Data/VID", "Data/DET", "Annotations/VID", "Annotations/DET"):
        (tmp_path / "ILSVRC2015" / place).mkdir(parents=True)
    runs = all_runs(ROOT, "paper", str(tmp_path))
    vid = [run for run in runs if run.data.get("moving_digits") == "imagenet_vid-ilsvrc2015"]
    assert vid and {run.settings["iterations"] for run in vid} == {120000}
    assert {run.settings["backbone"] for run in vid} == {"resnet101"}
    assert {run.settings["learning_rate"] for run in vid} == {0.001}
    digits = [run for run in runs if run.data.get("moving_digits") == "moving_digits-sklearn"]
    assert {run.settings["iterations"] for run in digits} == {1250}, "table 2.1 stays on MovingDigits"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the workflow and of the packages' sources, so that nothing is written to the repository."""
    folder = tmp_path_factory.mktemp("project")
    for file in ("Snakefile", "environment.yml"):
        shutil.copy(ROOT / file, folder)
    for source in ("workflows", "profiles", "packages", "datasets"):
        ignored = shutil.ignore_patterns("__pycache__", "tests", ".*", "*.egg-info")
        shutil.copytree(ROOT / source, folder / source, ignore=ignored)
    return folder


def snakemake(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    commands = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"EFFICIENCY_DATA": "", "PATH": commands, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "snakemake", *arguments]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_target_is_planned(project: Path, preset: str) -> None:
    if preset == "paper":  # once with real digits and ImageNet VID
        (project / "real" / "MNIST" / "raw").mkdir(parents=True)
        for place in ("Data/VID", "Data/DET", "Annotations/VID", "Annotations/DET"):
            (project / "real" / "ILSVRC2015" / place).mkdir(parents=True)
    root = "real" if preset == "paper" else ""
    targets = [*(f"results/{table}.csv" for table in TABLES), *(f"results/{figure}.svg" for figure in FIGURES)]
    done = snakemake(project, "-n", "all", *targets, "--config", f"preset={preset}", f"data_root={root}", "device=cpu")
    assert done.returncode == 0, done.stderr
    plan = done.stdout + done.stderr
    runs = all_runs(project, preset, str(project / root) if root else "")
    for run in runs:
        assert f"--out results/runs/{run.run_id}.json" in plan
    for folder in {folder for run in runs for folder in run.data.values()}:
        if folder.endswith("-ilsvrc2015"):
            assert '"$EFFICIENCY_DATA"/ILSVRC2015 --split val' in plan and f"--out data/{folder}/test.json" in plan
        else:
            assert len(re.findall(rf"synthdata build {_generator(folder)} --out data/{folder} ", plan)) == 1
    if root:
        assert "--images moving_digits/train_det=ILSVRC2015/Data/DET" in plan
        assert "--classes dog,giant_panda,hamster" in plan
    assert len(re.findall("effbench tabulate", plan)) == len(TABLES)
    assert len(re.findall("effbench plot", plan)) == len(FIGURES)
    variant = next(run.data["moving_digits"] for run in runs if run.experiment == "video_detection")
    training = next(block for block in plan.split("\n\n") if "rule train:" in block and f"data/{variant}/" in block)
    for needed in (f"data/{variant}/train.h5", "results/.src/location_anticipation.sha256"):
        assert needed in training, "a training is repeated when its data or its package's source changes"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--config", "preset=fast"], "error: unknown preset 'fast'; there are cpu, paper, quick, smoke"),
        (
            ["--config", "prset=smoke"],
            "error: --config: unknown key 'prset'; expected one of data_root, device, ",
        ),
        (["results/table9_9.csv"], "error: no table9_9 in workflows/tables; there are table2_1, table2_2, "),
        (["results/fig9_9.svg"], "error: no fig9_9 in workflows/figures; there are fig2_4, fig2_5, fig2_6, fig2_7"),
    ],
)
def test_a_wrong_request_ends_in_one_line(project: Path, arguments: list[str], expected: str) -> None:
    done = snakemake(project, "-n", *arguments)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(expected)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("data.yaml", "stand_in: moving_digits_speeds", "stand_in: digits", "no data set 'digits'"),
        ("figures/fig2_5.yaml", "x: fps\n", "x: speed\n", "metric 'speed' is not declared"),
        (
            "tables/table2_5.yaml",
            "moving_digits: imagenet_vid}",
            "moving_digits: vid}",
            "peer_detection reads vid",
        ),
        ("config/smoke.yaml", "moving_digits_seen:", "moving_digits_sin:", "unknown data set 'moving_digits_sin'"),
    ],
)
def test_a_mistake_in_a_file_ends_in_one_line(project: Path, file: str, old: str, new: str, expected: str) -> None:
    path = project / "workflows" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    try:
        done = snakemake(project, "-n", "--config", "preset=smoke")
    finally:
        path.write_text(text)
    assert done.returncode == 2, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: workflows/") and expected in last and "Traceback" not in done.stderr


def test_the_rules_are_lint_clean(project: Path) -> None:
    done = snakemake(project, "--lint")
    assert done.returncode == 0, done.stderr


def test_an_edited_source_repeats_what_rests_on_it_and_a_touched_one_does_not(project: Path) -> None:
    digest = "results/.src/location_anticipation.sha256"
    done = snakemake(project, digest)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch("[0-9a-f]{64}\n", (project / digest).read_text())

    source = project / "packages/location_anticipation/src/location_anticipation/offsets.py"
    os.utime(source)
    planned = snakemake(project, "-n", digest)
    assert planned.returncode == 0 and "Nothing to be done" in planned.stdout + planned.stderr

    source.write_text(source.read_text() + "# edited\n")
    planned = snakemake(project, "-n", digest)
    assert "rule source_digest:" in planned.stdout + planned.stderr
