"""The Snakefile: every target is planned, mistakes end in one line, and what is repeated when something changes."""

import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def plan(project: Any) -> str:
    """What a dry run of everything prints, in folders with a space in their names."""
    done = project.snakemake("-n", "all")
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_every_run_is_planned_with_its_data(workflow: Any, project: Any, plan: str) -> None:
    runs = workflow.runs([*workflow.tables, *workflow.figures], "paper", project.folder / "real data").values()
    for run in runs:
        assert f"--out 'my results/runs/{run.run_id}.json' > 'my results/logs/runs/{run.run_id}.log'" in plan
    for folder in {folder for run in runs for folder in run.data.values()}:
        if folder.endswith("-ilsvrc2015"):
            assert '"$EFFICIENCY_DATA"/ILSVRC2015 --split val' in plan and f"--out data/{folder}/test.json" in plan
        else:
            generator = workflow.data_sets[folder.partition("-")[0]].generator
            assert len(re.findall(rf"synthdata build {generator} --out data/{folder} ", plan)) == 1
    assert "--images moving_digits/train_det=ILSVRC2015/Data/DET" in plan
    assert "--classes dog,giant_panda,hamster" in plan
    assert len(re.findall("effbench tabulate", plan)) == len(workflow.tables)
    assert len(re.findall("effbench plot", plan)) == len(workflow.figures)


def test_a_training_waits_for_its_data_and_its_source(plan: str) -> None:
    jobs = [block for block in plan.split("\n\n") if "rule train:" in block]
    (job, *_) = (block for block in jobs if "effbench run video_detection " in block and "moving_digits-mnist" in block)
    for needed in ("data/moving_digits-mnist/train.h5", "my results/.src/video_detection.sha256"):
        assert needed in job


def test_the_report_waits_for_all_that_it_shows(workflow: Any, plan: str) -> None:
    (job,) = (block for block in plan.split("\n\n") if "rule report:" in block)
    shown = [f"{name}.csv" for name in [*workflow.tables, "claims"]] + [f"{name}.svg" for name in workflow.figures]
    assert [name for name in shown if f"my results/{name}" not in job] == []
    assert "my results/.src/report.sha256" in job and "--out 'my results/report.html'" in job


def test_a_claim_needs_its_own_runs_alone(project: Any) -> None:
    done = project.snakemake("-n", "my results/claims/ch5_variance_kept.csv", preset="cpu")
    assert done.returncode == 0, done.stderr
    planned = done.stdout + done.stderr
    runs = set(re.findall(r"--out 'my results/runs/(\S+).json'", planned))
    assert sorted(run.rpartition("-")[2] for run in runs) == ["s0", "s1", "s2"]
    assert {run.partition("-")[0] for run in runs} == {"activation_distributions"}
    (judged,) = re.findall(r"effbench claims .*", planned)
    assert "--only ch5_variance_kept --out 'my results/claims/ch5_variance_kept.csv'" in judged


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("my results/claims/ch5_none.csv", "error: no ch5_none in workflows/claims.yaml; there are ch2_"),
        (
            "my results/claims/ch5_varience_kept.csv",
            "error: my results/claims/ch5_varience_kept.csv: no such result; "
            "did you mean my results/claims/ch5_variance_kept.csv?",
        ),
        (
            "my results/ch5_variance_kept.csv",
            "error: my results/ch5_variance_kept.csv: results are in my results/claims; "
            "ask for my results/claims/ch5_variance_kept.csv",
        ),
    ],
)
def test_a_claim_that_is_not_there_ends_in_one_line(project: Any, asked: str, expected: str) -> None:
    done = project.snakemake("-n", asked)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(expected) and "Traceback" not in done.stderr


def test_an_edited_source_repeats_what_rests_on_it_and_nothing_else(project: Any, plan: str) -> None:
    before = project.digests()
    form = ("records/run_record.py", "commands/running.py", "run.py")
    work = ("measure/flops.py", "experiments/normalisation/activation_distributions.py")
    for file in (*form, *work):
        path = project.folder / "packages/efficiency_bench/src/efficiency_bench" / file
        path.write_text(path.read_text() + "# edited\n")
    done = project.snakemake("--list")
    assert done.returncode == 0, done.stderr
    after = project.digests()
    changed = {name for name in after if after[name] != before[name]}
    assert {"video_detection_speed", "activation_distributions", "tabulate", "plot"} <= changed
    assert not {"video_detection", "image_matching", "action_recognition", "convert"} & changed


