"""The workflow as a whole: tables hold what the thesis prints, and every target of every preset is planned."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from efficiency_bench.plan import runs_needed
from efficiency_bench.presets import find_preset
from efficiency_bench.tables import Table, find_tables

ROOT = Path(__file__).parents[1]
TABLES = find_tables(ROOT / "workflows" / "tables")
PRESETS = ("smoke", "quick", "paper")

# Typed from the printed thesis, apart from the YAML files: one line per row, cells divided by |.
TABLE_2_1 = """
Randomized positions|62.68
No motion|73.51
Simulated smooth motion|76.57
Annotated motion|79.31
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
    names = [f"{row.keys['method']} {row.keys.get('reference', '')}".strip() for row in table.rows]
    assert names == [cell[0] for cell in cells]
    assert [row.keys["backbone"] for row in table.rows] == [cell[1] for cell in cells]
    assert [row.keys.get("no_post_processing") == "yes" for row in table.rows] == [cell[2] == "✓" for cell in cells]
    assert _printed(table, ("map", "train_time_h_per_epoch", "fps")) == [cell[3:] for cell in cells]
    assert [row.id for row in table.rows if row.measures] == ["faster_rcnn", "ours"]


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_only_printed_columns_hold_printed_numbers_and_the_rest_say_what_is_missing(table: Table) -> None:
    printed = {name for name, column in table.metrics.items() if column.printed}
    assert printed == {name for row in table.rows for name in row.reported}
    for row in table.rows:
        assert row.measures or "needs" in row.missing, row.id


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_gives_every_table_its_runs(name: str) -> None:
    preset = find_preset(ROOT / "workflows" / "config", name)
    runs = runs_needed(TABLES.values(), preset, {"moving_digits": preset.data_variant("moving_digits", "mnist")})
    motions = {run.settings["motion"] for run in runs if run.experiment == "moving_digits_detection"}
    assert motions == {"random", "none", "simulated", "annotated"}
    assert len({run.run_id for run in runs}) == len(runs)
    assert {run.seed for run in runs if run.kind == "train"} == set(preset.seeds)


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
    if preset == "paper":  # once with real digits
        (project / "real" / "MNIST" / "raw").mkdir(parents=True)
    root = "data_root=real" if preset == "paper" else "data_root="
    targets = [f"results/{table}.csv" for table in TABLES]
    done = snakemake(project, "-n", "all", *targets, "--config", f"preset={preset}", root, "device=cpu")
    assert done.returncode == 0, done.stderr
    plan = done.stdout + done.stderr
    loaded = find_preset(project / "workflows" / "config", preset)
    variant = loaded.data_variant("moving_digits", "mnist" if preset == "paper" else "sklearn")
    for run in runs_needed(TABLES.values(), loaded, {"moving_digits": variant}):
        assert f"--out results/runs/{run.run_id}.json" in plan
    assert len(re.findall(rf"synthdata build moving-digits --out data/{variant} ", plan)) == 1
    assert len(re.findall("effbench tabulate", plan)) == len(TABLES)
    training = next(block for block in plan.split("\n\n") if "rule train:" in block)
    for needed in (f"data/{variant}/train.h5", "results/.src/location_anticipation.sha256"):
        assert needed in training, "a training is repeated when its data or its package's source changes"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--config", "preset=fast"], "error: unknown preset 'fast'; there are paper, quick, smoke"),
        (
            ["--config", "prset=smoke"],
            "error: --config: unknown key 'prset'; expected one of data_root, device, ",
        ),
        (["results/table9_9.csv"], "error: no table9_9 in workflows/tables; there are table2_1, table2_4"),
    ],
)
def test_a_wrong_request_ends_in_one_line(project: Path, arguments: list[str], expected: str) -> None:
    done = snakemake(project, "-n", *arguments)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(expected)
    assert "Traceback" not in done.stderr


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
