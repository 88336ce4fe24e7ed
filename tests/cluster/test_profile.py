"""The profile for SLURM, without SLURM: it can start, and every rule asks for what it needs."""

import re
from typing import Any

import pytest

TARGETS = ("results/table3_3.csv", "results/table5_3.csv")
CPU = ("--config", "preset=smoke", "device=cpu")
Job = dict[str, str]


def plan_of(project: Any, *arguments: str) -> list[Job]:
    """What a dry run says of each job: its rule, command, threads and resources."""
    done = project.snakemake("-n", "--cores", "64", *TARGETS, *arguments)
    assert done.returncode == 0, done.stderr
    plan = []
    for name, below in re.findall(r"^rule (\w+):\n((?:.+\n)+(?:\n\w.*\n)?)", done.stdout + done.stderr, re.MULTILINE):
        lines = [line.strip() for line in below.splitlines()]
        said = dict(line.split(": ", 1) for line in lines if ": " in line)
        resources = dict(part.split("=", 1) for part in said["resources"].split(", ") if "=" in part)
        plan.append({"rule": name, "command": lines[-1], "threads": said.get("threads", "1"), **resources})
    return plan


def of(plan: list[Job], rule: str, *names: str) -> set[tuple[str, ...]]:
    """The different values of some resources among the jobs of a rule."""
    return {tuple(job.get(name, "") for name in names) for job in plan if job["rule"] == rule}


@pytest.fixture(scope="module")
def plan(project: Any) -> list[Job]:
    """Where no node has a GPU."""
    return plan_of(project, *CPU)


def test_it_needs_no_number_of_cores(project: Any) -> None:
    """A dry run has one core in any case; this has none, and evaluates what a rule says of itself."""
    done = project.snakemake(*TARGETS, *CPU, "--rulegraph", "dot")
    assert done.returncode == 0, done.stderr
    assert "measure" in done.stdout


def test_only_runs_and_data_are_sent_to_nodes(project: Any) -> None:
    files = [project.folder / "Snakefile", *project.folder.glob("workflows/rules/*.smk")]
    text = "\n".join(file.read_text() for file in files)
    rules = dict(re.findall(r"^rule (\w+):\n((?:    .*\n|\n)+)", text, re.MULTILINE))
    sent = {name for name, body in rules.items() if "    shell:" in body and "    localrule: True\n" not in body}
    assert sent == {"build", "convert", "index", "train", "measure"}


def test_what_each_job_asks_for(plan: list[Job]) -> None:
    assert of(plan, "build", "mem_mb", "runtime", "gpu") == {("4000", "120", "")}
    assert of(plan, "train", "mem_mb", "runtime", "gpu", "devices", "threads") == {("4000", "240", "0", "1", "1")}
    assert of(plan, "measure", "mem_mb", "runtime", "gpu", "threads") == {("4000", "120", "0", "2")}
    assert of(plan, "measure", "slurm_extra") == {("--exclusive",)}


@pytest.fixture
def sinfo(project: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets SLURM's `sinfo` say what the nodes have. The plugin asks for `squeue` where there is a `sinfo`."""

    def say(gres: str) -> None:
        folder = project.folder / "bin"
        folder.mkdir(exist_ok=True)
        for tool, said in (("sinfo", gres), ("squeue", "")):
            (folder / tool).write_text(f"#!/bin/sh\necho '{said}'\n")
            (folder / tool).chmod(0o755)
        monkeypatch.setitem(project.environment, "PATH", f"{folder}:{project.environment['PATH']}")

    return say


def test_gpus_and_cores_follow_the_number_of_devices(project: Any, plan: list[Job], sinfo: Any) -> None:
    sinfo("gpu:a100:4(S:0-1)")
    config = project.folder / "workflows" / "config"
    (config / "two.yaml").write_text(
        (config / "smoke.yaml").read_text().replace("preset: smoke", "preset: two") + "devices: 2\n"
    )
    two = plan_of(project, "--config", "preset=two")
    assert of(two, "train", "gpu", "devices", "threads", "cpus_per_gpu", "nodes") == {("2", "2", "2", "4", "1")}
    assert of(two, "measure", "gpu", "threads") == {("1", "2")}
    trained = [[job["command"] for job in jobs if job["rule"] == "train"] for jobs in (plan, two)]
    ids = [sorted(re.findall(r"--out (\S+)", "\n".join(commands))) for commands in trained]
    assert len(ids[0]) == len(trained[0]) and ids[0] == ids[1], "the ids of runs stay"
    assert all("--device cuda --devices 2 " in command for command in trained[1])
    assert all("--device cpu --devices 1 " in command for command in trained[0])


def test_a_gpu_that_no_node_has(project: Any, sinfo: Any) -> None:
    sinfo("(null)")
    done = project.snakemake("-n", *TARGETS, "--config", "preset=smoke", "device=cuda")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: device=cuda, but no node of the cluster has a GPU")