def test_a_target_that_is_not_there_ends_in_one_line(project: Any) -> None:
    done = project.snakemake("-n", "my results/table9_9.csv")
    assert done.returncode == 2
    expected = "error: no table9_9 in workflows/tables; there are table2_1, table2_2, "
    assert done.stderr.splitlines()[-1].startswith(expected) and "Traceback" not in done.stderr
    done = project.snakemake("-n", "results/table2_4.csv")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "error: results/table2_4.csv: results are in my results; ask for my results/table2_4.csv"
    )


def test_a_mistake_in_a_file_ends_in_one_line(project: Any) -> None:
    path = project.folder / "workflows" / "figures" / "fig2_5.yaml"
    text = path.read_text()
    path.write_text(text.replace("x: fps\n", "x: speed\n", 1))
    done = project.snakemake("-n")
    path.write_text(text)
    assert done.returncode == 2, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: workflows/figures/fig2_5.yaml") and "'speed'" in last
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("file", "was", "now"),
    [
        ("workflows/config/smoke.yaml", "seeds: [0]\n", "sedes: [0]\n"),
        ("workflows/tables/table2_1.yaml", "printed: true", "prnted: true"),
        ("workflows/data.yaml", "generator: moving-digits", "generator: moving-digit"),
    ],
)
def test_a_mistyped_key_names_the_file_and_the_line(project: Any, file: str, was: str, now: str) -> None:
    path = project.folder / file
    text = path.read_text()
    path.write_text(text.replace(was, now, 1))
    done = project.snakemake("-n", preset="smoke")
    path.write_text(text)
    line = text[: text.index(was)].count("\n") + 1
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 2 and last.startswith(f"error: {file}, line {line}: ") and "Traceback" not in done.stderr


def test_an_unknown_preset_and_a_package_that_is_missing_end_in_one_line(project: Any) -> None:
    done = project.snakemake("-n", preset="smok")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "error: workflows/config: unknown preset 'smok'; there are cpu, paper, pretrained, quick, smoke"
    )
    moved = project.folder / "packages" / "efficiency_core" / "src" / "efficiency_core" / "settings.py"
    moved.rename(moved.with_suffix(".off"))
    done = project.snakemake("-n")
    moved.with_suffix(".off").rename(moved)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: efficiency_core.settings is not installed for ")


def test_a_build_of_a_table_ends_with_the_table(project: Any) -> None:
    """Of kept records: then nothing is left to do but the table."""
    target = "my results/table2_1.csv"
    assert project.snakemake("-n", target).returncode == 0, "writes digests of the sources, which must be older"
    for file in ("train.h5", "test.h5", "card.json", "preview.png"):
        place = project.folder / "data" / "moving_digits-mnist" / file
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    runs = project.folder / "my results" / "runs"
    runs.mkdir(exist_ok=True)
    for record in ROOT.glob("results/reference/amd-epyc-2-cores/runs/video_detection-*.json"):
        shutil.copyfile(record, runs / record.name)
    done = project.snakemake(target, "--cores", "1", worker="false")
    assert done.returncode == 0, done.stderr
    assert set(re.findall(r"^(?:local)?rule (\w+):", done.stderr, re.MULTILINE)) == {"tabulate"}
    kept = pd.read_csv(ROOT / "results/reference/amd-epyc-2-cores/table2_1.csv", dtype=str)
    printed = done.stdout.splitlines()
    assert printed[0] == "Table 2.1" and "\x1b[" not in done.stdout, "no colours in a pipe"
    for row in kept.to_dict("records"):
        numbers = f"{row['keyframe_map_reported']}   {row['keyframe_map']} ± {row['keyframe_map_std']}"
        assert any(row["motion"] in line and numbers in line for line in printed), numbers
